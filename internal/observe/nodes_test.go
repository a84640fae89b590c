package observe_test

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
)

// since is when a node changed its mind.
var since = now.Add(-time.Hour).Truncate(time.Second)

// node is a node, ready or not by what its condition says; without a word it has no such condition.
func node(name string, ready corev1.ConditionStatus, at time.Time) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeDiskPressure, Status: corev1.ConditionFalse}}
	if ready != "" {
		n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: corev1.NodeReady, Status: ready, LastTransitionTime: metav1.NewTime(at)})
	}
	return n
}

// volume is what a claim is bound to; it can be reached from nodes that one of the terms fits.
func volume(member string, terms ...corev1.NodeSelectorTerm) *corev1.PersistentVolume {
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv-" + member}}
	if len(terms) > 0 {
		v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: terms}}
	}
	return v
}

// in asks of a node that a label has one of some values.
func in(label string, values ...string) corev1.NodeSelectorTerm {
	return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: label, Operator: corev1.NodeSelectorOpIn, Values: values}}}
}

// unready is the pod of a member that is not ready, on a node or waiting for one.
func (s *situation) unready(name, on string) *corev1.Pod {
	pod := s.pod(name)
	pod.Spec.NodeName = on
	pod.Status.Conditions[0].Status = corev1.ConditionFalse
	return pod
}

// reading makes reads of one kind of object fail.
func (s *situation) reading(fails func(object client.Object) bool) {
	s.fail.Get = func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
		if fails(object) {
			return errors.New("the server is on fire")
		}
		return c.Get(ctx, key, object, options...)
	}
}

// TestNodeOfAPod: only a node that is certain to be away counts as gone.
func TestNodeOfAPod(t *testing.T) {
	for name, test := range map[string]struct {
		node *corev1.Node
		want core.Node
	}{
		"it was deleted":            {nil, core.Node{Name: "n1", Gone: true}},
		"it is ready":               {node("n1", corev1.ConditionTrue, since), core.Node{Name: "n1"}},
		"it is not ready":           {node("n1", corev1.ConditionFalse, since), core.Node{Name: "n1", Gone: true, Since: since}},
		"nothing is heard of it":    {node("n1", corev1.ConditionUnknown, since), core.Node{Name: "n1", Gone: true, Since: since}},
		"it has not said a word":    {node("n1", "", since), core.Node{Name: "n1"}},
		"another one is not ready":  {node("n2", corev1.ConditionFalse, since), core.Node{Name: "n1", Gone: true}},
		"it was ready at the start": {node("n1", corev1.ConditionTrue, time.Time{}), core.Node{Name: "n1"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation()
			if test.node != nil {
				s.add(test.node)
			}
			got := s.add(s.unready("demo-0", "n1")).member(t, "demo-0").Node
			if got.Name != test.want.Name || got.Gone != test.want.Gone || !got.Since.Equal(test.want.Since) {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

// TestNodesThatAreNotLookedAt: who is ready has its node; what cannot be read is there.
func TestNodesThatAreNotLookedAt(t *testing.T) {
	isNode := func(object client.Object) bool { _, ok := object.(*corev1.Node); return ok }
	s := newSituation()
	ready := s.pod("demo-0")
	ready.Spec.NodeName = "n1"
	if got := s.add(ready).member(t, "demo-0").Node; got != (core.Node{}) {
		t.Errorf("of a pod that is ready: %+v", got)
	}
	s = newSituation()
	s.reading(isNode)
	if got := s.add(s.unready("demo-0", "n1")).member(t, "demo-0").Node; got != (core.Node{Name: "n1"}) {
		t.Errorf("that cannot be read: %+v", got)
	}
}

// TestNodeOfAVolume: a pod that waits for a node may be bound to one that is gone by its volume.
func TestNodeOfAVolume(t *testing.T) {
	later := since.Add(time.Minute)
	away, alsoAway, back := node("n1", corev1.ConditionFalse, since), node("n2", corev1.ConditionUnknown, later), node("n2", corev1.ConditionTrue, since)
	for name, test := range map[string]struct {
		objects []client.Object
		want    core.Node
	}{
		"its only node is gone":         {[]client.Object{volume("demo-0", in(corev1.LabelHostname, "n1")), away}, core.Node{Name: "n1", Gone: true, Since: since}},
		"and was deleted":               {[]client.Object{volume("demo-0", in(corev1.LabelHostname, "n1"))}, core.Node{Name: "n1", Gone: true}},
		"its only node is there":        {[]client.Object{volume("demo-0", in(corev1.LabelHostname, "n2")), back}, core.Node{}},
		"one of two is there":           {[]client.Object{volume("demo-0", in(corev1.LabelHostname, "n1", "n2")), away, back}, core.Node{}},
		"one of two ways is left":       {[]client.Object{volume("demo-0", in(corev1.LabelHostname, "n1"), in(corev1.LabelHostname, "n2")), away, back}, core.Node{}},
		"both are gone":                 {[]client.Object{volume("demo-0", in(corev1.LabelHostname, "n1", "n2")), away, alsoAway}, core.Node{Name: "n2", Gone: true, Since: later}},
		"and the other way round":       {[]client.Object{volume("demo-0", in(corev1.LabelHostname, "n2", "n1")), away, alsoAway}, core.Node{Name: "n2", Gone: true, Since: later}},
		"it can be reached from a zone": {[]client.Object{volume("demo-0", in(corev1.LabelTopologyZone, "a")), away}, core.Node{}},
		"or from a zone":                {[]client.Object{volume("demo-0", in(corev1.LabelHostname, "n1"), in(corev1.LabelTopologyZone, "a")), away}, core.Node{}},
		"it can be reached everywhere":  {[]client.Object{volume("demo-0"), away}, core.Node{}},
		"nobody knows from where":       {[]client.Object{away}, core.Node{}},
		"another member's is gone":      {[]client.Object{volume("demo-1", in(corev1.LabelHostname, "n1")), volume("demo-0"), away}, core.Node{}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation(test.objects...)
			s.add(s.unready("demo-0", ""), s.claim("demo-0"), s.claim("demo-1"))
			got := s.member(t, "demo-0").Node
			if got.Name != test.want.Name || got.Gone != test.want.Gone || !got.Since.Equal(test.want.Since) {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
	// The volume of the log binds the pod just as well; a claim that waits for its volume does not.
	s := newSituation(volume("log", in(corev1.LabelHostname, "n1")))
	log := s.logClaim("demo-0")
	log.Spec.VolumeName = "pv-log"
	s.add(s.unready("demo-0", ""), s.pendingClaim("demo-0", nil), log)
	if got := s.member(t, "demo-0").Node; !got.Gone || got.Name != "n1" {
		t.Errorf("%+v", got)
	}
	s.reading(func(object client.Object) bool { _, ok := object.(*corev1.PersistentVolume); return ok })
	if got := s.member(t, "demo-0").Node; got.Gone {
		t.Errorf("although the volume cannot be read: %+v", got)
	}
}

// TestReachIsRemembered: where a volume can be reached from does not change, and is asked of the API server once.
func TestReachIsRemembered(t *testing.T) {
	s := newSituation(volume("demo-0", in(corev1.LabelHostname, "n1")))
	s.add(s.unready("demo-0", ""), s.claim("demo-0"))
	reads := 0
	s.reading(func(object client.Object) bool {
		if _, ok := object.(*corev1.PersistentVolume); ok {
			reads++
		}
		return false
	})
	reader := s.client(t)
	o := observe.Observer{Cache: reader, Live: reader, Etcd: &s.etcd, Domain: "cluster.local", Now: func() time.Time { return now }}
	for range 3 {
		got, err := o.Observe(context.Background(), s.cluster)
		if err != nil || !got.Members[0].Node.Gone {
			t.Errorf("%+v, %v", got.Members, err)
		}
	}
	if reads != 1 {
		t.Errorf("%d reads", reads)
	}
}
