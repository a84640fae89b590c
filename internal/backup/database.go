package backup

import (
	"fmt"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// KeyBucket and LeaseBucket have what grows with use. Everything else in a database of etcd is small.
var (
	KeyBucket   = []byte("key")
	LeaseBucket = []byte("lease")
)

// OpenDatabase opens a database of etcd, which no etcd may have open, to change it; it is made if there is none. There is no list of free pages
// in it, as etcd keeps it. Whoever changes it has to bring it to the disk.
func OpenDatabase(path string) (*bbolt.DB, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, NoSync: true, NoGrowSync: true})
	if err != nil {
		return nil, fmt.Errorf("%s is no database of etcd: %w", path, err)
	}
	return db, nil
}

// databaseOf is where etcd has the database of a data directory.
func databaseOf(data string) string { return filepath.Join(data, "member", "snap", "db") }
