package etcd

import (
	"errors"
	"reflect"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// TestSplitErrors: etcd puts the alarms of all members into the status of each one.
func TestSplitErrors(t *testing.T) {
	for name, test := range map[string]struct {
		errors []string
		// own are the member's alarms; all those of all members, with whose they are.
		own, all, ids, others []string
	}{
		"nothing":                 {},
		"one's own alarm":         {[]string{"memberID:17 alarm:NOSPACE "}, []string{"NOSPACE"}, []string{"NOSPACE"}, []string{"11"}, nil},
		"another member's":        {[]string{"memberID:18 alarm:NOSPACE"}, nil, []string{"NOSPACE"}, []string{"12"}, nil},
		"nobody's, as it is told": {[]string{"alarm:CORRUPT "}, nil, []string{"CORRUPT"}, []string{"0"}, nil},
		"nobody's":                {[]string{"memberID:0 alarm:CORRUPT"}, nil, []string{"CORRUPT"}, []string{"0"}, nil},
		"no leader: known by it":  {[]string{"etcdserver: no leader"}, nil, nil, nil, nil},
		"something else entirely": {[]string{"etcdserver: corrupt"}, nil, nil, nil, []string{"etcdserver: corrupt"}},
		"almost an alarm":         {[]string{"memberID:x alarm:NOSPACE"}, nil, nil, nil, []string{"memberID:x alarm:NOSPACE"}},
		"several": {
			[]string{"memberID:17 alarm:NOSPACE", "memberID:18 alarm:CORRUPT", "memberID:17 alarm:CORRUPT"},
			[]string{"NOSPACE", "CORRUPT"}, []string{"NOSPACE", "CORRUPT", "CORRUPT"}, []string{"11", "12", "11"}, nil,
		},
	} {
		want := core.Status{Alarms: test.own, ClusterAlarms: test.all, AlarmIDs: test.ids, Errors: test.others}
		var got core.Status
		splitErrors(&got, test.errors, 17)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

// TestPlainError: the same trouble is told in the same words each time, or the status would be written each time.
func TestPlainError(t *testing.T) {
	for text, want := range map[string]string{
		`rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial tcp 10.0.0.7:2379: connect: connection refused"`: "connection refused",
		"rpc error: code = DeadlineExceeded desc = context deadline exceeded":                                                                                 "context deadline exceeded",
		"read tcp 10.0.0.1:53210->10.0.0.7:2379: read: connection reset by peer":                                                                              "connection reset by peer",
		"etcdserver: something new": "etcdserver: something new",
	} {
		if got := plainError(errors.New(text)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestID(t *testing.T) {
	if got := ID(0xcdf818194e3a8c32); got != "cdf818194e3a8c32" {
		t.Errorf("etcdctl writes it otherwise: %s", got)
	}
}
