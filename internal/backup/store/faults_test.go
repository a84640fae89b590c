package store_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/objectstore"
)

// faultCase is a fault of the requests that it hits.
type faultCase struct {
	hits  func(*http.Request) bool
	fault objectstore.Fault
	// healed is whether the fault happens once, and is made good by asking again.
	healed bool
}

// uploadWithFaults uploads two parts through a proxy with each of the faults.
func uploadWithFaults(t *testing.T, s store.Store, proxy *objectstore.Proxy, leftovers func() []string, cases map[string]faultCase) {
	content := sample(part + 1000)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			proxy.Tell(func(r *http.Request) objectstore.Fault {
				if !c.hits(r) || c.healed && proxy.Faulted > 0 {
					return objectstore.Fault{}
				}
				return c.fault
			})
			err := s.Put(t.Context(), "torn/fault", bytes.NewReader(content))
			if proxy.Faults() == 0 {
				t.Fatal("the fault never happened")
			}
			proxy.Tell(nil)
			if !c.healed {
				if err == nil || !strings.Contains(err.Error(), `writing "torn/fault" in `+s.String()) || !strings.Contains(s.String(), proxy.URL) {
					t.Errorf("the error is %v", err)
				}
				nothing(t, s, leftovers)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if get(t, s, "torn/fault") != string(content) {
				t.Error("what is stored is not what was given")
			}
			if err := s.Delete(t.Context(), "torn/fault"); err != nil {
				t.Fatal(err)
			}
			nothing(t, s, leftovers)
		})
	}
}

// requestsWithFaults makes all other requests, each of which meets a fault that passes.
func requestsWithFaults(t *testing.T, s store.Store, proxy *objectstore.Proxy) {
	put(t, s, "faulty", "content")
	for fault, what := range map[objectstore.Fault]string{
		{Status: http.StatusServiceUnavailable}: "a server that is busy",
		{CutRequest: 1}:                         "a connection that breaks before the answer",
		{LoseAnswer: true}:                      "an answer that is lost",
		{CutResponse: 10}:                       "an answer that breaks off",
	} {
		for doing, do := range map[string]func(){
			"stat": func() {
				if object, err := s.Stat(t.Context(), "faulty"); err != nil || object.Size != int64(len("content")) {
					t.Errorf("%s: stat is %+v, %v", what, object, err)
				}
			},
			"list": func() {
				if names := list(t, s, "faulty"); strings.Join(names, " ") != "faulty" {
					t.Errorf("%s: listed %v", what, names)
				}
			},
			"get": func() {
				// Who reads a body knows where it broke off, and begins there.
				if body := get(t, s, "faulty"); body != "content" {
					t.Errorf("%s: it is %q", what, body)
				}
			},
			"delete": func() {
				if err := s.Delete(t.Context(), "faulty"); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			},
		} {
			if doing == "get" && fault.CutResponse > 0 {
				continue
			}
			proxy.Tell(func(*http.Request) objectstore.Fault {
				if proxy.Faulted > 0 {
					return objectstore.Fault{}
				}
				return fault
			})
			if do(); proxy.Faults() != 1 {
				t.Errorf("%s: %s met %d faults", what, doing, proxy.Faults())
			}
			proxy.Tell(nil)
			if names := list(t, s, "faulty"); doing == "delete" && len(names) > 0 {
				t.Errorf("%s: after the deletion there is %v", what, names)
			}
			if err := s.Put(t.Context(), "faulty", strings.NewReader("content")); err != nil && !errors.Is(err, store.ErrExists) {
				t.Fatal(err)
			}
		}
	}
}
