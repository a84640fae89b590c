package observe_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
)

// Agents that run are asked, in the phases that take long, and only then.
func TestHowFarARestoreIs(t *testing.T) {
	running := func(name, ip string) *corev1.Pod {
		job := ownJob(name, "EtcdRestore", "r1", "")
		pod := podOf(job, name, 0, 0, "")
		pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip}
		return pod
	}
	restore := aRestore(func(r *v1alpha1.EtcdRestore) {
		r.Status.Phase, r.Status.Members = restores.Filling, []string{"demo-0", "demo-1", "demo-2"}
	})
	s := backedUp()
	for i, ip := range []string{"10.0.0.1", "10.0.0.2"} {
		name := fmt.Sprintf("undo-fill-%d", i)
		s.add(ownJob(name, "EtcdRestore", "r1", ""), running(name, ip))
	}
	ended := ownJob("undo-fill-2", "EtcdRestore", "r1", batchv1.JobComplete)
	s.add(ended, podOf(ended, "c", 0, 0, `{"filled":{}}`))
	observer := s.observer(t)
	observer.Progress = func(_ context.Context, address string) (task.Progress, error) {
		if address == "10.0.0.2" {
			return task.Progress{}, errors.New("not reached")
		}
		return task.Progress{Read: 5, Total: 20}, nil
	}
	for phase, want := range map[string][2]int64{restores.Filling: {5, 20}, restores.Starting: {0, 0}} {
		restore.Status.Phase = v1alpha1.RestorePhase(phase)
		o, err := observer.ObserveRestore(t.Context(), restore)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range [][2]int64{want, {0, 0}, {0, 0}} {
			if agent := o.Agents[restores.AgentKey{Kind: restores.Fill, Index: i}]; !agent.Exists || agent.Read != want[0] || agent.Total != want[1] {
				t.Errorf("in %s agent %d is %+v, want %v", phase, i, agent, want)
			}
		}
	}
}

// What is no progress is none.
func TestProgressIsAskedFor(t *testing.T) {
	const address = "127.77.0.1"
	listener, err := net.Listen("tcp", net.JoinHostPort(address, fmt.Sprint(task.Port)))
	if err != nil {
		t.Fatal(err)
	}
	said := ""
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != task.ProgressPath {
			t.Errorf("%s was asked for", r.URL)
		}
		_, _ = fmt.Fprint(w, said)
	})}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	for answer, want := range map[string]string{
		`{"read":3,"total":7}`:  "{3 7} <nil>",
		`{"read":8,"total":7}`:  "it has read 8 of 7 bytes",
		`{"read":-1,"total":7}`: "it has read -1 of 7 bytes",
		"404 page not found":    "asking the agent at " + address,
		`{"read":` + strings.Repeat(" ", 2000) + `3,"total":7}`: "asking the agent at " + address,
	} {
		said = answer
		progress, err := observe.AskProgress(t.Context(), address)
		if got := fmt.Sprint(progress, " ", err); !strings.Contains(got, want) {
			t.Errorf("%.30s: %s, want %s", answer, got, want)
		}
	}
	if _, err := observe.AskProgress(t.Context(), "127.77.0.2"); err == nil {
		t.Error("nobody has answered")
	}
}
