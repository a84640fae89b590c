package render_test

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// TestHowMembersStart: what a member is told about the others, and whether the cluster is there already.
func TestHowMembersStart(t *testing.T) {
	url := func(member string) string {
		return member + "=http://" + member + "-0.demo-peer.default.svc.cluster.local:2382"
	}
	for name, test := range map[string]struct {
		member         core.ApplyMember
		initial, state string
	}{
		"founds": {
			core.ApplyMember{Member: "demo-0", Start: core.StartBootstrap, InitialCluster: []string{"demo-0", "demo-1"}},
			url("demo-0") + "," + url("demo-1"), "new",
		},
		// The members that there are by now, not the founders.
		"joins": {
			core.ApplyMember{Member: "demo-7", Start: core.StartJoin, InitialCluster: []string{"demo-2", "demo-7"}},
			url("demo-2") + "," + url("demo-7"), "existing",
		},
		"sealed": {
			core.ApplyMember{Member: "demo-7", Start: core.StartSealed, InitialCluster: []string{"demo-2", "demo-7"}},
			url("demo-7"), "existing",
		},
	} {
		t.Run(name, func(t *testing.T) {
			set := plain().StatefulSet(test.member)
			for _, want := range []string{"--initial-cluster=" + test.initial, "--initial-cluster-state=" + test.state, "--initial-cluster-token=default-demo-uid-1"} {
				if args := started(set.Spec.Template); !slices.Contains(args, want) {
					t.Errorf("%s is not among %v", want, args)
				}
			}
			pod := &corev1.Pod{ObjectMeta: set.Spec.Template.ObjectMeta, Spec: set.Spec.Template.Spec}
			if got, fixed := render.PodStart(pod); got != test.member.Start || fixed {
				t.Errorf("the start of its pod is read as %d, fixed: %t", got, fixed)
			}
			if got := render.StartOf(set); got != test.member.Start {
				t.Errorf("its start is read as %d, want %d", got, test.member.Start)
			}
			if got := set.Annotations[render.AnnotationInitialCluster]; got != strings.Join(test.member.InitialCluster, ",") {
				t.Errorf("recorded: %s", got)
			}
			if founders := set.Spec.VolumeClaimTemplates[0].Annotations[render.AnnotationBootstrapMembers]; founders != "demo-0,demo-1,demo-2" {
				t.Errorf("founders on the claim: %s", founders)
			}
		})
	}
}

// started are the arguments that a container is started with: references to variables are worked out, and those to annotations.
func started(pod corev1.PodTemplateSpec) []string {
	var values []string
	for _, variable := range pod.Spec.Containers[0].Env {
		value := variable.Value
		if from := variable.ValueFrom; from != nil {
			name := strings.TrimSuffix(strings.TrimPrefix(from.FieldRef.FieldPath, "metadata.annotations['"), "']")
			value = pod.Annotations[name]
		}
		values = append(values, "$("+variable.Name+")", value)
	}
	var args []string
	for _, arg := range pod.Spec.Containers[0].Args {
		args = append(args, strings.NewReplacer(values...).Replace(arg))
	}
	return args
}

// TestSealingChangesAnnotationsOnly: a pod that was made to found or to join is started as a sealed one once its annotations
// are those of one. Nothing else of it could be changed.
func TestSealingChangesAnnotationsOnly(t *testing.T) {
	c := everything()
	sealed := c.StatefulSet(core.ApplyMember{Member: "demo-1", Start: core.StartSealed}).Spec.Template
	for _, start := range []core.Start{core.StartBootstrap, core.StartJoin} {
		made := c.StatefulSet(core.ApplyMember{Member: "demo-1", Start: start, InitialCluster: []string{"demo-0", "demo-1"}}).Spec.Template
		if slices.Equal(started(made), started(sealed)) {
			t.Error("it is started as a sealed one already")
		}
		maps.Copy(made.Annotations, c.StartAnnotations(core.ApplyMember{Member: "demo-1", Start: core.StartSealed}))
		if !reflect.DeepEqual(made, sealed) || !slices.Contains(started(made), "--initial-cluster-state=existing") {
			t.Errorf("%v, want %v", made, sealed)
		}
	}
}

// TestEtcdctlInMembers: etcdctl that somebody runs in a member's pod shows the member's certificate, unless the user has told it
// another one. No variable is there twice, which the API server would refuse.
func TestEtcdctlInMembers(t *testing.T) {
	c := tls()
	c.Spec.PodTemplate.Spec.Env = []corev1.EnvVar{{Name: "ETCDCTL_CERT", Value: "/mine"}}
	got := map[string]string{}
	for _, variable := range c.StatefulSet(core.ApplyMember{Member: "demo-0", Start: core.StartSealed}).Spec.Template.Spec.Containers[0].Env {
		if _, twice := got[variable.Name]; twice {
			t.Errorf("%s is there twice", variable.Name)
		}
		if strings.HasPrefix(variable.Name, "ETCDCTL_") {
			got[variable.Name] = variable.Value
		}
	}
	want := map[string]string{
		"ETCDCTL_CACERT": "/var/lib/etcd-tls/trust/client.crt", "ETCDCTL_CERT": "/mine", "ETCDCTL_KEY": "/var/lib/etcd-tls/server-tls/tls.key",
	}
	if !maps.Equal(got, want) {
		t.Errorf("the variables are %v, not %v", got, want)
	}
}

// TestPodStart: what is not known to be sealed is not.
func TestPodStart(t *testing.T) {
	bare := func(args ...string) *corev1.Pod {
		return &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "sidecar", Args: []string{"--initial-cluster-state=new"}}, {Name: render.ContainerName, Args: args}}}}
	}
	with := func(pod *corev1.Pod, urls, state string) *corev1.Pod {
		pod.Annotations = map[string]string{render.AnnotationInitialURLs: urls, render.AnnotationInitialState: state}
		return pod
	}
	ours := []string{"--name=demo-0", "--initial-cluster=$(INITIAL_CLUSTER)", "--initial-cluster-state=$(INITIAL_CLUSTER_STATE)"}
	for name, test := range map[string]struct {
		pod   *corev1.Pod
		start core.Start
		fixed bool
	}{
		"it founds":                         {with(bare(ours...), "demo-0=u,demo-1=u", "new"), core.StartBootstrap, false},
		"it founds alone":                   {with(bare(ours...), "demo-0=u", "new"), core.StartBootstrap, false},
		"it joins":                          {with(bare(ours...), "demo-0=u,demo-1=u", "existing"), core.StartJoin, false},
		"it is sealed":                      {with(bare(ours...), "demo-0=u", "existing"), core.StartSealed, false},
		"its annotations were taken away":   {bare(ours...), core.StartJoin, false},
		"one of them was":                   {with(bare(ours...), "", "existing"), core.StartJoin, false},
		"an earlier operator's, founding":   {bare("--initial-cluster=demo-0=u", "--initial-cluster-state=new"), core.StartBootstrap, true},
		"an earlier operator's, sealed":     {bare("--initial-cluster=demo-0=u", "--initial-cluster-state=existing"), core.StartSealed, true},
		"an earlier operator's, annotated":  {with(bare("--initial-cluster=demo-0=u,demo-1=u", "--initial-cluster-state=new"), "demo-0=u", "existing"), core.StartBootstrap, true},
		"only one argument is told by them": {with(bare("--initial-cluster=$(INITIAL_CLUSTER)", "--initial-cluster-state=new"), "demo-0=u", "existing"), core.StartBootstrap, true},
		"it has no arguments":               {bare(), core.StartJoin, true},
	} {
		if start, fixed := render.PodStart(test.pod); start != test.start || fixed != test.fixed {
			t.Errorf("%s: read as %d, fixed: %t", name, start, fixed)
		}
	}
}

// TestUnknownStart: what is not understood can found nothing.
func TestUnknownStart(t *testing.T) {
	set := plain().StatefulSet(memberZero)
	set.Annotations[render.AnnotationStart] = "somehow"
	if got := render.StartOf(set); got != core.StartSealed {
		t.Errorf("read as %d", got)
	}
}

// TestFoundersOnClaims: before the status is there, those that are founded with are the founders.
func TestFoundersOnClaims(t *testing.T) {
	c := plain()
	c.Status.BootstrapMembers = nil
	set := c.StatefulSet(core.ApplyMember{Member: "demo-0", Start: core.StartBootstrap, InitialCluster: []string{"demo-0", "demo-1"}})
	if got := set.Spec.VolumeClaimTemplates[0].Annotations[render.AnnotationBootstrapMembers]; got != "demo-0,demo-1" {
		t.Error(got)
	}
}

// TestHibernated: a member that is stopped keeps everything but its pod.
func TestHibernated(t *testing.T) {
	runs, stopped := plain().StatefulSet(memberZero), memberZero
	stopped.Stopped = true
	sleeps := plain().StatefulSet(stopped)
	if *runs.Spec.Replicas != 1 || *sleeps.Spec.Replicas != 0 {
		t.Errorf("%d and %d replicas", *runs.Spec.Replicas, *sleeps.Spec.Replicas)
	}
	sleeps.Spec.Replicas = runs.Spec.Replicas
	if a, b := mustApply(t, runs), mustApply(t, sleeps); a.GetAnnotations()[render.AnnotationAppliedHash] != b.GetAnnotations()[render.AnnotationAppliedHash] {
		t.Error("something else is different too")
	}
}

func TestMemberOf(t *testing.T) {
	named := func(namespace, name string) render.Cluster {
		c := plain()
		c.EtcdCluster = c.DeepCopy()
		c.Namespace, c.Name = namespace, name
		return c
	}
	for _, test := range []struct{ namespace, cluster, url, want string }{
		{"default", "demo", "http://demo-0-0.demo-peer.default.svc.cluster.local:2380", "demo-0"},
		{"default", "demo", "http://demo-12-0.demo-peer.default.svc.cluster.local:2380", "demo-12"},
		// The member was added under another DNS domain, by another scheme, or with TLS.
		{"default", "demo", "https://demo-0-0.demo-peer.default.svc.example.org:2380", "demo-0"},
		{"default", "demo", "http://demo-0-0.demo-peer.default.svc:2380", "demo-0"},
		{"default", "demo", "http://demo-0-0.demo-peer.default.svc", "demo-0"},
		// A cluster whose name is the beginning of another's, in both directions.
		{"default", "a", "http://a-1-0.a-peer.default.svc.cluster.local:2380", "a-1"},
		{"default", "a", "http://a-1-0-0.a-1-peer.default.svc.cluster.local:2380", ""},
		{"default", "a", "http://a-1-0.a-1-peer.default.svc.cluster.local:2380", ""},
		{"default", "a-1", "http://a-1-0-0.a-1-peer.default.svc.cluster.local:2380", "a-1-0"},
		{"default", "a-1", "http://a-1-0.a-peer.default.svc.cluster.local:2380", ""},
		{"default", "a-0", "http://a-0-0-0.a-0-peer.default.svc.cluster.local:2380", "a-0-0"},
		// The same name in another namespace.
		{"default", "demo", "http://demo-0-0.demo-peer.default-2.svc.cluster.local:2380", ""},
		{"default-2", "demo", "http://demo-0-0.demo-peer.default.svc.cluster.local:2380", ""},
		{"default", "demo", "http://10.0.0.1:2380", ""},
		{"default", "demo", "http://[fd00::1]:2380", ""},
		{"default", "demo", "http://etcd.example.org:2380", ""},
		{"default", "demo", "http://demo-peer.default.svc.cluster.local:2380", ""},
		{"default", "demo", "http://demo-0.demo-peer.default.svc.cluster.local:2380", ""},
		{"default", "demo", "http://demo-x-0.demo-peer.default.svc.cluster.local:2380", ""},
		{"default", "demo", "http://demo-0-1.demo-peer.default.svc.cluster.local:2380", ""},
		{"default", "demo", "http://demo-0-0.demo-client.default.svc.cluster.local:2380", ""},
		{"default", "demo", "http://demo-0-0", ""},
		{"default", "demo", "demo-0-0.demo-peer.default.svc.cluster.local:2380", ""},
		{"default", "demo", "unix://demo-0", ""},
		{"default", "demo", "", ""},
	} {
		if got := named(test.namespace, test.cluster).MemberOf(test.url); got != test.want {
			t.Errorf("%q for cluster %s/%s: %q, want %q", test.url, test.namespace, test.cluster, got, test.want)
		}
	}
	// Whatever is rendered is recognized.
	for _, c := range []render.Cluster{named("default", "demo"), named("x", "a-1"), named("a-peer", "a-0-0")} {
		for _, member := range []string{c.Name + "-0", c.Name + "-31"} {
			if got := c.MemberOf(c.PeerURL(member)); got != member {
				t.Errorf("%s became %q", member, got)
			}
		}
	}
}

// TestMaxLearners: what decisions count on is what members are told, and never more than they were told.
func TestMaxLearners(t *testing.T) {
	for name, test := range map[string]struct {
		version, asked, told string
		want                 int
	}{
		"3.5 knows no setting":    {"3.5.30", "", "", 1},
		"nor on the way from it":  {"3.5.33", "5", "", 1},
		"by default":              {"3.6.16", "", "2", 2},
		"3.7 too":                 {"3.7.3", "", "2", 2},
		"one is asked for":        {"3.6.16", "1", "1", 1},
		"more is not made use of": {"3.7.3", "5", "5", 2},
	} {
		c := plain()
		c.Spec.Version = test.version
		if test.asked != "" {
			c.Spec.Config = map[string]v1alpha1.ConfigValue{"max-learners": v1alpha1.ConfigValue(test.asked)}
		}
		if got, told := c.MaxLearners(), settings(t, c)["ETCD_MAX_LEARNERS"]; got != test.want || told != test.told {
			t.Errorf("%s: %d, told %q; want %d, %q", name, got, told, test.want, test.told)
		}
	}
}

func TestSnapshotCount(t *testing.T) {
	c := plain()
	if got, told := c.SnapshotCount(), settings(t, c)["ETCD_SNAPSHOT_COUNT"]; told != strconv.Itoa(got) || got != 1000 {
		t.Errorf("%d, told %q", got, told)
	}
	c.Spec.Config = map[string]v1alpha1.ConfigValue{"snapshot-count": "500"}
	if got, told := c.SnapshotCount(), settings(t, c)["ETCD_SNAPSHOT_COUNT"]; got != 500 || told != "500" {
		t.Errorf("asked for 500, got %d, told %q", got, told)
	}
	// Only 3.6 has to get its log behind a snapshot, before 3.7.
	for _, version := range []string{"3.5.30", "3.7.3"} {
		c = plain()
		c.Spec.Version = version
		if told, ok := settings(t, c)["ETCD_SNAPSHOT_COUNT"]; ok {
			t.Errorf("%s is told %s", version, told)
		}
	}
}

// TestWaypointsGetWhatTheyKnow: on the way to the version of the spec there are versions that do not know all that is set.
func TestWaypointsGetWhatTheyKnow(t *testing.T) {
	c := plain()
	c.Spec.Config = map[string]v1alpha1.ConfigValue{
		"log-level": "warn", "corrupt-check-time": "1h", "max-learners": "1",
		"experimental-corrupt-check-time": "2h", "feature-gates": "FastLeaseKeepAlive=true,LeaseCheckpoint=true",
	}
	for version, want := range map[string]map[string]string{
		"3.5.33": {"LOG_LEVEL": "warn", "EXPERIMENTAL_CORRUPT_CHECK_TIME": "2h"},
		"3.6.16": {
			"LOG_LEVEL": "warn", "EXPERIMENTAL_CORRUPT_CHECK_TIME": "2h", "CORRUPT_CHECK_TIME": "1h", "MAX_LEARNERS": "1",
			"FEATURE_GATES": "InitialCorruptCheck=true,CompactHashCheck=true,LeaseCheckpoint=true",
		},
		"3.7.3": {
			"LOG_LEVEL": "warn", "CORRUPT_CHECK_TIME": "1h", "MAX_LEARNERS": "1",
			"FEATURE_GATES": "InitialCorruptCheck=true,CompactHashCheck=true,FastLeaseKeepAlive=true,LeaseCheckpoint=true",
		},
	} {
		c.Spec.Version = version
		got := settings(t, c)
		for _, name := range []string{"LOG_LEVEL", "CORRUPT_CHECK_TIME", "EXPERIMENTAL_CORRUPT_CHECK_TIME", "MAX_LEARNERS", "FEATURE_GATES"} {
			if got["ETCD_"+name] != want[name] {
				t.Errorf("%s: %s is %q, want %q", version, name, got["ETCD_"+name], want[name])
			}
		}
	}
	// The older setting stands for the gate: 3.6 does not start with both.
	c.Spec.Version = "3.6.16"
	c.Spec.Config = map[string]v1alpha1.ConfigValue{"experimental-initial-corrupt-check": "false"}
	if got := settings(t, c); got["ETCD_FEATURE_GATES"] != "CompactHashCheck=true" || got["ETCD_EXPERIMENTAL_INITIAL_CORRUPT_CHECK"] != "false" {
		t.Errorf("%v", got)
	}
	c.Spec.Config["experimental-compact-hash-check-enabled"] = "true"
	if got, ok := settings(t, c)["ETCD_FEATURE_GATES"]; ok {
		t.Errorf("gates %q", got)
	}
	c.Spec.Config["feature-gates"] = "LeaseCheckpoint=true"
	if got := settings(t, c)["ETCD_FEATURE_GATES"]; got != "LeaseCheckpoint=true" {
		t.Errorf("gates %q", got)
	}
	c.Spec.Version = "3.7.3"
	if got := settings(t, c)["ETCD_FEATURE_GATES"]; got != "InitialCorruptCheck=true,CompactHashCheck=true,LeaseCheckpoint=true" {
		t.Errorf("3.7 knows the gates only: %q", got)
	}
	// Nothing is left of gates that are all unknown yet.
	c.Spec.Version = "3.6.16"
	c.Spec.Config = map[string]v1alpha1.ConfigValue{"feature-gates": "PriorityRequest=true"}
	if got := settings(t, c)["ETCD_FEATURE_GATES"]; got != "InitialCorruptCheck=true,CompactHashCheck=true" {
		t.Error(got)
	}
}

// TestFitting: a member keeps looking for its log where it was made to.
func TestFitting(t *testing.T) {
	with, without := everything(), everything()
	without.Spec.Storage.WAL = nil
	for name, test := range map[string]struct{ made, asked render.Cluster }{
		"made with a volume for the log, none is asked for": {with, without},
		"made without, and one is asked for":                {without, with},
		"made with, and one is asked for":                   {with, with},
		"made without, and none is asked for":               {without, without},
	} {
		set := test.made.StatefulSet(memberZero)
		fitting := test.asked.Fitting(set).StatefulSet(memberZero)
		if !slices.Equal(etcdOf(fitting).Args, etcdOf(set).Args) || !reflect.DeepEqual(etcdOf(fitting).VolumeMounts, etcdOf(set).VolumeMounts) {
			t.Errorf("%s: %v", name, etcdOf(fitting).Args)
		}
	}
	if with.Spec.Storage.WAL == nil || without.Spec.Storage.WAL != nil {
		t.Error("the spec itself was changed")
	}
}
