package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

const part = 5 << 20

// sample is content that no store can compress or make up.
func sample(size int) []byte {
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
	return content
}

// conform checks what all stores promise. Leftovers tells what a store holds of objects that never became whole.
func conform(t *testing.T, s store.Store, leftovers func() []string) {
	ctx := t.Context()
	for _, size := range []int{0, 1, 4096, part - 1, part, part + 1, 2 * part} {
		t.Run(fmt.Sprintf("%d bytes come back", size), func(t *testing.T) {
			name, content := fmt.Sprintf("sizes/%d", size), sample(size)
			// Readers that give one byte first, and their last byte together with the end, are readers too.
			if err := s.Put(ctx, name, iotest.DataErrReader(io.MultiReader(bytes.NewReader(content[:min(1, size)]), bytes.NewReader(content[min(1, size):])))); err != nil {
				t.Fatal(err)
			}
			object, err := s.Stat(ctx, name)
			if err != nil || object.Size != int64(size) || object.Name != name || object.Modified.IsZero() {
				t.Fatalf("stat is %+v, %v", object, err)
			}
			for _, offset := range []int{0, size / 2, size} {
				body, err := s.Get(ctx, name, int64(offset))
				if err != nil {
					t.Fatalf("from %d: %v", offset, err)
				}
				back, err := io.ReadAll(body)
				_ = body.Close()
				if err != nil || !bytes.Equal(back, content[offset:]) {
					t.Fatalf("from %d: %d bytes came back, %v", offset, len(back), err)
				}
			}
		})
	}

	t.Run("an object never changes", func(t *testing.T) {
		put(t, s, "twice", "first")
		if err := s.Put(ctx, "twice", strings.NewReader("second")); !errors.Is(err, store.ErrExists) {
			t.Fatalf("the second write: %v", err)
		}
		if content := get(t, s, "twice"); content != "first" {
			t.Fatalf("it is now %q", content)
		}
	})

	t.Run("a writer that began before another one ended does not take its place", func(t *testing.T) {
		first := bytes.Repeat([]byte("a"), part+5)
		second := readerFunc(func([]byte) (int, error) {
			put(t, s, "race", string(first))
			return 0, io.EOF
		})
		if err := s.Put(ctx, "race", io.MultiReader(bytes.NewReader(sample(part+5)), second)); !errors.Is(err, store.ErrExists) {
			t.Errorf("the second writer got %v", err)
		}
		if get(t, s, "race") != string(first) {
			t.Error("the object is not that of the writer who ended first")
		}
		if left := leftovers(); len(left) > 0 {
			t.Errorf("left over: %v", left)
		}
	})

	t.Run("what is not there", func(t *testing.T) {
		if _, err := s.Get(ctx, "nothing", 0); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), `"nothing"`) || !strings.Contains(err.Error(), s.String()) {
			t.Errorf("get: %v", err)
		}
		if _, err := s.Stat(ctx, "nothing"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("stat: %v", err)
		}
		if err := s.Delete(ctx, "nothing"); err != nil {
			t.Errorf("delete: %v", err)
		}
	})

	t.Run("list and delete", func(t *testing.T) {
		for _, name := range []string{"list/b", "list/a/2", "list/a/1", "lists"} {
			put(t, s, name, name)
		}
		for prefix, want := range map[string]string{"list": "[list/a/1 list/a/2 list/b lists]", "list/": "[list/a/1 list/a/2 list/b]", "list/a": "[list/a/1 list/a/2]", "list/c": "[]"} {
			if names := list(t, s, prefix); fmt.Sprint(names) != want {
				t.Errorf("%s: %v", prefix, names)
			}
		}
		if err := s.Delete(ctx, "list/a/1"); err != nil {
			t.Fatal(err)
		}
		if names := list(t, s, "list/a"); fmt.Sprint(names) != "[list/a/2]" {
			t.Errorf("after the deletion: %v", names)
		}
		put(t, s, "list/a/1", "anew")
	})

	broken := errors.New("broken")
	for _, size := range []int{0, 1, part, part + 1} {
		for _, cause := range []error{broken, io.ErrUnexpectedEOF, fmt.Errorf("wrapped: %w", io.EOF)} {
			t.Run(fmt.Sprintf("content that ends after %d bytes with %v", size, cause), func(t *testing.T) {
				err := s.Put(ctx, "torn/content", io.MultiReader(bytes.NewReader(sample(size)), iotest.ErrReader(cause)))
				if !errors.Is(err, cause) {
					t.Errorf("the error is %v", err)
				}
				nothing(t, s, leftovers)
			})
		}
	}

	t.Run("whoever stops writing leaves nothing", func(t *testing.T) {
		ctx, cancel := context.WithCancel(ctx)
		stop := readerFunc(func([]byte) (int, error) { cancel(); return 0, nil })
		if err := s.Put(ctx, "torn/stopped", io.MultiReader(bytes.NewReader(sample(part+1)), io.LimitReader(stop, 1))); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
		nothing(t, s, leftovers)
		if _, err := s.List(ctx, ""); !errors.Is(err, context.Canceled) {
			t.Errorf("a list that was cut off: %v", err)
		}
	})

	for _, name := range []string{"", "/a", "a/", "a//b", ".", "a/../b", `a\b`, "a/.partial-1"} {
		t.Run(fmt.Sprintf("the name %q", name), func(t *testing.T) {
			_, stat := s.Stat(ctx, name)
			_, read := s.Get(ctx, name, 0)
			for _, err := range []error{s.Put(ctx, name, strings.NewReader("x")), stat, read, s.Delete(ctx, name)} {
				if err == nil || !strings.Contains(err.Error(), "cannot be the name of an object") {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func nothing(t *testing.T, s store.Store, leftovers func() []string) {
	t.Helper()
	if names := list(t, s, "torn"); len(names) > 0 {
		t.Errorf("it is there: %v", names)
	}
	if left := leftovers(); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func put(t *testing.T, s store.Store, name, content string) {
	t.Helper()
	if err := s.Put(t.Context(), name, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s store.Store, name string) string {
	t.Helper()
	body, err := s.Get(t.Context(), name, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	content, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func list(t *testing.T, s store.Store, prefix string) []string {
	t.Helper()
	objects, err := s.List(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range objects {
		names = append(names, o.Name)
	}
	return names
}
