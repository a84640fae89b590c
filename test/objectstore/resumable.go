package objectstore

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// quantum is what the chunks of a resumable upload are multiples of, all but the last.
const quantum = 256 << 10

// Resumable stands before fake-gcs-server and takes resumable uploads in its place, as Google's documentation describes
// them: fake-gcs-server takes the question how much it has for the end of an upload, and appends whatever it is sent.
type Resumable struct {
	Gateway

	mutex    sync.Mutex
	sessions []*session
}

type session struct {
	query    url.Values
	content  []byte
	whole    []byte
	canceled bool
}

// NewResumable starts one that ends with the test.
func NewResumable(t testing.TB, g *Gateway) *Resumable {
	t.Helper()
	target, err := url.Parse(g.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := &Resumable{}
	forward := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("uploadType") != "resumable" {
			forward.ServeHTTP(w, r)
			return
		}
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.serve(w, r, g.URL)
	}))
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Open names the objects of uploads that were begun and neither ended nor canceled.
func (s *Resumable) Open() (names []string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, session := range s.sessions {
		if session.whole == nil && !session.canceled {
			names = append(names, session.query.Get("name"))
		}
	}
	return names
}

func (s *Resumable) serve(w http.ResponseWriter, r *http.Request, server string) {
	query := r.URL.Query()
	if r.Method == http.MethodPost {
		// The server calls itself by a name that clients may not know.
		id := strconv.Itoa(len(s.sessions))
		w.Header().Set("Location", "https://storage.invalid"+r.URL.Path+"?"+r.URL.RawQuery+"&upload_id="+id)
		s.sessions = append(s.sessions, &session{query: query})
		return
	}
	id, err := strconv.Atoi(query.Get("upload_id"))
	if err != nil || id >= len(s.sessions) {
		http.Error(w, "no such upload", http.StatusNotFound)
		return
	}
	switch session := s.sessions[id]; {
	case session.canceled:
		http.Error(w, "canceled", http.StatusGone)
	case session.whole != nil:
		_, _ = w.Write(session.whole)
	case r.Method == http.MethodDelete:
		session.canceled = true
		w.WriteHeader(499)
	default:
		session.take(w, r, server)
	}
}

func (s *session) take(w http.ResponseWriter, r *http.Request, server string) {
	extent, total, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Content-Range"), "bytes "), "/")
	if begin, end := 0, 0; extent != "*" {
		if n, err := fmt.Sscanf(extent, "%d-%d", &begin, &end); n != 2 || err != nil || begin != len(s.content) {
			http.Error(w, "the range "+extent+" does not follow", http.StatusBadRequest)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) != end+1-begin {
			// What came before the connection broke counts, in whole units.
			s.content = append(s.content, body[:len(body)/quantum*quantum]...)
			panic(http.ErrAbortHandler)
		}
		if total == "*" && len(body)%quantum != 0 {
			http.Error(w, "the chunk is no multiple of 256 KiB", http.StatusBadRequest)
			return
		}
		s.content = append(s.content, body...)
	}
	if total != strconv.Itoa(len(s.content)) {
		if len(s.content) > 0 {
			w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", len(s.content)-1))
		}
		w.WriteHeader(http.StatusPermanentRedirect)
		return
	}
	s.end(w, r, server)
}

// end stores the object, if it has the sum that the client says and its name is free.
func (s *session) end(w http.ResponseWriter, r *http.Request, server string) {
	sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(s.content, crc32.MakeTable(crc32.Castagnoli)))
	if r.Header.Get("X-Goog-Hash") != "crc32c="+base64.StdEncoding.EncodeToString(sum) {
		http.Error(w, "the content does not have the checksum "+r.Header.Get("X-Goog-Hash"), http.StatusBadRequest)
		return
	}
	query := url.Values{"uploadType": {"media"}, "name": s.query["name"], "ifGenerationMatch": s.query["ifGenerationMatch"]}
	answer, err := http.Post(server+r.URL.Path+"?"+query.Encode(), "application/octet-stream", bytes.NewReader(s.content))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode == http.StatusOK {
		s.whole = said
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(said)
}
