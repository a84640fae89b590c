//go:build integration

package operator

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// writes stand between an operator and the API server, and can make writes fail.
type writes struct {
	// before is asked before the n-th write, from 1; after it failed, the write is not made.
	before func(n int) error
	// after is asked after the n-th write has been made.
	after func(n int) error

	// around, if set, is told of each write before and after it is made.
	around func(what string, made bool)

	// skip leaves writes out of the count; they are made.
	skip func(what string) bool

	// end ends the operator's manager.
	end   func()
	mutex sync.Mutex
	made  []string
	// names are the writes that count, ended those of them that have been made or have failed.
	names []string
	ended map[int]bool
	count int
	dead  bool
	died  chan struct{}
}

var errDead = errors.New("the operator is dead")

// crash ends the operator at its n-th write: before the API server has heard of it, or after it has done it but before
// the operator knows.
func crash(n int, applied bool) *writes {
	w := &writes{died: make(chan struct{})}
	die := func(write int) error {
		if write != n {
			return nil
		}
		w.mutex.Lock()
		defer w.mutex.Unlock()
		w.dead = true
		w.end()
		close(w.died)
		return errDead
	}
	if applied {
		w.after = die
	} else {
		w.before = die
	}
	return w
}

// do makes a write, or not.
func (w *writes) do(ctx context.Context, what string, write func(context.Context) error) error {
	w.mutex.Lock()
	if w.dead {
		w.mutex.Unlock()
		return errDead
	}
	w.made = append(w.made, what)
	if tell := w.around; tell != nil {
		inner := write
		write = func(ctx context.Context) error {
			tell(what, false)
			err := inner(ctx)
			if err == nil {
				tell(what, true)
			}
			return err
		}
	}
	if w.skip != nil && w.skip(what) {
		w.mutex.Unlock()
		return write(ctx)
	}
	w.count++
	n := w.count
	w.names = append(w.names, what)
	w.mutex.Unlock()
	defer w.conclude(n)
	if w.before != nil {
		if err := w.before(n); err != nil {
			return err
		}
	}
	if err := write(ctx); err != nil {
		return err
	}
	if w.after != nil {
		return w.after(n)
	}
	return nil
}

// etcdWrites counts the calls that change etcd among the writes.
type etcdWrites struct {
	act.Etcd
	writes *writes
}

// wrapEtcd lets calls to members pass through the writes.
func (w *writes) wrapEtcd(inner act.Etcd) act.Etcd { return etcdWrites{inner, w} }

// do makes a call. What an API server would say a member says in its own words.
func (e etcdWrites) do(ctx context.Context, what string, call func(context.Context) error) error {
	err := e.writes.do(ctx, what, call)
	switch {
	case apierrors.IsConflict(err), apierrors.IsTooManyRequests(err):
		return rpctypes.ErrUnhealthy
	case apierrors.IsInternalError(err), apierrors.IsServiceUnavailable(err), apierrors.IsForbidden(err):
		return rpctypes.ErrTimeout
	}
	return err
}

func (e etcdWrites) MoveLeader(ctx context.Context, address, to string) error {
	return e.do(ctx, "move the leadership", func(ctx context.Context) error { return e.Etcd.MoveLeader(ctx, address, to) })
}

func (e etcdWrites) AddLearner(ctx context.Context, address, peerURL string) error {
	return e.do(ctx, "add "+peerURL, func(ctx context.Context) error { return e.Etcd.AddLearner(ctx, address, peerURL) })
}

func (e etcdWrites) Promote(ctx context.Context, address, id string) error {
	return e.do(ctx, "promote "+id, func(ctx context.Context) error { return e.Etcd.Promote(ctx, address, id) })
}

func (e etcdWrites) Remove(ctx context.Context, address, id string) error {
	return e.do(ctx, "remove "+id, func(ctx context.Context) error { return e.Etcd.Remove(ctx, address, id) })
}

func (e etcdWrites) MovePeerURL(ctx context.Context, address, id, peerURL string) error {
	return e.do(ctx, "move the peer URL of "+id, func(ctx context.Context) error { return e.Etcd.MovePeerURL(ctx, address, id, peerURL) })
}

func (e etcdWrites) Disarm(ctx context.Context, address, id, alarm string) error {
	return e.do(ctx, "disarm "+alarm, func(ctx context.Context) error { return e.Etcd.Disarm(ctx, address, id, alarm) })
}

func (e etcdWrites) EnableDowngrade(ctx context.Context, address, target string) error {
	return e.do(ctx, "enable the downgrade to "+target, func(ctx context.Context) error { return e.Etcd.EnableDowngrade(ctx, address, target) })
}

func (e etcdWrites) CancelDowngrade(ctx context.Context, address string) error {
	return e.do(ctx, "cancel the downgrade", func(ctx context.Context) error { return e.Etcd.CancelDowngrade(ctx, address) })
}

func (e etcdWrites) FlushLog(ctx context.Context, address string, entries int) error {
	return e.do(ctx, "flush the log", func(ctx context.Context) error { return e.Etcd.FlushLog(ctx, address, entries) })
}

func (e etcdWrites) ChangeAuth(ctx context.Context, address string, step core.AuthStep, password string) error {
	return e.do(ctx, step.String(), func(ctx context.Context) error { return e.Etcd.ChangeAuth(ctx, address, step, password) })
}

// reacts lets something happen right before and after writes, from now on.
func (w *writes) reacts(to func(what string, made bool)) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.around = to
}

// conclude notes that a write has been made or has failed.
func (w *writes) conclude(n int) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.ended == nil {
		w.ended = map[int]bool{}
	}
	w.ended[n] = true
}

// concluded is whether the n-th write that counts has been made or has failed, and what it is.
func (w *writes) concluded(n int) (what string, ended bool) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.names[n-1], w.ended[n]
}

// all are the writes so far.
func (w *writes) all() []string {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return append([]string{}, w.made...)
}

// newClient makes the client of a manager.
func (w *writes) newClient(config *rest.Config, options client.Options) (client.Client, error) {
	inner, err := client.NewWithWatch(config, options)
	if err != nil {
		return nil, err
	}
	return interceptor.NewClient(inner, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			return w.do(ctx, "create "+describe(o), func(ctx context.Context) error { return c.Create(ctx, o, options...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.UpdateOption) error {
			return w.do(ctx, "update "+describe(o), func(ctx context.Context) error { return c.Update(ctx, o, options...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
			return w.do(ctx, "patch "+describe(o), func(ctx context.Context) error { return c.Patch(ctx, o, patch, options...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.DeleteOption) error {
			return w.do(ctx, "delete "+describe(o), func(ctx context.Context) error { return c.Delete(ctx, o, options...) })
		},
		DeleteAllOf: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.DeleteAllOfOption) error {
			return w.do(ctx, "delete all of "+describe(o), func(ctx context.Context) error { return c.DeleteAllOf(ctx, o, options...) })
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, options ...client.ApplyOption) error {
			return w.do(ctx, "apply "+describe(o), func(ctx context.Context) error { return c.Apply(ctx, o, options...) })
		},
		SubResourceCreate: func(ctx context.Context, c client.Client, sub string, o client.Object, made client.Object, options ...client.SubResourceCreateOption) error {
			what := "create " + sub + " of " + describe(o)
			if sub == "eviction" {
				what = "evict " + describe(o)
			}
			return w.do(ctx, what, func(ctx context.Context) error { return c.SubResource(sub).Create(ctx, o, made, options...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, options ...client.SubResourceUpdateOption) error {
			return w.do(ctx, "update "+sub+" of "+describe(o), func(ctx context.Context) error { return c.SubResource(sub).Update(ctx, o, options...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
			return w.do(ctx, "patch "+sub+" of "+describe(o), func(ctx context.Context) error { return c.SubResource(sub).Patch(ctx, o, patch, options...) })
		},
		SubResourceApply: func(ctx context.Context, c client.Client, sub string, o runtime.ApplyConfiguration, options ...client.SubResourceApplyOption) error {
			return w.do(ctx, "apply "+sub+" of "+describe(o), func(ctx context.Context) error { return c.SubResource(sub).Apply(ctx, o, options...) })
		},
	}), nil
}

func describe(object any) string {
	kind := fmt.Sprintf("%T", object)
	if known, ok := object.(interface{ GetKind() string }); ok {
		kind = known.GetKind()
	}
	if named, ok := object.(interface{ GetName() string }); ok {
		return kind + " " + named.GetName()
	}
	return kind
}
