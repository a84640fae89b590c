package agent

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/loopback"
)

// whole is a store whose only object is a text.
type whole struct {
	store.Store
	text string
}

func (w whole) Get(context.Context, string, int64) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(w.text)), nil
}

// An agent that restores tells how much it has read, until it is done. What it reads twice is no more than there is.
func TestProgressIsTold(t *testing.T) {
	a := Agent{Listen: loopback.FreeAddress(t)}
	m := &metered{Store: whole{text: "0123456789"}}
	read := func(bytes int64) {
		t.Helper()
		body, err := m.Get(t.Context(), "object", 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, body, bytes); err != nil {
			t.Fatal(err)
		}
	}
	read(3) // Before it begins.
	stop := a.tell(t.Context(), m, 15)
	for _, want := range []int64{0, 10, 15} {
		answer, err := http.Get("http://" + a.Listen + task.ProgressPath)
		if err != nil {
			t.Fatal(err)
		}
		var progress task.Progress
		err = json.NewDecoder(answer.Body).Decode(&progress)
		_ = answer.Body.Close()
		if err != nil || progress != (task.Progress{Read: want, Total: 15}) {
			t.Errorf("%+v, %v; want %d of 15", progress, err, want)
		}
		read(10)
	}
	// Who cannot be heard goes on.
	(Agent{Listen: a.Listen}).tell(t.Context(), m, 15)()
	stop()
	if answer, err := http.Get("http://" + a.Listen + task.ProgressPath); err == nil {
		_ = answer.Body.Close()
		t.Error("it still answers")
	}
}
