package backup

import (
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/mem"
)

// A member sends its snapshot in pieces of 32 KiB (server/etcdserver/api/v3rpc/maintenance.go), which with what is around them just do not fit into
// the 32 KiB that gRPC keeps ready: for each of them it would clear and fill 1 MiB.
func init() {
	pool, err := mem.NewBinaryTieredBufferPool(8, 12, 14, 15, 16, 20)
	if err != nil {
		panic(err) // Only exponents in the wrong order are refused.
	}
	experimental.SetDefaultBufferPool(pool)
}
