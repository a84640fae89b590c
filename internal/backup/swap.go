package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// place is one of the folders that a restore replaces.
type place struct {
	// live is where etcd looks, staged what is prepared, and aside what was there before.
	live, staged, aside string
}

func (t Target) places() []place {
	all := []place{t.place(t.Data)}
	if t.WAL != "" {
		all = append(all, t.place(t.WAL))
	}
	return all
}

// place keeps everything on the volume of the folder, by which renames suffice.
func (t Target) place(live string) place {
	mount, base := filepath.Split(live)
	return place{live: live, staged: filepath.Join(mount, "restore-"+t.Restore, base), aside: filepath.Join(mount, "before-"+t.Restore, base)}
}

func (t Target) staging() string { return filepath.Dir(t.place(t.Data).staged) }

func (t Target) markerPath() string { return filepath.Join(t.staging(), "filled.json") }

// Swap puts what was prepared into the place of what is there, which is moved aside. It can be repeated: killed between any two
// renames, it goes on from there. Until it has ended, etcd must not be started: without data it would found another cluster.
func Swap(ctx context.Context, t Target) error {
	if err := t.check(); err != nil {
		return err
	}
	if _, err := t.marker(); err != nil {
		return fmt.Errorf("the volume of %s is not filled by the restore %s: %w; fill it first", t.Member, t.Restore, err)
	}
	var moves [][2]string
	for _, p := range t.places() {
		switch there, prepared, aside := exists(p.live), exists(p.staged), exists(p.aside); {
		case !prepared && !there:
			return fmt.Errorf("neither %s nor %s is there, and one has to be; roll the restore back", p.staged, p.live)
		case !prepared:
			continue // It was put in place already.
		case there && aside:
			return fmt.Errorf("%s was moved to %s already, and is there again: something was started during the restore; see which one is to be kept, and remove the other",
				p.live, p.aside)
		case there:
			moves = append(moves, [2]string{p.live, p.aside})
		}
		moves = append(moves, [2]string{p.staged, p.live})
	}
	return t.moveAll(ctx, moves)
}

// RollBack undoes Swap and Fill: what was moved aside is put back, and what was prepared is deleted. It can be repeated, and is no
// error if there is nothing to undo. What was confirmed cannot be undone.
func RollBack(ctx context.Context, t Target) error {
	if err := t.check(); err != nil {
		return err
	}
	_, err := os.Lstat(t.markerPath())
	marked := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var moves [][2]string
	for _, p := range t.places() {
		there, prepared, aside := exists(p.live), exists(p.staged), exists(p.aside)
		switch {
		case aside && !marked:
			return fmt.Errorf("the restore %s of %s was confirmed, and %s may be deleted in part; it cannot be rolled back", t.Restore, t.Member, p.aside)
		case aside && there && prepared:
			return fmt.Errorf("%s was moved to %s already, and is there again: something was started during the restore; see which one is to be kept, and remove the other",
				p.live, p.aside)
		case marked && there && !prepared:
			moves = append(moves, [2]string{p.live, p.staged})
		}
		if aside {
			moves = append(moves, [2]string{p.aside, p.live})
		}
	}
	if err := t.moveAll(ctx, moves); err != nil {
		return err
	}
	return t.forget()
}

// Confirm deletes what Swap has moved aside. It can be repeated.
func Confirm(t Target) error {
	if err := t.check(); err != nil {
		return err
	}
	for _, p := range t.places() {
		if exists(p.staged) {
			return fmt.Errorf("%s is not in its place yet; put it there first, or roll the restore %s back", p.staged, t.Restore)
		}
	}
	return t.forget()
}

// forget ends a restore, and with the first try what earlier ones have left. A try that comes late has no marker: another restore may be
// at work by then.
func (t Target) forget() error {
	marked, err := t.remove()
	if err != nil || !marked {
		return err
	}
	return t.removeLeftovers()
}

// remove deletes all that a restore has beside the data, and tells whether the marker was there. That is deleted first: without it,
// nothing is moved any more.
func (t Target) remove() (marked bool, err error) {
	switch err := os.Remove(t.markerPath()); {
	case err == nil:
		marked = true
		if err := syncOne(t.staging()); err != nil {
			return marked, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	for _, p := range t.places() {
		for _, folder := range []string{filepath.Dir(p.aside), filepath.Dir(p.staged)} {
			if err := os.RemoveAll(folder); err != nil {
				return marked, err
			}
		}
		if err := syncOne(filepath.Dir(p.live)); err != nil {
			return marked, err
		}
	}
	return marked, nil
}

// moveAll renames one after the other, each of them on the disk before the next one. No etcd can open the database meanwhile.
func (t Target) moveAll(ctx context.Context, moves [][2]string) error {
	if len(moves) == 0 {
		return nil
	}
	unlock, err := t.lock()
	if err != nil {
		return err
	}
	defer unlock()
	for _, m := range moves {
		if err := ctx.Err(); err != nil {
			return err
		}
		if folder := filepath.Dir(m[1]); !exists(folder) {
			if err := os.Mkdir(folder, 0o700); err != nil {
				return err
			}
			if err := syncOne(filepath.Dir(folder)); err != nil {
				return err
			}
		}
		if err := move(m[0], m[1]); err != nil {
			return fmt.Errorf("the volume of %s: %w", t.Member, err)
		}
	}
	return nil
}

// lock takes the lock that etcd has on its database, if there is one.
func (t Target) lock() (unlock func(), err error) {
	path := databaseOf(t.Data)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("the database %s is in use: %w; stop etcd of %s first", path, err, t.Member)
	}
	return func() { _ = file.Close() }, nil
}

// move renames, and sees to it that it is on the disk: the new name before the old one is gone.
func move(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	if err := syncOne(filepath.Dir(to)); err != nil {
		return err
	}
	return syncOne(filepath.Dir(from))
}

// exists takes what cannot be looked at for there: then nothing is put in its place.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// syncAll has a folder and all that is in it on the disk.
func syncAll(folder string) error {
	return filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncOne(path)
	})
}

func syncOne(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Sync()
}
