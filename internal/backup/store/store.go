// Package store keeps the objects that backups are made of: in a bucket of S3 or Google Cloud Storage, in a
// container of Azure Blob Storage, or in a directory of a volume.
//
// All stores make the same promises, which are what backups rely upon. An object is either whole or not there: what was
// cut off while it was written is never seen. An object never changes: a name that is taken is refused, also to a writer
// that began before another one ended.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

var (
	// ErrExists is returned for writing to a name that is taken.
	ErrExists = errors.New("an object of that name is there already")
	// ErrNotFound is returned for reading what is not there.
	ErrNotFound = errors.New("there is no such object")
	// ErrDenied is returned for what the login may not do, or if the store does not know the login.
	ErrDenied = errors.New("access is denied")
	// ErrRetained is returned for deleting what the store was told to keep for some time.
	ErrRetained = errors.New("the store keeps it for as long as its retention says; delete it after that, or change the retention")
)

// Store keeps objects by name. A name is a path of slash-separated elements.
type Store interface {
	// Put writes a new object, in constant memory however long the content is. An error of the content leaves no object; one
	// of the store leaves none or, where the answer to the last request was lost, a whole one. ErrExists says that the name
	// is taken by a whole object, which may be one whose writer never heard of its success.
	Put(ctx context.Context, name string, content io.Reader) error
	// Get reads an object from an offset, which is at most its size. A body that ends early is an error of its reader.
	Get(ctx context.Context, name string, offset int64) (io.ReadCloser, error)
	// Stat tells what is known about an object without reading it.
	Stat(ctx context.Context, name string) (Object, error)
	// List tells all objects whose name begins with a prefix, in the order of their names.
	List(ctx context.Context, prefix string) ([]Object, error)
	// Delete removes an object. It is no error if there is none.
	Delete(ctx context.Context, name string) error
	// String names the store in messages.
	String() string
}

// Tidier is a store that can be rid of what writers have left that were killed before their object was whole. It is no object, and
// hidden from all else.
type Tidier interface {
	// RemovePartial removes that of objects whose name begins with a prefix, if nothing was written to it since before a time.
	RemovePartial(ctx context.Context, prefix string, before time.Time) (removed int, err error)
}

// Object is what a store knows about an object.
type Object struct {
	Name     string
	Size     int64
	Modified time.Time
}

// checkName refuses what could leave the folder or prefix of the store, or not be read back under the same name.
func checkName(name string) error {
	for element := range strings.SplitSeq(name, "/") {
		if element == "" || element == "." || element == ".." || strings.HasPrefix(element, partial) || strings.ContainsAny(element, "\\\x00") {
			return fmt.Errorf("%q cannot be the name of an object: use elements separated by single slashes, none of which is empty, . or .., "+
				"begins with %s or contains a backslash", name, partial)
		}
	}
	return nil
}

// content reads what is to be stored, and remembers why that failed. Only a bare io.EOF is its end: io.ErrUnexpectedEOF,
// which some take for the end of a last, short block, is that of a broken source.
type content struct {
	ctx  context.Context
	from io.Reader
	err  error
}

func (c *content) Read(p []byte) (int, error) {
	if c.err == nil {
		c.err = c.ctx.Err()
	}
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.from.Read(p)
	if err != nil && err != io.EOF {
		// Formatted, not wrapped: whoever looks for the end of a file must not find it.
		c.err = &contentError{err}
		return n, c.err
	}
	return n, err
}

// contentError hides what an error is from errors.Is of a library, while we can still get at it.
type contentError struct{ cause error }

func (e *contentError) Error() string { return "reading what is to be stored: " + e.cause.Error() }

// failure is why something could not be stored: the source's error rather than what a library made of it.
func (c *content) failure(err error) error {
	var broken *contentError
	if errors.As(c.err, &broken) {
		return fmt.Errorf("reading what is to be stored: %w", broken.cause)
	}
	if c.err != nil {
		return c.err
	}
	return err
}

// fill reads until the buffer is full, or the source ends.
func fill(from io.Reader, buffer []byte) (int, error) {
	for length := 0; ; {
		if length == len(buffer) {
			return length, nil
		}
		n, err := from.Read(buffer[length:])
		length += n
		if err != nil {
			return length, err
		}
	}
}

// putNew has something written if its name is free. The look comes before the condition at the end of the upload: it
// spares the upload, and not all servers know the condition.
func putNew(ctx context.Context, s Store, name string, from io.Reader, write func(io.Reader) error) error {
	switch _, err := s.Stat(ctx, name); {
	case err == nil:
		return ErrExists
	case !errors.Is(err, ErrNotFound):
		return err
	}
	source := &content{ctx: ctx, from: from}
	return source.failure(write(source))
}
