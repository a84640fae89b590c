package render

import (
	appsv1 "k8s.io/api/apps/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
)

// MirrorApp is the name of mirrors among the agents. Their Deployments select by it.
const MirrorApp = "etcd-mirror"

// MirrorName and CutOverName are the names of the Deployment that repeats what an etcd outside does, and of the Job that ends it.
func MirrorName(cluster string) string { return cluster + "-mirror" }

// CutOverName is the name of the Job that waits until all is there.
func CutOverName(cluster string) string { return cluster + "-cutover" }

// Mirrors is whether the cluster repeats what an etcd outside does, so that clients are kept away.
func (c Cluster) Mirrors() bool {
	_, mirrors := c.Annotations[AnnotationMirrors]
	return mirrors && c.Spec.Bootstrap != nil && c.Spec.Bootstrap.Source != nil
}

// Follows is whether the mirror is to run: it needs a cluster that has its first data, and serves.
func (c Cluster) Follows() bool {
	return c.Mirrors() && c.DeletionTimestamp.IsZero() && c.Status.ClusterID != "" && !c.Sleeps()
}

// Mirror is the Deployment that repeats what the source does.
func (c Cluster) Mirror(agents Agents) (*appsv1.Deployment, error) {
	return c.follower(c.mirrorAgent(agents, task.Mirror, MirrorName(c.Name)), MirrorApp)
}

// CutOver is the agent that waits until all is there that the source has, and compares it.
func (c Cluster) CutOver(agents Agents) Agent {
	return c.mirrorAgent(agents, task.CutOver, CutOverName(c.Name))
}

func (c Cluster) mirrorAgent(agents Agents, kind task.Kind, name string) Agent {
	agent := c.agent(agents, name)
	agent.Task.Kind = kind
	if len(agent.Task.Members) == 0 {
		// It is there before they serve: leases would expire that nobody renews.
		for _, name := range c.FirstMembers() {
			agent.Task.Members = append(agent.Task.Members, task.Member{Name: name, URL: c.ClientURL(name)})
		}
	}
	agent.from(c.Spec.Bootstrap.Source)
	return agent
}
