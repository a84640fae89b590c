//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

func modesOfTLS(client v1alpha1.ClientTLSMode, peer v1alpha1.PeerTLSMode) func(*v1alpha1.EtcdClusterSpec) {
	return func(s *v1alpha1.EtcdClusterSpec) { s.Security.TLS.Client.Mode, s.Security.TLS.Peer.Mode = client, peer }
}

// atOnce gives clients no time to follow a change of authorities: they follow at once.
func atOnce(spec *v1alpha1.EtcdClusterSpec) {
	spec.Security.TLS.Certificates.Overlap = &metav1.Duration{}
}

// TestLifeTLSCertificatesChange: certificates are renewed, and then their authorities changed, while clients write that follow
// their Secret.
func TestLifeTLSCertificatesChange(t *testing.T) {
	t.Parallel()
	l := beginLife(t, 3, atOnce)
	started := map[string]time.Time{}
	for name := range l.ids {
		started[name] = l.startedAt(name)
	}
	l.Change("demo", func(s *v1alpha1.EtcdClusterSpec) { s.Security.TLS.Client.DNSNames = []string{"etcd.example.com"} })
	// A kubelet brings it to its pods whenever it looks after them; the clients go on meanwhile.
	time.Sleep(30 * time.Second)
	for name, at := range started {
		if now := l.startedAt(name); !now.Equal(at) {
			t.Errorf("member %s was restarted at %v for a certificate", name, now)
		}
	}
	before := l.authorities()
	l.Eventually("other authorities are asked for", patience, func(ctx context.Context) error {
		cluster, err := l.GetCluster(ctx, "demo")
		if err != nil {
			return err
		}
		cluster.Annotations = map[string]string{render.AnnotationRotateAuthorities: "1"}
		return l.Update(ctx, cluster)
	})
	l.authoritiesAreOthers(before, "demo-client-ca", "demo-peer-ca")
	result := l.finish(3)
	t.Logf("certificates and authorities changed: %s", result)
}

// authoritiesAreOthers waits until nobody trusts the earlier authorities any more of those Secrets.
func (l *life) authoritiesAreOthers(before map[string]string, changed ...string) {
	l.T.Helper()
	leaves := map[string]string{"demo-client-ca": "demo-server-tls", "demo-peer-ca": "demo-peer-tls"}
	l.Eventually("members trust only the new authorities", 4*patience, func(ctx context.Context) error {
		for _, secret := range changed {
			var members, authority corev1.Secret
			if err := l.Get(ctx, objectKey(l.Namespace, secret), &authority); err != nil {
				return err
			}
			if err := l.Get(ctx, objectKey(l.Namespace, leaves[secret]), &members); err != nil {
				return err
			}
			if now := string(authority.Data[render.KeyCertificate]); now == before[secret] || string(members.Data[render.KeyAuthority]) != now {
				return fmt.Errorf("%s is not there yet", secret)
			}
		}
		return nil
	})
}

// authorities are the certificates of the authorities, by Secret.
func (l *life) authorities() map[string]string {
	l.T.Helper()
	found := map[string]string{}
	for _, name := range []string{"demo-client-ca", "demo-peer-ca"} {
		var secret corev1.Secret
		if err := l.Get(context.Background(), objectKey(l.Namespace, name), &secret); err != nil {
			l.T.Fatal(err)
		}
		found[name] = string(secret.Data[render.KeyCertificate])
	}
	return found
}

func (l *life) startedAt(member string) time.Time {
	l.T.Helper()
	var pod corev1.Pod
	if err := l.Get(context.Background(), objectKey(l.Namespace, render.PodName(member)), &pod); err != nil {
		l.T.Fatal(err)
	}
	return pod.Status.ContainerStatuses[0].State.Running.StartedAt.Time
}

// TestLifeTLSIsTurnedOn: members talk TLS to each other from then on, and clients that have changed meanwhile to them.
func TestLifeTLSIsTurnedOn(t *testing.T) {
	t.Parallel()
	l := beginLife(t, 3, modesOfTLS(v1alpha1.ClientTLSDisabled, v1alpha1.PeerTLSDisabled))
	l.Change("demo", modesOfTLS(v1alpha1.ClientTLSPermissive, v1alpha1.PeerTLSRequired))
	t.Logf("while it was turned on: %s", l.finish(3))
	l.Change("demo", modesOfTLS(v1alpha1.ClientTLSRequired, v1alpha1.PeerTLSRequired))
	l.WaitSettled("demo", 4*patience)
	if _, err := l.Exec(context.Background(), "demo-0-0", "/usr/local/bin/etcdctl", "--endpoints=http://demo-client."+l.Namespace+".svc:2379", "--command-timeout=3s", "get", "x"); err == nil {
		t.Error("a client without TLS is still served")
	}
	l.Put("demo", "demo-1-0", "key", "value")
	l.WantValue("demo", "demo-0-0", "key", "value")
}
