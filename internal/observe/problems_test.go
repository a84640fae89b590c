package observe_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

func waiting(reason, message string) corev1.ContainerStatus {
	return corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}
}

func ended(code int32, message string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: "Error", Message: message}}
}

// TestWhyAPodDoesNotRun: each of these needs a person, and is told in the words that Kubernetes has for it.
func TestWhyAPodDoesNotRun(t *testing.T) {
	const pullError = `rpc error: code = NotFound desc = failed to pull "etcd:v3.6.16": not found`
	backOff := waiting("CrashLoopBackOff", "back-off 10s restarting failed container")
	backOff.RestartCount, backOff.LastTerminationState = 3, ended(1, "first line\nbad flag\n")
	exited := corev1.ContainerStatus{State: ended(2, "panic: oh no")}
	again := corev1.ContainerStatus{RestartCount: 1, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, LastTerminationState: ended(1, "x")}
	stopped := corev1.ContainerStatus{State: ended(0, "")}
	// As recorded from 3.6.16, but for what is before.
	unsaved := corev1.ContainerStatus{RestartCount: 1, State: ended(2, `go.uber.org/zap.(*Logger).Panic(0x10d2b0476000?, {0x12d2de0?, 0x2000?}, {0x10d2b02b4440, 0x1, 0x1})
	go.uber.org/zap@v1.27.0/logger.go:285 +0x4b
go.etcd.io/etcd/server/v3/etcdserver.(*EtcdServer).snapshot(0x10d2afd7d508, 0x10d2afb7a360, 0x1)
	go.etcd.io/etcd/server/v3@v3.6.16/etcdserver/server.go:2253 +0x987
created by go.etcd.io/etcd/pkg/v3/schedule.NewFIFOScheduler in goroutine 133
	go.etcd.io/etcd/pkg/v3@v3.6.16/schedule/schedule.go:101 +0x16f`)}
	full := corev1.ContainerStatus{RestartCount: 1, State: ended(1, `{"level":"fatal","msg":"failed to create WAL","error":"write wal: no space left on device"}`)}

	for name, test := range map[string]struct {
		status  corev1.ContainerStatus
		reason  core.Reason
		message string
	}{
		"pull fails":                    {waiting("ErrImagePull", pullError), core.ReasonImagePullFailed, "pod demo-0-0: image etcd:v3.6.16 cannot be pulled: " + pullError},
		"pull waits, in the same words": {waiting("ImagePullBackOff", `Back-off pulling image "etcd:v3.6.16": ErrImagePull: `+pullError), core.ReasonImagePullFailed, "pod demo-0-0: image etcd:v3.6.16 cannot be pulled: " + pullError},
		"image name":                    {waiting("InvalidImageName", "couldn't parse"), core.ReasonImagePullFailed, "pod demo-0-0: image etcd:v3.6.16 cannot be pulled: couldn't parse"},
		"a Secret is missing":           {waiting("CreateContainerConfigError", `secret "s" not found`), core.ReasonContainerConfig, `pod demo-0-0: CreateContainerConfigError: secret "s" not found`},
		"it crashes":                    {backOff, core.ReasonCrashLooping, "pod demo-0-0: etcd ended with exit code 1 (Error): bad flag"},
		"it has just ended":             {exited, core.ReasonCrashLooping, "pod demo-0-0: etcd ended with exit code 2 (Error): panic: oh no"},
		"its volume is full":            {full, core.ReasonDiskFull, "pod demo-0-0: etcd ended since its volume is full: raise spec.storage.size, or spec.storage.wal.size if the log has a volume of its own (" + full.State.Terminated.Message + ")"},
		"no snapshot can be saved":      {unsaved, core.ReasonDiskFull, "pod demo-0-0: etcd ended since its volume is full: raise spec.storage.size, or spec.storage.wal.size if the log has a volume of its own (a snapshot of its log could not be saved)"},
		"it is being created":           {waiting("ContainerCreating", ""), "", ""},
		"it runs again":                 {again, "", ""},
		"it was asked to stop":          {stopped, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation()
			pod := s.pod("demo-0")
			setContainer(pod, test.status)
			got := s.add(pod).member(t, "demo-0").Pod.Problem
			if want := (core.Problem{Reason: test.reason, Message: test.message}); got != want {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

func TestUnschedulable(t *testing.T) {
	s := newSituation()
	pod := s.pod("demo-0")
	pod.Status.ContainerStatuses = nil
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: " 0/3 nodes are available "}}
	got := s.add(pod).member(t, "demo-0").Pod
	if got.Running || got.Ready || got.Problem != (core.Problem{Reason: core.ReasonUnschedulable, Message: "pod demo-0-0 cannot be scheduled: 0/3 nodes are available"}) {
		t.Errorf("%+v", got)
	}
}

// TestLongMessages: what is quoted from elsewhere is bounded, and still text.
func TestLongMessages(t *testing.T) {
	s := newSituation()
	pod := s.pod("demo-0")
	setContainer(pod, waiting("CreateContainerError", strings.Repeat("ö", 5000)))
	message := s.add(pod).member(t, "demo-0").Pod.Problem.Message
	if len(message) > 500 || !strings.HasSuffix(message, "ö…") {
		t.Errorf("%d bytes, ending in %q", len(message), message[len(message)-10:])
	}
}

func TestWhyAClaimHasNoVolume(t *testing.T) {
	oldDefault := class("fast", false)
	oldDefault.Annotations = map[string]string{"storageclass.beta.kubernetes.io/is-default-class": "true"}
	event := warning("e", "claim-of-demo-0", "ProvisioningFailed", "disk quota reached", time.Minute)
	for name, test := range map[string]struct {
		class   *string
		others  []client.Object
		reason  core.Reason
		message string
	}{
		"class missing": {
			new("fsat"), []client.Object{class("fast", true), class("slow", false)}, core.ReasonStorageClassMissing,
			`claim data-demo-0-0 gets no volume: StorageClass fsat does not exist: make it, or set spec.storage.storageClassName to one of: fast, slow`,
		},
		"there is no class at all": {
			new("fsat"), nil, core.ReasonStorageClassMissing,
			`claim data-demo-0-0 gets no volume: StorageClass fsat does not exist: make it, or set spec.storage.storageClassName to one of: (there are none)`,
		},
		"no default": {
			nil, []client.Object{class("slow", false)}, core.ReasonStorageClassMissing,
			"claim data-demo-0-0 gets no volume: there is no default StorageClass: set spec.storage.storageClassName to one of: slow",
		},
		"provisioner fails":                                  {new("fast"), []client.Object{class("fast", true), event}, core.ReasonVolumePending, "claim data-demo-0-0 gets no volume: disk quota reached"},
		"it waits for its pod":                               {new("fast"), []client.Object{class("fast", true)}, "", ""},
		"it waits for the default class":                     {nil, []client.Object{class("fast", true)}, "", ""},
		"it waits for the default class, marked the old way": {nil, []client.Object{oldDefault}, "", ""},
		"a volume without class is meant":                    {new(""), nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation(test.others...)
			volume := s.add(s.pendingClaim("demo-0", test.class)).member(t, "demo-0").Volumes[0]
			if want := (core.Problem{Reason: test.reason, Message: test.message}); volume.Problem != want || volume.Bound {
				t.Errorf("got  %+v\nwant %v", volume, want)
			}
		})
	}
}

// TestClassesMayBeHidden: installed for single namespaces the operator may not read StorageClasses. Then it does not
// claim anything about them.
func TestClassesMayBeHidden(t *testing.T) {
	s := newSituation()
	s.fail.List = func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
		if _, ok := list.(*storagev1.StorageClassList); ok {
			return errors.New("forbidden")
		}
		return c.List(ctx, list, options...)
	}
	if problem := s.add(s.pendingClaim("demo-0", nil)).member(t, "demo-0").Volumes[0].Problem; !problem.IsZero() {
		t.Errorf("%v", problem)
	}
	s.objects = []client.Object{s.pendingClaim("demo-0", new("fast"))}
	if problem := s.member(t, "demo-0").Volumes[0].Problem; !strings.HasSuffix(problem.Message, "(the operator may not list them)") {
		t.Errorf("%v", problem)
	}
}

func TestWhyThereIsNoPod(t *testing.T) {
	const uid = "workload-of-demo-0"
	old := warning("old", uid, "FailedCreate", "an old story", 30*time.Minute)
	series := warning("series", uid, "FailedCreate", "still so", 40*time.Minute)
	series.Series = &corev1.EventSeries{LastObservedTime: metav1.NewMicroTime(now.Add(-time.Second))}
	newStyle := warning("new-style", uid, "FailedCreate", "said the new way", 0)
	newStyle.LastTimestamp, newStyle.EventTime = metav1.Time{}, metav1.NewMicroTime(now.Add(-time.Minute))
	normal := warning("normal", uid, "FailedCreate", "not a warning", 0)
	normal.Type = corev1.EventTypeNormal

	for name, test := range map[string]struct {
		events []client.Object
		want   core.Problem
	}{
		"quota":              {[]client.Object{warning("e", uid, "FailedCreate", "exceeded quota: q", time.Minute)}, core.Problem{Reason: core.ReasonQuotaExceeded, Message: "member demo-0: exceeded quota: q"}},
		"policy":             {[]client.Object{warning("e", uid, "FailedCreate", "violates PodSecurity", time.Minute)}, core.Problem{Reason: core.ReasonPodRefused, Message: "member demo-0: violates PodSecurity"}},
		"the newest counts":  {[]client.Object{warning("a", uid, "FailedCreate", "first", 3*time.Minute), warning("b", uid, "FailedCreate", "last", time.Minute), warning("c", uid, "FailedCreate", "second", 2*time.Minute)}, core.Problem{Reason: core.ReasonPodRefused, Message: "member demo-0: last"}},
		"a series goes on":   {[]client.Object{series}, core.Problem{Reason: core.ReasonPodRefused, Message: "member demo-0: still so"}},
		"a new-style event":  {[]client.Object{newStyle}, core.Problem{Reason: core.ReasonPodRefused, Message: "member demo-0: said the new way"}},
		"old events do not":  {[]client.Object{old}, core.Problem{}},
		"others' do not":     {[]client.Object{warning("e", "another", "FailedCreate", "x", 0), warning("f", uid, "Other", "x", 0), normal}, core.Problem{}},
		"there is no reason": {nil, core.Problem{}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation(test.events...)
			if got := s.add(s.workload(t, "demo-0")).member(t, "demo-0").Workload.Problem; got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// TestEventsMayBeHidden: without events there is no explanation; nothing else depends on them.
func TestEventsMayBeHidden(t *testing.T) {
	s := newSituation()
	s.fail = interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
		if _, ok := list.(*corev1.EventList); ok {
			return errors.New("forbidden")
		}
		return c.List(ctx, list, options...)
	}}
	if m := s.add(s.workload(t, "demo-0")).member(t, "demo-0"); !m.Workload.Problem.IsZero() || m.Workload.State != core.Current {
		t.Errorf("%+v", m.Workload)
	}
}
