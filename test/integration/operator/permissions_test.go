//go:build integration

package operator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/controller"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/drills"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// grant is something that the operator may do, in a namespace or, without one, everywhere; with a name, to one object.
type grant struct{ namespace, verb, group, resource, name string }

func (g grant) String() string {
	where := "everywhere"
	if g.namespace != "" {
		where = "in " + g.namespace
	}
	return strings.TrimSuffix(g.verb+" "+g.resource+"."+g.group, ".") + " " + strings.TrimSpace(g.name+" "+where)
}

// grants are what roles allow that are bound, each to the operator's account alone.
func (s *scene) grants(objects []*unstructured.Unstructured) map[grant]bool {
	s.Helper()
	rules, bound := map[string][]rbacv1.PolicyRule{}, map[grant]bool{}
	for _, object := range objects {
		if kind := object.GetKind(); kind == "Role" || kind == "ClusterRole" {
			var role rbacv1.ClusterRole // a Role has its rules in the same place
			s.convert(object, &role)
			rules[kind+" "+object.GetNamespace()+"/"+object.GetName()] = role.Rules
		}
	}
	for _, object := range objects {
		if kind := object.GetKind(); kind != "RoleBinding" && kind != "ClusterRoleBinding" {
			continue
		}
		var binding rbacv1.RoleBinding
		s.convert(object, &binding)
		if len(binding.Subjects) != 1 || binding.Subjects[0].Kind != rbacv1.ServiceAccountKind {
			s.Errorf("%s %s is for %v", object.GetKind(), object.GetName(), binding.Subjects)
		}
		role := binding.RoleRef.Kind + " " + binding.Namespace + "/" + binding.RoleRef.Name
		if rules[role] == nil {
			s.Errorf("%s %s binds %s, which is not the chart's", object.GetKind(), object.GetName(), role)
		}
		for _, rule := range rules[role] {
			if len(rule.NonResourceURLs) > 0 {
				s.Errorf("%s has a rule that this test cannot check: %v", role, rule)
			}
			for _, g := range granted(binding.Namespace, rule) {
				bound[g] = true
			}
		}
	}
	return bound
}

// granted are the grants of a rule.
func granted(namespace string, rule rbacv1.PolicyRule) (all []grant) {
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				for _, name := range names {
					all = append(all, grant{namespace, verb, group, resource, name})
				}
			}
		}
	}
	return all
}

func (s *scene) convert(object *unstructured.Unstructured, into any) {
	s.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, into); err != nil {
		s.Fatalf("%s %s: %v", object.GetKind(), object.GetName(), err)
	}
}

// checkRefusals reports what was refused to the operator.
func (i *installation) checkRefusals() {
	refused := map[string]int{}
	for _, r := range i.audited(`"username":"` + i.user() + `"`) {
		if r.ResponseStatus.Code == http.StatusUnauthorized || r.ResponseStatus.Code == http.StatusForbidden {
			refused[r.Verb+" "+r.URI]++
		}
	}
	for what, times := range refused {
		i.Errorf("the operator was refused %s, %d times", what, times)
	}
}

// used are the permissions that the operator has needed so far, of those for one object if there is one.
func (i *installation) used(granted map[grant]bool) map[grant]bool {
	i.Helper()
	used := map[grant]bool{}
	for _, r := range i.audited(`"username":"` + i.user() + `"`) {
		of := r.ObjectRef
		if of.Resource == "" {
			continue // what the API server tells everybody who has an account
		}
		name := strings.TrimSuffix(of.Resource+"/"+of.Subresource, "/")
		needed := grant{of.Namespace, r.Verb, of.APIGroup, name, of.Name}
		if !granted[needed] {
			needed.name = ""
		}
		used[needed] = true
		if r.ResponseStatus.Code != http.StatusCreated {
			continue
		}
		// What the API server asks for besides: to apply what is not there is to create it, and a deletion of the EtcdCluster
		// may have to wait for it.
		used[grant{of.Namespace, "create", of.APIGroup, name, ""}] = true
		if of.Resource == "statefulsets" {
			used[grant{of.Namespace, "update", v1alpha1.GroupVersion.Group, "etcdclusters/finalizers", ""}] = true
		}
	}
	return used
}

// checkPermissions compares what the operator may do with what it has done.
func (i *installation) checkPermissions() {
	i.Helper()
	granted := i.grants(i.objects)
	used := i.used(granted)
	i.Logf("%d permissions are granted, %d were used", len(granted), len(used))
	for g := range granted {
		if !used[g] {
			i.Errorf("the chart grants what the operator does not need: %s", g)
		}
	}
	for g := range used {
		if !granted[g] {
			i.Errorf("the operator does what the chart does not grant: %s", g)
		}
	}
}

// TestTheInstalledOperator lets the operator that the chart installs live through all that it does, with what the chart's roles
// grant it, as talkative as it gets. Nothing is refused to it, nothing is granted that it has not needed, and no secret can be
// seen by those who may not read Secrets.
func TestTheInstalledOperator(t *testing.T) {
	t.Parallel()
	s, k := newScene(t), secrets{}
	class := s.storageClass(true)
	i := s.install("manager.logLevel=debug", "webhook.enabled=true")
	k.add("the operator's token", []byte(i.token))
	i.loseWebhookCertificate()
	k.add("any private key", []byte("PRIVATE KEY-----"))
	s.homeless()
	s.running(1, secured, asRoot, isolation(v1alpha1.NetworkPolicyEnabled), settings("100"), s.confided, func(spec *v1alpha1.EtcdClusterSpec) {
		spec.Storage.StorageClassName = &class
		spec.PodTemplate.Spec.NodeSelector = map[string]v1alpha1.LabelValue{corev1.LabelOSStable: "linux"}
	})
	s.sealed()
	value := rand.Text()
	s.put("key", value)
	k.add("a value that a client has written", []byte(value))
	// One that is alone is deleted, of several each is evicted.
	before := s.pods()
	s.secures("users are as declared")
	s.change(settings("101"))
	s.rolled(before)
	s.change(size(3))
	s.tidy(longPatience)
	k.collect(s)
	// An API server that is older does not stream lists.
	i.upgrade("KUBE_FEATURE_WatchListClient", "false")
	s.changeAuthorities("1")
	s.tidy(longPatience)
	k.collect(s)
	s.change(isolation(v1alpha1.NetworkPolicyEnabled, v1alpha1.NetworkPeer{Anyone: &v1alpha1.Anyone{}}))
	s.admitted("anyone may connect", 1, 0, 1)
	s.change(isolation(v1alpha1.NetworkPolicyDisabled))
	s.certManager()
	s.authorityIssuer("peers")
	s.change(func(spec *v1alpha1.EtcdClusterSpec) {
		issuedBy("", "peers")(spec)
		spec.Security.TLS.Client.Source = nil
	})
	s.trustsOnly(s.authorityOf("client"), s.issued("peers").chain)
	s.change(ours)
	s.asksNothing()
	s.tidy(longPatience)
	k.collect(s)
	s.grow()
	s.backUp(k)
	i.checkSecrets(s, k)
	s.change(size(1))
	s.tidy(longPatience)
	s.repeat()
	s.change(size(0))
	s.eventually("the cluster hibernates", patience, func() error {
		if phase := s.cluster().Status.Phase; phase != "Hibernated" {
			return fmt.Errorf("it is %s", phase)
		}
		return nil
	})
	i.checkSecrets(s, k)
	i.checkSecretWrites(s)
	cluster := s.cluster()
	s.delete(cluster)
	s.gone(cluster)
	s.nothingLeft()
	i.stop()
	i.checkPermissions()
	i.checkTheSearch(s, k)
}

// asRoot asks etcd to ask clients who they are; whoever has the ready-made certificate may do everything.
func asRoot(spec *v1alpha1.EtcdClusterSpec) {
	spec.Security.Auth = v1alpha1.AuthSpec{Mode: v1alpha1.AuthEnabled, Users: []v1alpha1.AuthUser{{Name: "client", Roles: []v1alpha1.AuthName{"root"}}}}
}

// confided gives etcd a variable from a Secret.
func (s *scene) confided(spec *v1alpha1.EtcdClusterSpec) {
	s.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "confided"}, Data: map[string][]byte{"password": []byte(rand.Text())},
	})
	spec.PodTemplate.Spec.Env = []corev1.EnvVar{{Name: "PASSWORD", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: "confided"}, Key: "password",
	}}}}
}

// checkSecretWrites checks that nobody who has the operator's token writes Secrets that are not those of an EtcdCluster, or makes or deletes
// EtcdClusters that are not those of drills.
func (i *installation) checkSecretWrites(s *scene) {
	i.Helper()
	thief, err := client.New(access(i.token), client.Options{Scheme: env.Client.Scheme()})
	if err != nil {
		i.Fatal(err)
	}
	named := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: s.namespace, Name: name} }
	pair := map[string][]byte{corev1.TLSCertKey: nil, corev1.TLSPrivateKeyKey: nil}
	foreign := &corev1.Secret{ObjectMeta: named("foreign"), Type: corev1.SecretTypeTLS, Data: pair}
	s.create(foreign)
	cluster := s.cluster()
	ours := *metav1.NewControllerRef(cluster, v1alpha1.GroupVersion.WithKind("EtcdCluster"))
	token := &corev1.Secret{ObjectMeta: named("token"), Type: corev1.SecretTypeServiceAccountToken}
	token.Annotations = map[string]string{corev1.ServiceAccountNameKey: "default"}
	token.OwnerReferences = []metav1.OwnerReference{ours}
	loose := &corev1.Secret{ObjectMeta: named("loose"), Type: corev1.SecretTypeTLS, Data: pair}
	password := &corev1.Secret{ObjectMeta: named("password"), Type: corev1.SecretTypeBasicAuth, Data: map[string][]byte{corev1.BasicAuthPasswordKey: nil}}
	password.Labels = map[string]string{render.LabelCluster: cluster.Name}
	// What the webhook's certificate is kept in has its name in the operator's own namespace only, and nothing else there has.
	likeHook := &corev1.Secret{ObjectMeta: named(webhookSecret), Type: corev1.SecretTypeTLS, Data: pair}
	nextToHook := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: "another"}, Type: corev1.SecretTypeTLS, Data: pair}
	another := password.DeepCopy()
	another.Name, another.Labels = "database-root", nil
	s.create(another.DeepCopy())
	anotherCluster := s.demo(1)
	anotherCluster.Name = "other"
	drilled := cluster.DeepCopy()
	drilled.Labels = map[string]string{render.LabelDrillOf: "demo"}
	changed := foreign.DeepCopy()
	changed.Data = map[string][]byte{corev1.TLSCertKey: nil, corev1.TLSPrivateKeyKey: []byte("other")}
	for what, err := range map[string]error{
		"makes a token of an account":       thief.Create(s.Context(), token),
		"makes a certificate of no cluster": thief.Create(s.Context(), loose),
		"makes a webhook's elsewhere":       thief.Create(s.Context(), likeHook),
		"makes another of its own":          thief.Create(s.Context(), nextToHook),
		"makes a password of somebody else": thief.Create(s.Context(), password),
		"changes a Secret of somebody else": thief.Update(s.Context(), changed),
		"changes another's root password":   thief.Update(s.Context(), withLabel(another, cluster.Name)),
		"makes a cluster":                   thief.Create(s.Context(), anotherCluster),
		"deletes a cluster":                 thief.Delete(s.Context(), cluster),
		"makes a cluster into a drill":      thief.Patch(s.Context(), drilled, client.MergeFrom(cluster)),
	} {
		if err == nil || !strings.Contains(err.Error(), "the etcd operator") {
			i.Errorf("who has the operator's token %s: %v", what, err)
		}
	}
	s.delete(foreign)
	s.delete(another)
}

// withLabel is a Secret as if it were of a cluster.
func withLabel(secret *corev1.Secret, cluster string) *corev1.Secret {
	secret = secret.DeepCopy()
	secret.Labels = map[string]string{render.LabelCluster: cluster}
	return secret
}

// homeless is a cluster whose StorageClass does not exist: the message names those that do.
func (s *scene) homeless() {
	s.Helper()
	cluster := s.demo(1, func(spec *v1alpha1.EtcdClusterSpec) {
		missing := "missing"
		spec.Storage.StorageClassName = &missing
	})
	s.create(cluster)
	s.says("Degraded", "StorageClassMissing", s.namespace+"-class")
	s.delete(cluster)
	s.gone(cluster)
	s.nothingLeft()
}

// backUp makes an encrypted backup, has it tried out, lets another cluster begin with it, also in a drill, and removes it. One that is due by the
// schedule takes the place of another; and all changes are stored for a while.
func (s *scene) backUp(k secrets) {
	s.Helper()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		s.Fatal(err)
	}
	k.add("the key to backups", []byte(key.String()))
	s.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "identity"}, StringData: map[string]string{"identity.txt": key.String()},
	})
	store := s.store()
	made := s.backup("kept", func(spec *v1alpha1.EtcdBackupSpec) {
		spec.Store = &store
		spec.Encryption = &v1alpha1.BackupEncryption{
			Recipients: []string{key.Recipient().String()}, IdentitySecret: &v1alpha1.SecretName{Name: "identity"},
		}
	})
	s.becomes("kept", "Completed", "Verified", metav1.ConditionTrue)
	twin := s.demo(1, func(spec *v1alpha1.EtcdClusterSpec) {
		spec.Bootstrap = &v1alpha1.BootstrapSpec{BackupRef: &v1alpha1.BackupReference{Name: "kept"}}
	})
	twin.Name = "twin"
	s.create(twin)
	restore := &v1alpha1.EtcdRestore{}
	s.eventually("another cluster has its data", longPatience, func() error {
		if err := env.Client.Get(s.Context(), s.key("twin-bootstrap"), restore); err != nil || restore.Status.Phase != "Completed" {
			return fmt.Errorf("it is %s: %+v, %w", restore.Status.Phase, restore.Status.Conditions, err)
		}
		return nil
	})
	s.delete(twin)
	s.gone(twin)
	s.change(func(spec *v1alpha1.EtcdClusterSpec) {
		spec.Backup = &v1alpha1.BackupSpec{Store: store, Drill: &v1alpha1.BackupDrill{Schedule: "* * * * *"}}
	})
	s.drillIs(v1alpha1.DrillOutcome(drills.Succeeded), "EtcdBackup kept")
	s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Backup = nil })
	s.noDrill()
	// What is verified would stay.
	older := s.backup("older", func(spec *v1alpha1.EtcdBackupSpec) {
		spec.Store, spec.Path, spec.Verification = &store, made.Status.Path, v1alpha1.VerifyNever
	})
	s.becomes("older", "Completed", "Complete", metav1.ConditionTrue)
	s.eventually("it counts as one of the schedule's", patience, func() error {
		s.get("older", older)
		older.Labels = map[string]string{render.LabelScheduledFor: "demo"}
		older.Annotations = map[string]string{render.AnnotationScheduledAt: "2026-01-01T00:00:00Z"}
		return env.Client.Update(s.Context(), older)
	})
	s.change(func(spec *v1alpha1.EtcdClusterSpec) {
		spec.Backup = &v1alpha1.BackupSpec{
			Store: store, Schedule: "* * * * *", Retention: v1alpha1.BackupRetention{KeepLast: 1},
			Verification: v1alpha1.BackupVerification{Mode: v1alpha1.VerifyNever},
		}
	})
	s.gone(older)
	s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Backup = nil })
	var all v1alpha1.EtcdBackupList
	if err := env.Client.List(s.Context(), &all, client.InNamespace(s.namespace)); err != nil {
		s.Fatal(err)
	}
	for n := range all.Items {
		s.delete(&all.Items[n])
		s.gone(&all.Items[n])
	}
	s.change(continuous(store))
	s.keepsUp()
	s.change(func(spec *v1alpha1.EtcdClusterSpec) {
		spec.Backup.Continuous.KeepFor = metav1.Duration{Duration: time.Hour}
	})
	s.keepsUp()
	s.archivesNoMore()
	s.delete(&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: store.Volume.ClaimName}})
}

// grow gives the members more of everything, while they run.
func (s *scene) grow() {
	s.Helper()
	before := s.pods()
	s.change(func(spec *v1alpha1.EtcdClusterSpec) {
		volumeSize("2Gi")(spec)
		spec.PodTemplate.Spec.Resources = &corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("150m"), corev1.ResourceMemory: resource.MustParse("128Mi"),
		}}
	})
	s.tidy(longPatience)
	s.eventually("the members have grown", patience, func() error {
		for name, pod := range s.pods() {
			if cpu := pod.Spec.Containers[0].Resources.Requests.Cpu().String(); cpu != "150m" || before[name] == nil || before[name].UID != pod.UID {
				return fmt.Errorf("pod %s has a CPU of %s", name, cpu)
			}
		}
		for _, claim := range s.claims() {
			if has := claim.Status.Capacity.Storage().String(); has != "2Gi" {
				return fmt.Errorf("claim %s has %s", claim.Name, has)
			}
		}
		return nil
	})
}

// repeat raises an alarm of a member that was removed as fast as the operator clears it: what it does each time is one event, which
// is counted.
func (s *scene) repeat() {
	s.Helper()
	connection := s.connect()
	var raising sync.WaitGroup
	done := make(chan struct{})
	stop := sync.OnceFunc(func() {
		close(done)
		raising.Wait()
	})
	defer stop()
	raising.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				_ = s.alarmOf(1, connection)
			}
		}
	})
	s.eventually("an event is counted", patience, func() error {
		for _, event := range s.events() {
			if event.Series != nil && event.Reason == "DisarmAlarm" {
				return nil
			}
		}
		return errors.New("no event is a series")
	})
	stop()
	s.settled()
}

// TestBothModesGrantTheSame: for a namespace the operator is granted what it is granted for all, and no more; and with that
// for all it can fill its caches from all.
func TestBothModesGrantTheSame(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	one := s.grants(s.chart("etcd-operator", s.namespace, "watchNamespaces={team}"))
	objects := s.chart(s.namespace, s.namespace)
	all := s.grants(objects)
	want := map[grant]bool{}
	for g := range one {
		if g.namespace == "team" {
			g.namespace = ""
		}
		want[g] = true
	}
	if !maps.Equal(all, want) {
		t.Errorf("for all namespaces the chart grants\n%v\nfor one\n%v", sorted(all), sorted(want))
	}
	for g := range all {
		if g.namespace != "" && g.namespace != s.namespace {
			t.Errorf("the chart grants %s", g)
		}
	}
	account := ""
	for _, object := range objects {
		switch object.GetKind() {
		case "ServiceAccount":
			account = object.GetName()
		case "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding":
		default:
			continue
		}
		s.make(object)
	}
	s.fillCaches(account)
}

func sorted(grants map[grant]bool) []string {
	var words []string
	for g := range grants {
		words = append(words, g.String())
	}
	slices.Sort(words)
	return words
}

// fillCaches fills the caches of an operator for all namespaces as an account.
func (s *scene) fillCaches(account string) {
	s.Helper()
	options := controller.CacheOptions(nil)
	options.Scheme = env.Client.Scheme()
	kinds := slices.Collect(maps.Keys(options.ByObject))
	kinds = append(kinds, &v1alpha1.EtcdCluster{})
	caches, err := cache.New(access(s.tokenOf(account)), options)
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	for _, kind := range kinds {
		if _, err := caches.GetInformer(ctx, kind, cache.BlockUntilSynced(false)); err != nil {
			s.Fatal(err)
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- caches.Start(ctx) }()
	if !caches.WaitForCacheSync(ctx) {
		s.Errorf("the caches of %d kinds are not filled", len(kinds))
	}
	cancel()
	if err := <-ended; err != nil {
		s.Errorf("the caches ended with: %v", err)
	}
}
