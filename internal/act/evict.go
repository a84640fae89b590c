package act

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// evict deletes a pod as far as its disruption budget allows that
// (https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/). Otherwise that is put off. It says that it has done
// nothing where there is nothing to ask: of a pod that several budgets are for the API server evicts nobody, for others neither.
//
// The precondition is the UID alone: with a resource version that does not hold any more the API server would count the pod
// against the budget for two minutes without deleting it.
func (a *Actor) evict(ctx context.Context, pod *corev1.Pod) (done bool, err error) {
	eviction := &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &pod.UID}},
	}
	err = a.Client.SubResource("eviction").Create(ctx, pod, eviction)
	switch {
	case err == nil, apierrors.IsNotFound(err):
		return true, nil
	case apierrors.IsInternalError(err):
		return false, nil
	case apierrors.IsTooManyRequests(err):
		return false, &PutOffError{Err: fmt.Errorf("pod %s/%s may not be evicted now: %s", pod.Namespace, pod.Name, refusal(err))}
	}
	return false, fmt.Errorf("evicting pod %s/%s: %w", pod.Namespace, pod.Name, err)
}

// refusal is what the API server says, with the causes that it names.
func refusal(err error) string {
	said := []string{err.Error()}
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil {
		for _, cause := range status.Status().Details.Causes {
			said = append(said, cause.Message)
		}
	}
	return strings.Join(said, " ")
}
