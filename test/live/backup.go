package live

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// MustBackUp makes an EtcdBackup of a cluster, and changes it before.
func (k *Kubernetes) MustBackUp(name, cluster string, store *v1alpha1.BackupStore, changes ...func(*v1alpha1.EtcdBackupSpec)) *v1alpha1.EtcdBackup {
	k.T.Helper()
	backup := &v1alpha1.EtcdBackup{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: name},
		Spec:       v1alpha1.EtcdBackupSpec{ClusterRef: v1alpha1.ClusterReference{Name: cluster}, Store: store},
	}
	for _, change := range changes {
		change(&backup.Spec)
	}
	k.MustCreate(backup)
	return backup
}

// WaitBackup waits until a condition of an EtcdBackup has the reason, and a message with all the words.
func (k *Kubernetes) WaitBackup(name, kind, reason string, timeout time.Duration, words ...string) *v1alpha1.EtcdBackup {
	k.T.Helper()
	backup := &v1alpha1.EtcdBackup{}
	k.Eventually(fmt.Sprintf("condition %s of EtcdBackup %s has reason %s", kind, name, reason), timeout, func(ctx context.Context) error {
		if err := k.Get(ctx, key(k.Namespace, name), backup); err != nil {
			return err
		}
		return wantCondition(backup.Status.Conditions, kind, reason, words)
	})
	return backup
}

// DeleteAndWait deletes an object and waits until it is gone.
func (k *Kubernetes) DeleteAndWait(object client.Object, timeout time.Duration) {
	k.T.Helper()
	k.MustDelete(object)
	k.Eventually(fmt.Sprintf("%T %s is gone", object, object.GetName()), timeout, func(ctx context.Context) error {
		err := k.Get(ctx, client.ObjectKeyFromObject(object), object)
		switch {
		case err == nil:
			return fmt.Errorf("it is there: %+v", object)
		case apierrors.IsNotFound(err):
			return nil
		}
		return err
	})
}

// AgentPods are the pods of the agents that work for an object.
func (k *Kubernetes) AgentPods(ctx context.Context, of string) ([]corev1.Pod, error) {
	var pods corev1.PodList
	err := k.List(ctx, &pods, client.InNamespace(k.Namespace), client.MatchingLabels{render.LabelAgentFor: of})
	return pods.Items, err
}

// WaitNoAgents waits until no agent of an object is left.
func (k *Kubernetes) WaitNoAgents(of string, timeout time.Duration) {
	k.T.Helper()
	k.Eventually("no agent of "+of+" is left", timeout, func(ctx context.Context) error {
		var jobs batchv1.JobList
		if err := k.List(ctx, &jobs, client.InNamespace(k.Namespace), client.MatchingLabels{render.LabelAgentFor: of}); err != nil {
			return err
		}
		pods, err := k.AgentPods(ctx, of)
		if err == nil && len(jobs.Items)+len(pods) > 0 {
			err = fmt.Errorf("there are %d Jobs and %d pods", len(jobs.Items), len(pods))
		}
		return err
	})
}

// Kill deletes a pod without warning.
func (k *Kubernetes) Kill(pod *corev1.Pod) {
	k.T.Helper()
	if err := k.Delete(context.Background(), pod, &client.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)}); err != nil && !apierrors.IsNotFound(err) {
		k.T.Fatalf("killing pod %s: %v", pod.Name, err)
	}
}

// KillOperator kills the pods of the operator, whose Deployment makes others.
func (k *Kubernetes) KillOperator() {
	k.T.Helper()
	var pods corev1.PodList
	if err := k.List(context.Background(), &pods, client.InNamespace(OperatorNamespace)); err != nil || len(pods.Items) == 0 {
		k.T.Fatalf("the operator has %d pods: %v", len(pods.Items), err)
	}
	for i := range pods.Items {
		k.Kill(&pods.Items[i])
	}
}
