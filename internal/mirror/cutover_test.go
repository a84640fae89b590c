package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/mirror"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/etcdtest"
)

// It is waited until the source is quiet and the target has all, and then they are compared.
func TestCutOver(t *testing.T) {
	source, target := pair(t, "3.6", func(m *etcdtest.Member) { put(t, m, "a", "1") })
	r := start(t, source.Client, target.Client)
	writing, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	go func() {
		for n := 0; writing.Err() == nil; n++ {
			_, _ = source.Put(t.Context(), fmt.Sprint("key-", n%10), fmt.Sprint(n))
			time.Sleep(5 * time.Millisecond)
		}
	}()
	got, err := mirror.CutOver(t.Context(), source.Client, target.Client, mirror.CutOverOptions{Quiet: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	want, err := backup.DigestCluster(t.Context(), source.Client, source.Revision(t))
	if err != nil || got != want || got.Keys != 11 {
		t.Errorf("the cut-over says %+v, and the source has %+v: %v", got, want, err)
	}
	if writing.Err() == nil {
		t.Error("it was cut over while the source was written to")
	}
	r.stop(t)
}

// What does not come to pass is told, and that it can be tried again.
func TestCutOverIsGivenUp(t *testing.T) {
	source, target := pair(t, "3.6", func(m *etcdtest.Member) { put(t, m, "a", "1") })
	short := mirror.CutOverOptions{Quiet: 300 * time.Millisecond, Limit: time.Second}
	refused := func(want string) {
		t.Helper()
		_, err := mirror.CutOver(t.Context(), source.Client, target.Client, short)
		if err == nil || mirror.Final(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("it is told as %v; expected: %s", err, want)
		}
	}
	put(t, source, "a", "2")
	put(t, source, "a", "3")
	refused("after 1s: the mirror is behind by 2 revisions: the target is at ")

	r := start(t, source.Client, target.Client)
	writing, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for writing.Err() == nil {
			_, _ = source.Put(t.Context(), "a", "x")
			time.Sleep(20 * time.Millisecond)
		}
	}()
	refused("after 1s: the source is still written to: it came to revision ")
	stop()
	<-ended

	source.Kill()
	refused("after 1s: the revision of the source: ")
	source.Start(t)
	source.Ready(t)
	r.reaches(t, source.Revision(t))
	if _, err := mirror.CutOver(t.Context(), source.Client, target.Client, short); err != nil {
		t.Errorf("it cannot be cut over then: %v", err)
	}
}

// What is not the same is refused for good.
func TestCutOverToSomethingElse(t *testing.T) {
	source, target := pair(t, "3.6", func(m *etcdtest.Member) { put(t, m, "a", "1") })
	put(t, source, "a", "2")
	put(t, target, "a", "3")
	_, err := mirror.CutOver(t.Context(), source.Client, target.Client, mirror.CutOverOptions{Quiet: 100 * time.Millisecond})
	if !errors.Is(err, mirror.ErrDiverged) || !strings.Contains(err.Error(), "the source has 1 keys with the digest ") {
		t.Errorf("it is told as: %v", err)
	}
	put(t, target, "a", "4")
	_, err = mirror.CutOver(t.Context(), source.Client, target.Client, mirror.CutOverOptions{Quiet: 100 * time.Millisecond})
	if !errors.Is(err, mirror.ErrDiverged) || !strings.Contains(err.Error(), "the target is at revision ") {
		t.Errorf("it is told as: %v", err)
	}
}
