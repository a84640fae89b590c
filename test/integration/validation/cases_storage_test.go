//go:build integration

package validation

import "strings"

// storageRefusals are about spec.storage of a new cluster.
var storageRefusals = []refusal{
	{name: "size 0", spec: `storage: {size: "0"}`, want: []string{"spec.storage.size is 0", "from 64Mi to 64Ti"}},
	{name: "a negative size", spec: "storage: {size: -1Gi}", want: []string{"spec.storage.size is -1Gi", "from 64Mi to 64Ti"}},
	{name: "a small size", spec: "storage: {size: 63Mi}", want: []string{"spec.storage.size is 63Mi", "from 64Mi to 64Ti", "log segments"}},
	{name: "a small size as a number", spec: "storage: {size: 10}", want: []string{"spec.storage.size is 10", "from 64Mi to 64Ti"}},
	{name: "a huge size", spec: "storage: {size: 65Ti}", want: []string{"spec.storage.size is 65Ti", "from 64Mi to 64Ti"}},
	{name: "a size that is no quantity", spec: "storage: {size: large}", want: []string{"spec.storage.size", "large", "e.g. 10Gi"}},
	{name: "a size with a wrong unit", spec: "storage: {size: 10GB}", want: []string{"spec.storage.size", "10GB", "e.g. 10Gi"}},
	{name: "a size with a broken exponent", spec: "storage: {size: 1e1.5}", want: []string{"spec.storage.size is 1e1.5", "e.g. 10Gi"}},
	{name: "a size of too many digits", spec: `storage: {size: "` + strings.Repeat("1", 1000) + `"}`, want: []string{"spec.storage.size", "from 64Mi to 64Ti"}},
	{name: "a size as a fraction", spec: "storage: {size: 1.5}", want: []string{"spec.storage.size"}},
	{name: "an unknown medium", spec: "storage: {medium: Tape}", want: []string{"spec.storage.medium", `"Tape"`, `"Disk", "Memory"`}},
	{name: "a class with upper case", spec: "storage: {storageClassName: Fast}", want: []string{"spec.storage.storageClassName", `"Fast"`, "lower-case letters"}},
	{name: "a class with dots in a row", spec: "storage: {storageClassName: a..b}", want: []string{"spec.storage.storageClassName", `"a..b"`}},
	{name: "an empty class", spec: `storage: {storageClassName: ""}`, want: []string{"spec.storage.storageClassName", "at least 1"}},
	{name: "an over-long class", spec: "storage: {storageClassName: " + strings.Repeat("a", 254) + "}", want: []string{"spec.storage.storageClassName", "may not be more than 253"}},
	{name: "a class for memory", spec: "storage: {medium: Memory, storageClassName: fast}", want: []string{"spec.storage.storageClassName", "medium Memory", "no volume"}},
	{name: "a log volume for memory", spec: "storage: {medium: Memory, wal: {}}", want: []string{"spec.storage.wal", "medium Memory", "no volume"}},
	{name: "a small log volume", spec: "storage: {wal: {size: 511Mi}}", want: []string{"spec.storage.wal.size is 511Mi", "from 512Mi to 64Ti", "log segments"}},
	{name: "a huge log volume", spec: "storage: {wal: {size: 1Ei}}", want: []string{"spec.storage.wal.size is 1Ei", "from 512Mi to 64Ti"}},
	{name: "a log volume of a wrong class", spec: "storage: {wal: {storageClassName: a_b}}", want: []string{"spec.storage.wal.storageClassName", `"a_b"`, "lower-case letters"}},
	{name: "growth in memory", spec: "storage: {medium: Memory, autoGrow: {limit: 20Gi}}", want: []string{"spec.storage.autoGrow", "medium Memory", "no volume to grow"}},
	{name: "growth without a limit", spec: "storage: {autoGrow: {}}", want: []string{"spec.storage.autoGrow.limit", "Required"}},
	{name: "growth to less than the size", spec: "storage: {autoGrow: {limit: 9Gi}}",
		want: []string{"spec.storage.autoGrow.limit is 9Gi", "not be less than spec.storage.size 10Gi"}},
	{name: "growth to a limit that is no quantity", spec: "storage: {autoGrow: {limit: large}}", want: []string{"spec.storage.autoGrow.limit", "large"}},
	{name: "growth to a broken exponent", spec: "storage: {autoGrow: {limit: 1e1.5}}", want: []string{"spec.storage.autoGrow.limit is 1e1.5", "e.g. 50Gi"}},
	{name: "growth to a huge limit", spec: "storage: {autoGrow: {limit: 65Ti}}", want: []string{"spec.storage.autoGrow.limit is 65Ti", "from 64Mi to 64Ti"}},
	{name: "growth from too early on", spec: "storage: {autoGrow: {limit: 20Gi, thresholdPercent: 49}}",
		want: []string{"spec.storage.autoGrow.thresholdPercent", "49", "greater than or equal to 50"}},
	{name: "growth from too late on", spec: "storage: {autoGrow: {limit: 20Gi, thresholdPercent: 96}}",
		want: []string{"spec.storage.autoGrow.thresholdPercent", "96", "less than or equal to 95"}},
	{name: "an unknown retention", spec: "storage: {retention: {whenDeleted: Keep}}", want: []string{"spec.storage.retention.whenDeleted", `"Keep"`, `"Retain", "Delete"`}},
	{name: "an unknown retention on scaling", spec: "storage: {retention: {whenScaled: delete}}", want: []string{"spec.storage.retention.whenScaled", `"delete"`}},
}

// transitionRefusals are about changes of a stored cluster.
var transitionRefusals = []refusal{
	{name: "to an even size", from: "size: 3", spec: "size: 4", want: []string{"spec.size", "not 4", "use 3 or 5"}},
	{name: "disk to memory", from: "{}", spec: "storage: {medium: Memory}",
		want: []string{"spec.storage.medium", "from Disk to Memory", "make a new cluster and restore"}},
	{name: "memory to disk", from: "storage: {medium: Memory}", spec: "{}", want: []string{"spec.storage.medium", "from Memory to Disk"}},
	{name: "hibernation in memory", from: "storage: {medium: Memory}", spec: "{size: 0, storage: {medium: Memory}}", want: []string{"spec.size", "medium Disk"}},
	{name: "a volume below the quota", from: `{storage: {size: 2Gi}, config: {quota-backend-bytes: "2147483648"}}`,
		spec: `{storage: {size: 1Gi}, config: {quota-backend-bytes: "2147483648"}}`, want: []string{"spec.config[quota-backend-bytes] is 2147483648", "1Gi"}},
	{name: "a volume beyond the growth limit", from: "storage: {size: 1Gi, autoGrow: {limit: 2Gi}}", spec: "storage: {size: 3Gi, autoGrow: {limit: 2Gi}}",
		want: []string{"spec.storage.autoGrow.limit is 2Gi", "spec.storage.size 3Gi"}},
	{name: "3.6 to an old 3.5", from: "version: 3.6.16", spec: "version: 3.5.20", want: []string{"spec.version", "from 3.6.16 to 3.5.20", "use 3.5.26 or later"}},
	{name: "3.6 to the last of the old 3.5", from: "version: 3.6.0", spec: "version: 3.5.25", want: []string{"from 3.6.0 to 3.5.25", "removed members back to life"}},
	{name: "3.7 to an old 3.5", from: "version: 3.7.3", spec: "version: 3.5.11", want: []string{"from 3.7.3 to 3.5.11", "use 3.5.26 or later"}},
	{name: "3.7 to an old 3.6", from: "version: 3.7.3", spec: "version: 3.6.0", want: []string{"spec.version", "from 3.7.3 to 3.6.0", "use 3.6.11 or later"}},
	{name: "3.7 to the last of the old 3.6", from: "version: 3.7.0-rc.1", spec: "version: 3.6.10", want: []string{"from 3.7.0-rc.1 to 3.6.10"}},
	{name: "a quota beyond the volume, later", from: "storage: {size: 1Gi}", spec: `{storage: {size: 1Gi}, config: {quota-backend-bytes: "1073741825"}}`,
		want: []string{"spec.config[quota-backend-bytes]", "1073741825", "1Gi"}},
	{name: "a new bad setting beside old ones", from: `config: {snapshot-count: "5"}`, spec: `config: {snapshot-count: "5", wal-dir: /x}`, want: []string{`["wal-dir"]`}},
}
