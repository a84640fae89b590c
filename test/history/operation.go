// Package history writes to and reads from an etcd cluster all the time while something is done to it, keeps a record of
// every operation, and says afterwards whether the cluster kept what etcd promises: that its history is linearizable
// (https://etcd.io/docs/v3.6/learning/api_guarantees/) and that no write that it acknowledged is lost.
package history

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Kind is what an operation does.
type Kind int

const (
	// Get is a linearizable read of one key.
	Get Kind = iota
	// Put writes a key.
	Put
	// Swap writes a key if it has the value Expect, in one transaction, and reads it otherwise.
	Swap
)

func (k Kind) String() string { return [...]string{"get", "put", "swap"}[k] }

// Outcome is what the client knows of an operation when its call returns.
type Outcome int

const (
	// OK is an operation that was acknowledged.
	OK Outcome = iota
	// Refused is an operation that etcd said it would not do: it never takes effect.
	Refused
	// Unknown is an operation that may have taken effect, may take effect later, or never: a deadline passed, or a
	// connection was lost.
	Unknown
)

func (o Outcome) String() string { return [...]string{"ok", "refused", "unknown"}[o] }

// Operation is one operation of one client. Every value is written by one operation only, so that a value tells which
// operation it came from. A key that does not exist has the value "".
type Operation struct {
	Kind Kind
	Key  string
	// Value is what a Put or Swap writes, and what a Get read.
	Value string
	// Expect is the value that a Swap requires.
	Expect string
	// Swapped is whether a Swap found Expect. If not, Found is the value it found.
	Swapped bool
	Found   string
	// Revision is that of the key space at the operation: the one that a write made, or that a read was answered at.
	Revision int64
	// Call and Return are when the client made the call and when it returned, since the beginning of the run.
	Call, Return time.Duration
	Outcome      Outcome
	// Error is why the outcome is not OK.
	Error string
}

// Writes is whether the operation was acknowledged to have written its value.
func (o Operation) Writes() bool {
	return o.Outcome == OK && (o.Kind == Put || o.Kind == Swap && o.Swapped)
}

// observed is the value that the operation is known to have seen in its key, and whether it saw one.
func (o Operation) observed() (string, bool) {
	switch {
	case o.Outcome != OK || o.Kind == Put:
		return "", false
	case o.Kind == Get:
		return o.Value, true
	case o.Swapped:
		return o.Expect, true
	}
	return o.Found, true
}

func (o Operation) String() string {
	what := map[Kind]string{
		Get:  fmt.Sprintf("get -> %q", o.Value),
		Put:  fmt.Sprintf("put %q", o.Value),
		Swap: fmt.Sprintf("swap %q for %q -> %v, found %q", o.Expect, o.Value, o.Swapped, o.Found),
	}[o.Kind]
	return fmt.Sprintf("%12v to %12v  %s  %s, revision %d %s", o.Call, o.Return, o.Outcome, what, o.Revision, o.Error)
}

// outcome says what an error tells of the operation. Only what etcd refuses before it proposes the operation to the
// cluster is Refused; a deadline, a lost connection and "leader changed" leave it open, and so does "database space
// exceeded", which members decide on when they apply the operation.
func outcome(err error) Outcome {
	if err == nil {
		return OK
	}
	// The client gives etcd's own errors another type than gRPC's.
	var own rpctypes.EtcdError
	code := status.Code(err)
	if errors.As(err, &own) {
		code = own.Code()
	}
	switch {
	case errors.Is(err, rpctypes.ErrTooManyRequests),
		code == codes.InvalidArgument, code == codes.PermissionDenied, code == codes.Unauthenticated:
		return Refused
	}
	return Unknown
}
