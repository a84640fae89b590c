package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

const (
	heldBy = "etcd.etcd.io/restore"
	given  = "etcd.etcd.io/restored-cluster-id"
)

// restored is a cluster with notes of restores, in pairs of annotation and value.
func restored(notes ...string) *v1alpha1.EtcdCluster {
	cluster := &v1alpha1.EtcdCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo", UID: "uid"}, Spec: spec()}
	cluster.Spec.Storage.Medium = v1alpha1.StorageMediumMemory // No class is looked for.
	for i := 0; i < len(notes); i += 2 {
		metav1.SetMetaDataAnnotation(&cluster.ObjectMeta, notes[i], notes[i+1])
	}
	return cluster
}

// restore is one into the cluster demo.
func restore(name string, phase v1alpha1.RestorePhase) *v1alpha1.EtcdRestore {
	made := &v1alpha1.EtcdRestore{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Status: v1alpha1.EtcdRestoreStatus{Phase: phase}}
	made.Spec.ClusterRef.Name, made.Spec.BackupRef.Name = "demo", "gone"
	return made
}

// check compares an answer with a refusal; empty means that there is none.
func check(t *testing.T, answer admission.Response, want string) {
	t.Helper()
	if answer.Allowed != (want == "") || answer.Result.Message != want {
		t.Errorf("allowed %v\ngot  %q\nwant %q", answer.Allowed, answer.Result.Message, want)
	}
}

// TestTheSpecAmidARestore: what an EtcdRestore rests on cannot be changed from its beginning until nothing can be rolled back any more.
func TestTheSpecAmidARestore(t *testing.T) {
	const filling = "EtcdRestore undo into EtcdCluster demo is not over (Filling): wait until it is, or delete it"
	const size = "spec.size cannot be changed from 1 to 3: "
	grow := func(c *v1alpha1.EtcdCluster) { c.Spec.Size = new(int32(3)) }
	for name, test := range map[string]struct {
		phase   v1alpha1.RestorePhase
		change  func(*v1alpha1.EtcdCluster)
		refused string
	}{
		"size":              {"Filling", grow, size + filling},
		"version":           {"Filling", func(c *v1alpha1.EtcdCluster) { c.Spec.Version = "3.7.3" }, "spec.version cannot be changed from 3.6.16 to 3.7.3: " + filling},
		"storage":           {"Filling", func(c *v1alpha1.EtcdCluster) { c.Spec.Storage.Size = new(resource.MustParse("2Gi")) }, "spec.storage cannot be changed: " + filling},
		"TLS":               {"Filling", func(c *v1alpha1.EtcdCluster) { c.Spec.Security.TLS.Peer.Mode = v1alpha1.PeerTLSRequired }, "spec.security.tls cannot be changed: " + filling},
		"users":             {"Filling", func(c *v1alpha1.EtcdCluster) { c.Spec.Security.Auth.Mode = v1alpha1.AuthEnabled }, "spec.security.auth cannot be changed: " + filling},
		"a size as written": {"Filling", func(c *v1alpha1.EtcdCluster) { c.Spec.Storage.Size = new(resource.MustParse("1024Mi")) }, ""},
		"a pause":           {"Filling", func(c *v1alpha1.EtcdCluster) { c.Spec.Paused = true }, ""},
		"nodes":             {"Filling", func(c *v1alpha1.EtcdCluster) { c.Spec.PodTemplate.Spec.SchedulerName = "other" }, ""},
		"retention":         {"Filling", func(c *v1alpha1.EtcdCluster) { c.Spec.Storage.Retention.WhenDeleted = v1alpha1.RetentionDelete }, ""},
		"a policy":          {"Filling", func(c *v1alpha1.EtcdCluster) { c.Spec.Security.NetworkPolicy.Mode = v1alpha1.NetworkPolicyEnabled }, ""},
		"a label":           {"Filling", func(c *v1alpha1.EtcdCluster) { c.Labels = map[string]string{"a": "b"} }, ""},
		"before it begins":  {"Pending", grow, ""},
		"before it is seen": {"", grow, ""},
		"until it is held":  {"BackingUp", grow, size + "EtcdRestore undo into EtcdCluster demo is not over (BackingUp): wait until it is, or delete it"},
		"until it is confirmed": {
			"Restored", grow, size + "EtcdRestore undo into EtcdCluster demo is not over (Restored): set its spec.completion to Confirm or RollBack",
		},
		"on the way back":          {"RollingBack", grow, size + "EtcdRestore undo into EtcdCluster demo is not over (RollingBack): wait until it is"},
		"once it is confirmed":     {"Confirming", grow, ""},
		"once it is over":          {"Completed", grow, ""},
		"once it is rolled back":   {"RolledBack", grow, ""},
		"after nothing was done":   {"Failed", grow, ""},
		"with the cluster deleted": {"Filling", func(c *v1alpha1.EtcdCluster) { grow(c); c.DeletionTimestamp = &metav1.Time{Time: time.Now()} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := restored()
			wanted := before.DeepCopy()
			test.change(wanted)
			elsewhere := restore("other", "Filling")
			elsewhere.Spec.ClusterRef.Name = "other"
			w := reviewer(t, interceptor.Funcs{}, restore("undo", test.phase), restore("a-past-one", "Completed"), elsewhere, before)
			check(t, w.Clusters().Handle(t.Context(), request(t, before, wanted)), test.refused)
			if *wanted.Spec.Size == *before.Spec.Size {
				return
			}
			// kubectl scale.
			scale, err := json.Marshal(autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: *wanted.Spec.Size}})
			if err != nil {
				t.Fatal(err)
			}
			asked := request(t, before, wanted)
			asked.Namespace, asked.Name, asked.SubResource, asked.Object.Raw, asked.OldObject.Raw = "default", "demo", "scale", scale, scale
			if wanted.DeletionTimestamp.IsZero() {
				check(t, w.Clusters().Handle(t.Context(), asked), test.refused)
			}
		})
	}
}

// TestNotesOfRestores are the operator's.
func TestNotesOfRestores(t *testing.T) {
	const set = `metadata.annotations[etcd.etcd.io/restore] is set by the operator only, and not to "mine": to give EtcdCluster demo other data make an EtcdRestore, else leave the annotation as it is`
	const taken = "metadata.annotations[etcd.etcd.io/restore] is taken away by the operator only: EtcdRestore undo into EtcdCluster demo is not over (Filling): wait until it is, or delete it"
	const warning = "metadata.annotations[etcd.etcd.io/restored-cluster-id] says that volumes have the data of etcd cluster aaaa: if there are none, EtcdCluster demo never starts; leave the annotation out"
	other := func(was, is string) string {
		return `metadata.annotations[etcd.etcd.io/restored-cluster-id] of EtcdCluster demo is the operator's, and cannot be changed from "` + was + `" to "` + is + `": leave it as it is`
	}
	settled := restored(given, "aaaa")
	settled.Status.ClusterID = "aaaa"
	for name, test := range map[string]struct {
		before, wanted *v1alpha1.EtcdCluster
		refused        string
		warned         bool
	}{
		"a hold is made up":                      {restored(), restored(heldBy, "mine"), set, false},
		"a hold is given to another":             {restored(heldBy, "undo"), restored(heldBy, "mine"), set, false},
		"a hold is taken":                        {restored(heldBy, "undo"), restored(), taken, false},
		"a hold of one that is over":             {restored(heldBy, "past"), restored(), "", false},
		"a hold of one that is gone":             {restored(heldBy, "gone"), restored(), "", false},
		"a hold of one into another cluster":     {restored(heldBy, "elsewhere"), restored(), "", false},
		"a hold is copied":                       {nil, restored(heldBy, "mine"), set, false},
		"an ID is made up":                       {restored(), restored(given, "aaaa"), other("", "aaaa"), false},
		"an ID is changed":                       {restored(given, "aaaa"), restored(given, "bbbb"), other("aaaa", "bbbb"), false},
		"an ID is forgotten too soon":            {restored(given, "aaaa"), restored(), other("aaaa", ""), false},
		"an ID is forgotten that the status has": {settled, restored(), "", false},
		"an ID comes from another Kubernetes":    {nil, restored(given, "aaaa"), "", true},
		"both stay":                              {restored(heldBy, "undo", given, "aaaa"), restored(heldBy, "undo", given, "aaaa", "a", "b"), "", false},
	} {
		t.Run(name, func(t *testing.T) {
			elsewhere := restore("elsewhere", "Filling")
			elsewhere.Spec.ClusterRef.Name = "other"
			w := reviewer(t, interceptor.Funcs{}, restore("undo", "Filling"), restore("past", "RolledBack"), elsewhere)
			asked := request(t, test.before, test.wanted)
			answer := w.Clusters().Handle(t.Context(), asked)
			check(t, answer, test.refused)
			if test.warned != (len(answer.Warnings) == 1 && answer.Warnings[0] == warning) {
				t.Errorf("the warnings are %q", answer.Warnings)
			}
			asked.UserInfo.Username = operator
			if answer := w.Clusters().Handle(t.Context(), asked); !answer.Allowed || len(answer.Warnings) > 0 {
				t.Errorf("the operator is told %q, %q", answer.Result.Message, answer.Warnings)
			}
			w.Operator, asked.UserInfo.Username = "", "somebody"
			if answer := w.Clusters().Handle(t.Context(), asked); !answer.Allowed {
				t.Errorf("nobody knows who the operator is, and somebody is told %q", answer.Result.Message)
			}
		})
	}
}

// TestDeletionsAmidARestore: volumes that stay must not be left with the data of two clusters.
func TestDeletionsAmidARestore(t *testing.T) {
	const refused = "EtcdCluster demo cannot be deleted while its volumes, which stay, may have the data of two clusters: EtcdRestore undo into EtcdCluster demo is not over (Filling): wait until it is, or delete it"
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	leaving := namespace.DeepCopy()
	leaving.DeletionTimestamp, leaving.Finalizers = &metav1.Time{Time: time.Now()}, []string{"kubernetes"}
	forgotten := restored(heldBy, "undo")
	forgotten.Spec.Storage.Retention.WhenDeleted = v1alpha1.RetentionDelete
	for name, test := range map[string]struct {
		cluster   *v1alpha1.EtcdCluster
		phase     v1alpha1.RestorePhase
		namespace *corev1.Namespace
		refused   string
	}{
		"held":                         {restored(heldBy, "undo"), "Filling", namespace, refused},
		"not held":                     {restored(), "Comparing", namespace, ""},
		"held by one that is over":     {restored(heldBy, "undo"), "Failed", namespace, ""},
		"held by one that is gone":     {restored(heldBy, "gone"), "Filling", namespace, ""},
		"with its volumes":             {forgotten, "Filling", namespace, ""},
		"with its namespace":           {restored(heldBy, "undo"), "Filling", leaving, ""},
		"in what is no namespace":      {restored(heldBy, "undo"), "Filling", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "other"}}, ""},
		"while members come to a stop": {restored(heldBy, "undo"), "Stopping", namespace, strings.Replace(refused, "Filling", "Stopping", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			w := reviewer(t, interceptor.Funcs{}, restore("undo", test.phase), test.namespace)
			check(t, w.Clusters().Handle(t.Context(), request(t, test.cluster, nil)), test.refused)
		})
	}
}

// TestSecondRestores: one restore at a time. What a restore names need not be there.
func TestSecondRestores(t *testing.T) {
	for phase, refused := range map[v1alpha1.RestorePhase]string{
		"":           "EtcdRestore first into EtcdCluster demo is not over (Pending): wait until it is, or delete it",
		"Stopping":   "EtcdRestore first into EtcdCluster demo is not over (Stopping): wait until it is, or delete it",
		"Restored":   "EtcdRestore first into EtcdCluster demo is not over (Restored): set its spec.completion to Confirm or RollBack",
		"Confirming": "EtcdRestore first into EtcdCluster demo is not over (Confirming): wait until it is",
		"Completed":  "", "RolledBack": "", "Failed": "",
	} {
		w := reviewer(t, interceptor.Funcs{}, restore("first", phase))
		asked := request(t, nil, restore("second", ""))
		check(t, w.Restores().Handle(t.Context(), asked), refused)
		asked.UserInfo.Username = operator
		check(t, w.Restores().Handle(t.Context(), asked), "")
		w.Operator, asked.UserInfo.Username = "", "somebody"
		check(t, w.Restores().Handle(t.Context(), asked), "")
	}
	elsewhere, other := restore("second", ""), restore("second", "")
	elsewhere.Namespace, other.Spec.ClusterRef.Name = "elsewhere", "other"
	w := reviewer(t, interceptor.Funcs{}, restore("first", "Filling"))
	for _, made := range []*v1alpha1.EtcdRestore{elsewhere, other} {
		check(t, w.Restores().Handle(t.Context(), request(t, nil, made)), "")
	}
	check(t, w.Restores().Handle(t.Context(), request(t, restore("first", ""), restore("first", ""))), "")
	check(t, w.Restores().Handle(t.Context(), request(t, restore("first", ""), nil)), "")
}

// TestRestoresThatCannotBeRead refuse nothing.
func TestRestoresThatCannotBeRead(t *testing.T) {
	w := reviewer(t, interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
		return errors.New("broken")
	}})
	before, wanted := restored(heldBy, "undo"), restored()
	wanted.Spec.Size = new(int32(3))
	check(t, w.Clusters().Handle(t.Context(), request(t, before, wanted)), "")
	check(t, w.Clusters().Handle(t.Context(), request(t, before, nil)), "")
	check(t, w.Restores().Handle(t.Context(), request(t, nil, restore("second", ""))), "")
}
