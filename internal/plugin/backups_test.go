package plugin

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/backups"
)

var at = time.Date(2026, 3, 1, 3, 15, 0, 0, time.UTC)

func TestWhatIsFoundIsPrinted(t *testing.T) {
	all := []task.Found{
		{Backup: &task.FoundBackup{Path: "default/demo/uid/nightly", Stored: task.Stored{Ended: at, Revision: 42, Keys: 7, StoredSize: 3 << 20, Recipients: []string{"age1"}}}},
		{Backup: &task.FoundBackup{Path: "default/demo/uid/weekly", Stored: task.Stored{Ended: at.Add(time.Hour), Revision: 43, Keys: 8, StoredSize: 1500}}},
		{Backup: &task.FoundBackup{Path: "default/demo/uid/odd", Problem: "it has format 9"}},
		{Archive: &task.FoundArchive{
			Cluster: task.Cluster{Namespace: "default", Name: "demo", UID: "uid"}, First: 40, Last: 99, From: at, Until: at.Add(time.Minute), Missing: 3,
		}},
	}
	var out bytes.Buffer
	if err := printFound(&out, all, map[string]string{"default/demo/uid/nightly": "good (verified)"}); err != nil {
		t.Fatal(err)
	}
	want := `
BACKUP                     COMPLETED              REVISION   KEYS   STORED   ENCRYPTED   KNOWN AS
default/demo/uid/nightly   2026-03-01T03:15:00Z   42         7      3Mi      yes         good (verified)
default/demo/uid/weekly    2026-03-01T04:15:00Z   43         8      1500     no          -

ARCHIVE            FROM REVISION   TO   FROM                   UNTIL                  THEN MISSING
default/demo/uid   40              99   2026-03-01T03:15:00Z   2026-03-01T03:16:00Z   3
default/demo/uid/odd cannot be used: it has format 9
`
	if got := "\n" + out.String(); got != want {
		t.Errorf("%s\nwant%s", got, want)
	}
	out.Reset()
	if err := printFound(&out, nil, nil); err != nil || out.String() != "There is nothing.\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestAListHasToBeWhole(t *testing.T) {
	for lines, want := range map[string]string{
		"":                              "the end of the agent's list is missing",
		`{"backup":{"path":"a"}}`:       "the end of the agent's list is missing",
		`{"end":{"count":0}}`:           "",
		`{"end":{"count":2}}`:           "of 2 things that the agent has found, 0 came through",
		"panic: something\n":            "it has written \"panic: something\"",
		`{"archive":{}}` + "\n" + `{"e`: "it has written",
	} {
		_, err := parseFound([]byte(lines))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", lines, err)
		}
	}
	all, err := parseFound([]byte("{\"backup\":{\"path\":\"a\"}}\nSDK WARN no checksum\n{\"level\":\"warn\"}\n{\"end\":{\"count\":1}}\n"))
	if err != nil || len(all) != 1 || all[0].Backup.Path != "a" {
		t.Errorf("%+v, %v", all, err)
	}
}

// What is asked wrongly is refused before anything is done.
func TestRefusedCommands(t *testing.T) {
	file := filepath.Join(t.TempDir(), "store.yaml")
	if err := os.WriteFile(file, []byte("s3: {bukket: a}"), 0o600); err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte("{apiVersion: v1, kind: Config, clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}], contexts: [{name: a, context: {cluster: a}}], current-context: a}"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", kubeconfig)
	for command, want := range map[string]string{
		"backups list":                                                        "at least one of the flags in the group [cluster store] is required",
		"backups list --cluster a --store b":                                  "none of the others can be",
		"backups list --cluster a -o yaml":                                    `--output is "yaml"`,
		"backups list --store " + file:                                        `is to have what spec.backup.store of an EtcdCluster has`,
		"backups list --store nowhere":                                        "no such file",
		"backups adopt --as a --cluster b":                                    "accepts 1 arg",
		"backups adopt a/b/c/d --cluster b":                                   `required flag(s) "as"`,
		"backups adopt a/b/c/d --as e --cluster b --identity-secret f":        "must all be set",
		"backups list --cluster a --context b":                                `context "b" does not exist`,
		"backups list --cluster a --timeout 10s":                              "connection refused",
		"backups list extra --cluster a":                                      "unknown command",
		"backups list --cluster a --kubeconfig " + filepath.Join(file, "not"): "not a directory",
	} {
		root := Command("test")
		root.SetArgs(strings.Fields(command))
		root.SetOut(&bytes.Buffer{})
		root.SetErr(&bytes.Buffer{})
		if err := root.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", command, err, want)
		}
	}
}

// What stands for a backup is in the same store, with whatever Secrets, and there may be several.
func TestWhatIsKnown(t *testing.T) {
	store := func(bucket, secret string) *v1alpha1.BackupStore {
		return &v1alpha1.BackupStore{S3: &v1alpha1.S3Store{Bucket: bucket, CredentialsSecret: &v1alpha1.SecretName{Name: secret}}}
	}
	backup := func(name string, at *v1alpha1.BackupStore, status metav1.ConditionStatus) *v1alpha1.EtcdBackup {
		b := &v1alpha1.EtcdBackup{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
		b.Status.Path, b.Status.Store = "a/b/c/d", at
		b.Status.Conditions = []metav1.Condition{{Type: backups.Verified, Status: status}}
		return b
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	k := &kube{namespace: "default", Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		backup("first", store("ours", "one"), metav1.ConditionTrue), backup("second", store("ours", "two"), metav1.ConditionFalse),
		backup("theirs", store("other", "one"), metav1.ConditionTrue), backup("new", nil, metav1.ConditionUnknown),
	).Build()}
	known, err := knownAs(t.Context(), k, store("ours", "three"))
	if err != nil || len(known) != 1 || known["a/b/c/d"] != "first (verified), second" {
		t.Errorf("%v, %v", known, err)
	}
}

// Who waits for a trial hears of its verdict, once there is one.
func TestWaitingForATrial(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for want, last := range map[string]metav1.Condition{
		"it was compared": {Status: metav1.ConditionTrue, Reason: string(backups.ReasonVerified), Message: "it was compared"},
		"EtcdBackup adopted is not verified: it differs": {Status: metav1.ConditionFalse, Reason: string(backups.ReasonDiffers), Message: "it differs"},
	} {
		looks := 0
		k := &kube{namespace: "default", Client: fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
			Get: func(_ context.Context, _ client.WithWatch, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
				backup, _ := into.(*v1alpha1.EtcdBackup)
				tried := metav1.Condition{Status: metav1.ConditionUnknown, Reason: string(backups.ReasonRunning), Message: "an agent is restoring it on trial"}
				backup.Status.Phase = v1alpha1.BackupPhase(backups.PhaseVerifying)
				if looks++; looks > 1 {
					tried, backup.Status.Phase = last, v1alpha1.BackupPhase(backups.PhaseCompleted)
				}
				tried.Type = backups.Verified
				backup.Status.Conditions = []metav1.Condition{tried}
				return nil
			},
		}).Build()}
		said, err := verified(t.Context(), k, &v1alpha1.EtcdBackup{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "adopted"}})
		if err != nil {
			said = err.Error()
		}
		if said != want || looks != 2 {
			t.Errorf("after %d looks: %s, want %s", looks, said, want)
		}
	}
}

func TestWhatAPodWaitsFor(t *testing.T) {
	waiting := corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"}}}}}
	unscheduled := corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "no nodes"}}}
	for want, status := range map[string]corev1.PodStatus{
		"ImagePullBackOff: no such image": waiting, "it is not scheduled: no nodes": unscheduled, "it is Running": {Phase: corev1.PodRunning},
	} {
		if got := waitsFor(&corev1.Pod{Status: status}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
