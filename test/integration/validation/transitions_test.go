//go:build integration

package validation

import "testing"

// TestTransitions tries changes that are allowed, and that each can be taken back: after a bad change the good
// spec can always be applied again. Only a volume that has grown stays so.
func TestTransitions(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		oneWay         bool
	}{
		{name: "scale out", from: "size: 3", to: "size: 5"},
		{name: "scale by several", from: "size: 1", to: "size: 9"},
		{name: "hibernate", from: "size: 3", to: "size: 0"},
		{name: "a patch of the version", from: "version: 3.6.5", to: "version: 3.6.16"},
		{name: "an old 3.5 to a newer one", from: "version: 3.5.19", to: "version: 3.5.33"},
		{name: "3.5 to 3.6", from: "version: 3.5.26", to: "version: 3.6.0"},
		{name: "3.6 to 3.7", from: "version: 3.6.11", to: "version: 3.7.0"},
		{name: "3.6 to a prerelease of 3.7", from: "version: 3.6.16", to: "version: 3.7.0-rc.1"},
		{name: "a version that does not exist", from: "version: 3.6.16", to: "version: 3.6.9999"},
		{name: "an image that does not exist", from: "{}", to: "repository: example.com/none"},
		{name: "a larger volume", from: "storage: {size: 1Gi}", to: "storage: {size: 2Gi}", oneWay: true},
		{name: "a larger log volume", from: "storage: {wal: {size: 1Gi}}", to: "storage: {wal: {size: 2Gi}}", oneWay: true},
		{name: "the same size in another unit", from: "storage: {size: 1Gi}", to: "storage: {size: 1024Mi}"},
		{name: "another size in memory", from: "storage: {medium: Memory, size: 1Gi}", to: "storage: {medium: Memory, size: 2Gi}"},
		{name: "a class that does not exist", from: "{}", to: "storage: {storageClassName: none}"},
		{name: "another class", from: "storage: {storageClassName: a}", to: "storage: {storageClassName: b}"},
		{name: "another class of the log", from: "storage: {wal: {storageClassName: a}}", to: "storage: {wal: {storageClassName: b}}"},
		{name: "retention", from: "{}", to: "storage: {retention: {whenDeleted: Delete, whenScaled: Retain}}"},
		{name: "settings", from: "{}", to: `config: {snapshot-count: "5", quota-backend-bytes: "10737418240"}`},
		{name: "settings and version together", from: "{version: 3.6.16, config: {experimental-corrupt-check-time: 1h}}", to: "{version: 3.7.3, config: {corrupt-check-time: 1h}}"},
		{name: "requests that no node has", from: "{}", to: "podTemplate: {spec: {resources: {requests: {cpu: 10000}}}}"},
		{name: "a node that does not exist", from: "{}", to: "podTemplate: {spec: {nodeSelector: {kubernetes.io/hostname: none}}}"},
		{name: "the type of service", from: "{}", to: "services: {client: {type: NodePort}}"},
		{name: "paused", from: "{}", to: "paused: true"},
	} {
		t.Run(c.name, func(t *testing.T) {
			stored := object(t, newName(), c.from)
			if err := create(t, stored); err != nil {
				t.Fatal(err)
			}
			stored.Object["spec"] = object(t, "any", c.to).Object["spec"]
			if err := api().Update(t.Context(), stored); err != nil {
				t.Fatalf("refused: %v", err)
			}
			err := tryUpdate(t, stored, object(t, "any", c.from).Object["spec"])
			if c.oneWay && err == nil {
				t.Error("the way back is open, but should not be")
			} else if !c.oneWay && err != nil {
				t.Errorf("there is no way back: %v", err)
			}
		})
	}
}
