//go:build integration

package validation

import "testing"

// TestTransitions tries changes that are allowed, and that each can be taken back: after a bad change the good
// spec can always be applied again. Only a version below what etcd supports going back to stays behind.
func TestTransitions(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		oneWay         bool
	}{
		{name: "scale out", from: "size: 3", to: "size: 5"},
		{name: "scale by several", from: "size: 1", to: "size: 9"},
		{name: "scale in", from: "size: 9", to: "size: 1"},
		{name: "hibernate", from: "size: 3", to: "size: 0"},
		{name: "hibernate and change at once", from: "{size: 3, version: 3.6.16}", to: "{size: 0, version: 3.7.3, storage: {size: 20Gi}}"},
		{name: "a patch of the version", from: "version: 3.6.5", to: "version: 3.6.16"},
		{name: "an old 3.5 to a newer one", from: "version: 3.5.19", to: "version: 3.5.33"},
		{name: "an old 3.5 to 3.6", from: "version: 3.5.25", to: "version: 3.6.16", oneWay: true},
		{name: "an old 3.5 to 3.7", from: "version: 3.5.20", to: "version: 3.7.3", oneWay: true},
		{name: "an old 3.5 to the default", from: "version: 3.5.20", to: "{}", oneWay: true},
		{name: "an old 3.6 to 3.7", from: "version: 3.6.10", to: "version: 3.7.3", oneWay: true},
		{name: "an old 3.6 to 3.5", from: "version: 3.6.0", to: "version: 3.5.26"},
		{name: "3.5 to 3.7", from: "version: 3.5.33", to: "version: 3.7.3"},
		{name: "3.5 to 3.6", from: "version: 3.5.26", to: "version: 3.6.0"},
		{name: "3.6 to 3.7", from: "version: 3.6.11", to: "version: 3.7.0"},
		{name: "3.6 to a prerelease of 3.7", from: "version: 3.6.16", to: "version: 3.7.0-rc.1"},
		{name: "a version that does not exist", from: "version: 3.6.16", to: "version: 3.6.9999"},
		{name: "an image that does not exist", from: "{}", to: "repository: example.com/none"},
		{name: "a larger volume", from: "storage: {size: 1Gi}", to: "storage: {size: 2Gi}"},
		{name: "a larger log volume", from: "storage: {wal: {size: 1Gi}}", to: "storage: {wal: {size: 2Gi}}"},
		{name: "a volume that is smaller by its unit", from: "storage: {size: 1Gi}", to: "storage: {size: 1G}"},
		{name: "a smaller volume while hibernated", from: "{size: 0, storage: {size: 2Gi}}", to: "{size: 0, storage: {size: 1Gi}}"},
		{name: "the size left out again", from: "storage: {size: 20Gi}", to: "{}"},
		{name: "a log volume", from: "{}", to: "storage: {wal: {}}"},
		{name: "another class, size and log volume at once", from: "storage: {size: 2Gi, storageClassName: a}", to: "storage: {size: 1Gi, storageClassName: b, wal: {size: 1Gi}}"},
		{name: "growth", from: "{}", to: "storage: {autoGrow: {limit: 20Gi}}"},
		{name: "growth to a lower limit", from: "storage: {autoGrow: {limit: 20Gi}}", to: "storage: {autoGrow: {limit: 15Gi}}"},
		{name: "when members are replaced", from: "{}", to: "healing: {memberUnhealthyAfter: 1h}"},
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
