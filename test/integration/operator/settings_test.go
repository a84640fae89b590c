//go:build integration

package operator

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// needs skips the test if etcd of this version is not built.
func (s *scene) needs(version string) {
	s.Helper()
	minor := version[:strings.LastIndex(version, ".")]
	if _, err := os.Stat(filepath.Join("..", "..", "..", "build", "bin", "etcd-"+minor, "etcd")); err != nil {
		s.Skipf("etcd %s is not built; hack/build.sh etcd/%s does", minor, minor)
	}
}

// checkTransactionLimit checks that the setting max-txn-ops has reached etcd: one operation more is refused.
func (s *scene) checkTransactionLimit(limit int) {
	s.Helper()
	connection := s.connect()
	try := func(count int) error {
		var operations []clientv3.Op
		for n := range count {
			operations = append(operations, clientv3.OpPut(fmt.Sprintf("txn/%d", n), "value"))
		}
		ctx, cancel := context.WithTimeout(s.Context(), 5*time.Second)
		defer cancel()
		_, err := connection.Txn(ctx).Then(operations...).Commit()
		return err
	}
	if err := try(limit); err != nil {
		s.Errorf("a transaction of %d operations: %v", limit, err)
	}
	if err := try(limit + 1); err == nil || !strings.Contains(err.Error(), "too many operations") {
		s.Errorf("a transaction of %d operations is not refused: %v", limit+1, err)
	}
}
