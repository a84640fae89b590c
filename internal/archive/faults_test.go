package archive_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

// faulty fails at random.
type faulty struct {
	store.Store
	mutex  sync.Mutex
	random *rand.Rand
	// share is how many of 100 requests fail, and lost whether they are carried out nevertheless.
	share  int
	failed int
}

var errFault = errors.New("the store is out of order")

func (f *faulty) fails() (before, after bool) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.random.IntN(100) >= f.share {
		return false, false
	}
	f.failed++
	before = f.random.IntN(2) == 0
	return before, !before
}

func (f *faulty) set(share int) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.share = share
}

func (f *faulty) faults() int {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.failed
}

func (f *faulty) Put(ctx context.Context, name string, content io.Reader) error {
	before, after := f.fails()
	if before {
		return errFault
	}
	if err := f.Store.Put(ctx, name, content); err != nil {
		return err
	}
	if after {
		return errFault
	}
	return nil
}

func (f *faulty) Stat(ctx context.Context, name string) (store.Object, error) {
	if before, after := f.fails(); before || after {
		return store.Object{}, errFault
	}
	return f.Store.Stat(ctx, name)
}

func (f *faulty) List(ctx context.Context, prefix string) ([]store.Object, error) {
	if before, after := f.fails(); before || after {
		return nil, errFault
	}
	return f.Store.List(ctx, prefix)
}

func (f *faulty) Get(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	if before, after := f.fails(); before || after {
		return nil, errFault
	}
	return f.Store.Get(ctx, name, offset)
}

// limitedStore deletes so many objects, and then fails.
type limitedStore struct {
	store.Store
	left int
}

func (l *limitedStore) Delete(ctx context.Context, name string) error {
	if l.left--; l.left < 0 {
		return errFault
	}
	return l.Store.Delete(ctx, name)
}
