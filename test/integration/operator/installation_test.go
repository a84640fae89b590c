//go:build integration

package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/environment"
)

// root is the folder of the checkout.
var root = filepath.Join("..", "..", "..")

// buildOperator builds the operator as it is now, once, and returns the folder of the program.
var buildOperator = sync.OnceValues(func() (string, error) {
	folder, err := filepath.Abs(filepath.Join(root, "build", "integration"))
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", folder+"/", "./cmd/etcd-operator", "./cmd/etcd-agent")
	command.Dir, command.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the operator: %w: %s", err, output)
	}
	return folder, nil
})

// operatorImage is the image of the operator, whatever its tag.
func operatorImage() environment.Runner {
	return environment.ProgramImage{
		Entrypoint: []string{"etcd-operator"}, Programs: func(string) (string, error) { return buildOperator() },
	}
}

// installation is the operator as the chart installs it: a pod that may do what the chart's roles say. The scene is its namespace.
type installation struct {
	*scene
	objects []*unstructured.Unstructured
	token   string
}

// user is who the API server says that the operator is.
func (i *installation) user() string {
	return "system:serviceaccount:" + i.namespace + ":etcd-operator"
}

// install installs the chart into a namespace of its own, to work in that of the scene.
func (s *scene) install(values ...string) *installation {
	s.Helper()
	if _, err := buildOperator(); err != nil {
		s.Fatal(err)
	}
	i := &installation{scene: newScene(s.T)}
	i.objects = s.chart("etcd-operator", i.namespace, append(values, "watchNamespaces={"+s.namespace+"}")...)
	for _, object := range i.objects {
		if object.GetKind() == "Deployment" {
			i.bringToken(object)
		}
		i.make(object)
	}
	i.Cleanup(i.checkRefusals)
	return i
}

// make makes an object that is gone when the test has ended.
func (s *scene) make(object client.Object) {
	s.Helper()
	s.create(object)
	if object.GetNamespace() == "" {
		s.Cleanup(func() { _ = env.Client.Delete(context.Background(), object) })
	}
}

// chart is what the chart makes of values, without the definitions.
func (s *scene) chart(release, namespace string, values ...string) (objects []*unstructured.Unstructured) {
	s.Helper()
	arguments := []string{"template", release, filepath.Join(root, "charts", "etcd-operator"), "--namespace", namespace}
	for _, value := range append(values, "crds.install=false", "rbac.userRoles=false") {
		arguments = append(arguments, "--set", value)
	}
	helm, err := filepath.Abs(filepath.Join(root, "build", "bin", "helm"))
	if err != nil {
		s.Fatal(err)
	}
	output, err := exec.CommandContext(s.Context(), helm, arguments...).Output()
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed):
		s.Fatalf("helm %v: %v: %s", arguments, err, failed.Stderr)
	case err != nil:
		s.Fatalf("run helm (hack/build.sh tools/helm builds it): %v", err)
	}
	for decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(string(output)), 4096); ; {
		object := &unstructured.Unstructured{}
		switch err := decoder.Decode(object); {
		case errors.Is(err, io.EOF):
			return objects
		case err != nil:
			s.Fatalf("the chart makes no YAML: %v", err)
		case len(object.Object) > 0:
			objects = append(objects, object)
		}
	}
}

// bringToken gives the operator's pod the token of its account, as an API server does it that has the admission plugin
// ServiceAccount.
func (i *installation) bringToken(object *unstructured.Unstructured) {
	i.Helper()
	deployment := &appsv1.Deployment{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, deployment); err != nil {
		i.Fatal(err)
	}
	pod := &deployment.Spec.Template.Spec
	i.token = i.tokenOf(pod.ServiceAccountName)
	i.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: "token"},
		Data:       map[string][]byte{"token": []byte(i.token), "ca.crt": env.Config.CAData, "namespace": []byte(i.namespace)},
	})
	pod.Volumes = append(pod.Volumes, corev1.Volume{
		Name: "token", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "token"}},
	})
	pod.Containers[0].VolumeMounts = append(pod.Containers[0].VolumeMounts, corev1.VolumeMount{
		Name: "token", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true,
	})
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(deployment)
	if err != nil {
		i.Fatal(err)
	}
	object.Object = content
	object.SetAPIVersion("apps/v1")
	object.SetKind("Deployment")
}

// tokenOf is a token of an account of the namespace.
func (s *scene) tokenOf(account string) string {
	s.Helper()
	answer, err := env.Clientset.CoreV1().ServiceAccounts(s.namespace).CreateToken(s.Context(), account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		s.Fatalf("get a token of the account %s: %v", account, err)
	}
	return answer.Status.Token
}

// access is that of the bearer of a token.
func access(token string) *rest.Config {
	config := rest.AnonymousClientConfig(env.Config)
	config.BearerToken = token
	return config
}

// pod is the operator's pod once it runs.
func (i *installation) pod() *corev1.Pod {
	i.Helper()
	var found *corev1.Pod
	i.eventually("the operator's pod is ready", patience, func() error {
		var pods corev1.PodList
		if err := env.Client.List(i.Context(), &pods, client.InNamespace(i.namespace)); err != nil {
			return err
		}
		for n := range pods.Items {
			if found = &pods.Items[n]; found.DeletionTimestamp == nil && len(found.Status.ContainerStatuses) > 0 && found.Status.ContainerStatuses[0].Ready {
				return nil
			}
		}
		return fmt.Errorf("there are %d pods", len(pods.Items))
	})
	return found
}

// upgrade lets another operator take over that has a variable more, as an upgrade of the chart does.
func (i *installation) upgrade(name, value string) {
	i.Helper()
	before := i.pod()
	i.eventually("the Deployment is changed", patience, func() error {
		deployment := &appsv1.Deployment{}
		i.get("etcd-operator", deployment)
		container := &deployment.Spec.Template.Spec.Containers[0]
		container.Env = append(container.Env, corev1.EnvVar{Name: name, Value: value})
		return env.Client.Update(i.Context(), deployment)
	})
	i.gone(before)
	i.pod()
}

// stop ends the operator for good.
func (i *installation) stop() {
	i.Helper()
	pod := i.pod()
	i.delete(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: "etcd-operator"}})
	i.gone(pod)
}

// metricsPage is what Prometheus reads.
func (i *installation) metricsPage() string {
	i.Helper()
	var page []byte
	i.eventually("the metrics are served", patience, func() error {
		request, err := http.NewRequestWithContext(i.Context(), http.MethodGet, "http://"+i.pod().Status.PodIP+":8080/metrics", nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = answer.Body.Close() }()
		if page, err = io.ReadAll(answer.Body); err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("the answer is %s", answer.Status)
		}
		return err
	})
	return string(page)
}
