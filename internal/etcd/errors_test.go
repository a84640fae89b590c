package etcd

import (
	"errors"
	"slices"
	"testing"
)

// TestSplitErrors: etcd puts the alarms of all members into the status of each one.
func TestSplitErrors(t *testing.T) {
	for name, test := range map[string]struct {
		errors, alarms, others []string
	}{
		"nothing":                 {},
		"one's own alarm":         {[]string{"memberID:17 alarm:NOSPACE "}, []string{"NOSPACE"}, nil},
		"two of one's own":        {[]string{"memberID:17 alarm:NOSPACE", "memberID:17 alarm:CORRUPT"}, []string{"NOSPACE", "CORRUPT"}, nil},
		"another member's":        {[]string{"memberID:18 alarm:NOSPACE"}, nil, nil},
		"no leader: known by it":  {[]string{"etcdserver: no leader"}, nil, nil},
		"something else entirely": {[]string{"etcdserver: corrupt"}, nil, []string{"etcdserver: corrupt"}},
		"almost an alarm":         {[]string{"memberID:x alarm:NOSPACE"}, nil, []string{"memberID:x alarm:NOSPACE"}},
	} {
		alarms, _, others := splitErrors(test.errors, 17)
		if !slices.Equal(alarms, test.alarms) || !slices.Equal(others, test.others) {
			t.Errorf("%s: alarms %v, others %v", name, alarms, others)
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
