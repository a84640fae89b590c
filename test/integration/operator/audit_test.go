//go:build integration

package operator

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// request is an entry of the API server's audit log.
type request struct {
	Verb      string `json:"verb"`
	URI       string `json:"requestURI"`
	UserAgent string `json:"userAgent"`
	Stage     string `json:"stage"`
	ObjectRef struct {
		APIGroup    string `json:"apiGroup"`
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

func (r request) String() string {
	return strings.TrimSuffix(r.Verb+" "+r.ObjectRef.Resource+" "+r.ObjectRef.Name+" "+r.ObjectRef.Subresource, " ")
}

// requests are those that a program has made so far that change something; events are apart.
func (s *scene) requests(agent string) (writes, events []string) {
	s.Helper()
	for _, r := range s.audited(`"userAgent":"` + agent + `"`) {
		if r.Stage != "ResponseComplete" || slices.Contains([]string{"get", "list", "watch"}, r.Verb) {
			continue
		}
		if r.ObjectRef.Resource == "events" {
			events = append(events, r.String())
		} else {
			writes = append(writes, r.String())
		}
	}
	return writes, events
}

// audited are the entries of the audit log so far that have a text.
func (s *scene) audited(text string) (entries []request) {
	s.Helper()
	file, err := os.Open(filepath.Join(env.Logs(), "audit.log"))
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	reader := bufio.NewReader(file)
	for {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			s.Fatal(err)
		}
		if !strings.Contains(string(line), text) {
			continue
		}
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			s.Fatalf("the audit log has %q: %v", line, err)
		}
		entries = append(entries, r)
	}
}
