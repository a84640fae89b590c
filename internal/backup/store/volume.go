package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// partial begins the names of files that are being written.
const partial = ".partial-"

// Volume keeps objects as files in a directory. The file system has to know hard links, by which a whole file gets its name
// without ever taking another's place.
type Volume struct {
	folder string
}

// NewVolume is a store in a directory that exists: one that is made here would hide that a volume is not mounted.
func NewVolume(folder string) (*Volume, error) {
	info, err := os.Stat(folder)
	if err != nil {
		return nil, fmt.Errorf("the directory %s for backups cannot be used: %w; check that its volume is mounted", folder, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("the directory %s for backups is no directory; name one", folder)
	}
	return &Volume{folder: filepath.Clean(folder)}, nil
}

func (v *Volume) String() string { return "directory " + v.folder }

func (v *Volume) path(name string) string { return filepath.Join(v.folder, filepath.FromSlash(name)) }

// Put implements Store: the content goes to a file of another name, to the disk, and only then to its own name.
func (v *Volume) Put(ctx context.Context, name string, from io.Reader) error {
	if err := checkName(name); err != nil {
		return err
	}
	path := v.path(name)
	if _, err := os.Lstat(path); err == nil {
		return v.failed("writing", name, ErrExists)
	}
	if err := v.makeFolder(filepath.Dir(path)); err != nil {
		return v.failed("writing", name, err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), partial+"*")
	if err != nil {
		return v.failed("writing", name, err)
	}
	defer os.Remove(file.Name()) //nolint:errcheck // What is left behind by a full disk or a crash is never listed.
	source := &content{ctx: ctx, from: from}
	_, err = io.Copy(file, source)
	err = source.failure(err)
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Link(file.Name(), path)
		if errors.Is(err, fs.ErrExist) {
			err = ErrExists
		}
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	return v.failed("writing", name, err)
}

// makeFolder makes a folder and those above it, each of them on the disk before anything is put into it.
func (v *Volume) makeFolder(folder string) error {
	if _, err := os.Stat(folder); err == nil || folder == v.folder {
		return err
	}
	if err := v.makeFolder(filepath.Dir(folder)); err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(filepath.Dir(folder))
}

func syncFolder(folder string) error {
	handle, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer handle.Close()
	return handle.Sync()
}

// Get implements Store.
func (v *Volume) Get(_ context.Context, name string, offset int64) (io.ReadCloser, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	file, err := os.Open(v.path(name))
	if err != nil {
		return nil, v.failed("reading", name, err)
	}
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		_ = file.Close()
		return nil, v.failed("reading", name, err)
	}
	return file, nil
}

// Stat implements Store.
func (v *Volume) Stat(_ context.Context, name string) (Object, error) {
	if err := checkName(name); err != nil {
		return Object{}, err
	}
	info, err := os.Stat(v.path(name))
	if err == nil && info.IsDir() {
		err = ErrNotFound
	}
	if err != nil {
		return Object{}, v.failed("looking for", name, err)
	}
	return Object{Name: name, Size: info.Size(), Modified: info.ModTime()}, nil
}

// List implements Store.
func (v *Volume) List(ctx context.Context, prefix string) ([]Object, error) {
	return v.files(ctx, prefix, false)
}

// RemovePartial implements Tidier. A writer that lives finds out when it gives the file its name, and fails.
func (v *Volume) RemovePartial(ctx context.Context, prefix string, before time.Time) (removed int, err error) {
	all, err := v.files(ctx, prefix, true)
	if err != nil {
		return 0, err
	}
	for _, file := range all {
		if !file.Modified.Before(before) {
			continue
		}
		if err := os.Remove(v.path(file.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, v.failed("removing", file.Name, err)
		}
		removed++
	}
	return removed, nil
}

// files are the files whose name begins with a prefix: those that are being written, or the objects.
func (v *Volume) files(ctx context.Context, prefix string, unfinished bool) ([]Object, error) {
	var all []Object
	err := filepath.WalkDir(v.folder, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != v.folder {
			return nil // Deleted in the meantime.
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(v.folder, path)
		name := filepath.ToSlash(relative)
		if err != nil || !entry.Type().IsRegular() || strings.HasPrefix(entry.Name(), partial) != unfinished || !strings.HasPrefix(name, prefix) {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			all = append(all, Object{Name: name, Size: info.Size(), Modified: info.ModTime()})
		}
		return err
	})
	if err != nil {
		return nil, v.failed("listing", prefix, err)
	}
	slices.SortFunc(all, func(a, b Object) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// Delete implements Store. Folders stay: another writer may be about to use them.
func (v *Volume) Delete(_ context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	err := os.Remove(v.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncFolder(filepath.Dir(v.path(name)))
	}
	return v.failed("deleting", name, err)
}

func (v *Volume) failed(doing, name string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound
	}
	return fmt.Errorf("%s %q in %s: %w", doing, name, v, err)
}
