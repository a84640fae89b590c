package environment

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AddNode adds a node to the cluster, in the zone of the given number. A taint keeps other tests' pods away from it.
func (e *Environment) AddNode(ctx context.Context, name string, zone int, labels map[string]string, taints ...corev1.Taint) error {
	return e.agent.createNode(ctx, name, zone, labels, taints...)
}

// RemoveNode lets a node lose its power, for good: its object is deleted.
func (e *Environment) RemoveNode(ctx context.Context, name string) error {
	if err := e.StopNode(ctx, name); err != nil {
		return err
	}
	if err := e.Clientset.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete the node %s: %w", name, err)
	}
	return nil
}

// createNode makes a Node object, ready and without taints but those given.
func (a *nodeAgent) createNode(ctx context.Context, name string, zone int, labels map[string]string, taints ...corev1.Taint) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
		corev1.LabelTopologyZone: fmt.Sprintf("zone-%d", (zone-1)%3+1), corev1.LabelTopologyRegion: "region-1",
	}}}
	maps.Copy(node.Labels, labels)
	created, err := a.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create the node %s: %w", name, err)
	}
	created.Spec.Taints = taints // admission marks a new node as not ready
	if created, err = a.client.CoreV1().Nodes().Update(ctx, created, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("set the taints of the node %s: %w", name, err)
	}
	created.Status = nodeStatus(name, corev1.ConditionTrue)
	if _, err = a.client.CoreV1().Nodes().UpdateStatus(ctx, created, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("report the node %s as ready: %w", name, err)
	}
	return nil
}
