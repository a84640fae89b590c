package live

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/pki"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// Names of the object store and of what it is used by.
const (
	storeName   = "store"
	storePort   = 7070
	storeBucket = "backups"
	storeRegion = "us-east-1"
	// StoreCredentials is the Secret with the credentials, and StoreCA the one with whom to trust.
	StoreCredentials = "store-credentials"
	StoreCA          = "store-ca"
)

// ObjectStore is versitygw, an S3 server, in a pod of the test's namespace, with a bucket in memory and a certificate of its own
// authority.
type ObjectStore struct {
	// Client reaches the server whether others do or not.
	*minio.Client

	kubernetes *Kubernetes
	secrets    []corev1.Secret
	authority  pki.Authority
	pod        *corev1.Pod
}

// StartObjectStore starts a server whose objects may take so much, until the test ends.
func (k *Kubernetes) StartObjectStore(capacity resource.Quantity) *ObjectStore {
	k.T.Helper()
	s := &ObjectStore{kubernetes: k}
	s.certify()
	s.Share(k)
	s.pod = storePod(k.Namespace, capacity)
	k.MustCreate(s.pod)
	k.MustCreate(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: storeName},
		Spec:       corev1.ServiceSpec{Selector: s.pod.Labels, Ports: []corev1.ServicePort{{Port: storePort}}},
	})
	k.Eventually("the object store is ready", time.Minute, func(ctx context.Context) error {
		if err := k.Get(ctx, key(k.Namespace, storeName), s.pod); err != nil {
			return err
		}
		if !Ready(s.pod) {
			return fmt.Errorf("its pod is %s: %v", s.pod.Status.Phase, s.pod.Status.ContainerStatuses)
		}
		return nil
	})
	s.connect()
	if err := s.MakeBucket(context.Background(), storeBucket, minio.MakeBucketOptions{Region: storeRegion}); err != nil {
		k.T.Fatalf("making the bucket %s: %v", storeBucket, err)
	}
	return s
}

// certify makes the Secrets: that of the server, and those that its users need.
func (s *ObjectStore) certify() {
	k := s.kubernetes
	k.T.Helper()
	authority, err := pki.NewAuthority("object store", time.Now(), 24*time.Hour)
	if err != nil {
		k.T.Fatal(err)
	}
	server, err := authority.Issue(pki.Request{CommonName: storeName, DNSNames: []string{s.host()}, Server: true, Life: 24 * time.Hour}, time.Now())
	if err != nil {
		k.T.Fatal(err)
	}
	s.authority = authority
	k.MustCreate(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: storeName}, Data: map[string][]byte{
		render.KeyCertificate: server.Certificate, render.KeyPrivate: server.Key,
	}})
	s.secrets = []corev1.Secret{
		{ObjectMeta: metav1.ObjectMeta{Name: StoreCredentials}, Data: map[string][]byte{
			"access-key-id": []byte("tests"), "secret-access-key": []byte(rand.Text()),
		}},
		{ObjectMeta: metav1.ObjectMeta{Name: StoreCA}, Data: map[string][]byte{render.KeyAuthority: authority.Certificate}},
	}
}

// storePod runs as any pod may that is "restricted".
func storePod(namespace string, capacity resource.Quantity) *corev1.Pod {
	image := os.Getenv("OBJECT_STORE_IMAGE")
	fromSecret := func(variable, key string) corev1.EnvVar {
		return corev1.EnvVar{Name: variable, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: StoreCredentials}, Key: key,
		}}}
	}
	const objects, metadata, certificate = "/objects", "/metadata", "/certificate"
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: storeName, Labels: map[string]string{"app": storeName}},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: ptr.To[int64](1),
			AutomountServiceAccountToken:  ptr.To(false),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](65532), FSGroup: ptr.To[int64](65532),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "versitygw", Image: image,
				Command: []string{
					"/usr/local/bin/versitygw", "--port", ":" + strconv.Itoa(storePort), "--region", storeRegion, "--health", "/health", "--quiet",
					"--cert", certificate + "/" + render.KeyCertificate, "--key", certificate + "/" + render.KeyPrivate,
					"posix", "--sidecar", metadata, objects,
				},
				Env: []corev1.EnvVar{fromSecret("ROOT_ACCESS_KEY", "access-key-id"), fromSecret("ROOT_SECRET_KEY", "secret-access-key")},
				VolumeMounts: []corev1.VolumeMount{
					{Name: "objects", MountPath: objects}, {Name: "metadata", MountPath: metadata}, {Name: "certificate", MountPath: certificate, ReadOnly: true},
				},
				ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
					Path: "/health", Port: intstr.FromInt32(storePort), Scheme: corev1.URISchemeHTTPS,
				}}},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
			Volumes: []corev1.Volume{
				// Kubernetes makes a file system in memory as large as its limit: it can be full.
				{Name: "objects", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
					Medium: corev1.StorageMediumMemory, SizeLimit: &capacity,
				}}},
				{Name: "metadata", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
				{Name: "certificate", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: storeName}}},
			},
		},
	}
}

// Share makes the Secrets with the credentials and the authority in a namespace, under the names that Bucket says.
func (s *ObjectStore) Share(k *Kubernetes) {
	k.T.Helper()
	for i := range s.secrets {
		secret := s.secrets[i].DeepCopy()
		secret.Namespace = k.Namespace
		k.MustCreate(secret)
	}
}

// For is the same store, for a subtest.
func (s *ObjectStore) For(k *Kubernetes) *ObjectStore {
	sub := *s
	sub.kubernetes = k
	return &sub
}

// Bucket is the store as users describe it, with a prefix of its own.
func (s *ObjectStore) Bucket(prefix string) *v1alpha1.BackupStore {
	return &v1alpha1.BackupStore{S3: &v1alpha1.S3Store{
		Endpoint: v1alpha1.StoreEndpoint("https://" + s.address()), Bucket: storeBucket, Prefix: v1alpha1.StorePath(prefix), Region: storeRegion, PathStyle: true,
		CredentialsSecret: &v1alpha1.SecretName{Name: StoreCredentials}, CASecret: &v1alpha1.SecretName{Name: StoreCA},
	}}
}

func (s *ObjectStore) host() string    { return storeName + "." + s.kubernetes.Namespace + ".svc" }
func (s *ObjectStore) address() string { return net.JoinHostPort(s.host(), strconv.Itoa(storePort)) }

// connect makes the client, which goes to the pod itself.
func (s *ObjectStore) connect() {
	k := s.kubernetes
	k.T.Helper()
	user := s.secrets[0].Data
	client, err := minio.New(s.address(), &minio.Options{
		Creds:  credentials.NewStaticV4(string(user["access-key-id"]), string(user["secret-access-key"]), ""),
		Secure: true, Region: storeRegion, BucketLookup: minio.BucketLookupPath, MaxRetries: 1,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: s.authority.Bundle.Pool(), MinVersion: tls.VersionTLS12},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				if !OnKind() {
					return dialLocalCluster(ctx, net.JoinHostPort(s.pod.Status.PodIP, strconv.Itoa(storePort)))
				}
				address, err := k.forward(storeName, storePort)
				if err != nil {
					return nil, err
				}
				return (&net.Dialer{}).DialContext(ctx, network, address)
			},
		},
	})
	if err != nil {
		k.T.Fatal(err)
	}
	s.Client = client
}

// Leave has nobody but the test reach the server, until it Returns.
func (s *ObjectStore) Leave() { s.lead("nowhere") }

// Return lets the server be reached again.
func (s *ObjectStore) Return() { s.lead(storeName) }

// lead makes the Service lead to the pods of an app.
func (s *ObjectStore) lead(app string) {
	k := s.kubernetes
	k.T.Helper()
	k.Eventually("the Service "+storeName+" leads to "+app, time.Minute, func(ctx context.Context) error {
		service := &corev1.Service{}
		if err := k.Get(ctx, key(k.Namespace, storeName), service); err != nil {
			return err
		}
		service.Spec.Selector = map[string]string{"app": app}
		return k.Update(ctx, service)
	})
}

// Manifest is that of the backup at a path below a prefix.
func (s *ObjectStore) Manifest(prefix, path string) (m backup.Manifest) {
	s.kubernetes.T.Helper()
	if err := json.Unmarshal(s.Read(prefix+"/"+path+"/manifest.json"), &m); err != nil {
		s.kubernetes.T.Fatal(err)
	}
	return m
}

// Objects are the names and sizes of the objects below a prefix, parts of unfinished uploads among them.
func (s *ObjectStore) Objects(prefix string) map[string]int64 {
	s.kubernetes.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	found := map[string]int64{}
	for object := range s.ListObjects(ctx, storeBucket, minio.ListObjectsOptions{Prefix: prefix + "/", Recursive: true}) {
		if object.Err != nil {
			s.kubernetes.T.Fatalf("listing the objects below %s: %v", prefix, object.Err)
		}
		found[object.Key] = object.Size
	}
	for upload := range s.ListIncompleteUploads(ctx, storeBucket, prefix+"/", true) {
		if upload.Err != nil {
			s.kubernetes.T.Fatalf("listing the uploads below %s: %v", prefix, upload.Err)
		}
		found[upload.Key+" (unfinished)"] = upload.Size
	}
	return found
}

// Read reads an object.
func (s *ObjectStore) Read(object string) []byte {
	s.kubernetes.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	body, err := s.GetObject(ctx, storeBucket, object, minio.GetObjectOptions{})
	if err != nil {
		s.kubernetes.T.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	content, err := io.ReadAll(body)
	if err != nil {
		s.kubernetes.T.Fatalf("reading %s: %v", object, err)
	}
	return content
}

// Write makes an object, or another one of what there is.
func (s *ObjectStore) Write(object string, content []byte) {
	s.kubernetes.T.Helper()
	if err := s.put(context.Background(), object, content); err != nil {
		s.kubernetes.T.Fatalf("writing %s: %v", object, err)
	}
}

// Remove removes an object.
func (s *ObjectStore) Remove(object string) {
	s.kubernetes.T.Helper()
	if err := s.RemoveObject(context.Background(), storeBucket, object, minio.RemoveObjectOptions{}); err != nil {
		s.kubernetes.T.Fatalf("removing %s: %v", object, err)
	}
}

func (s *ObjectStore) put(ctx context.Context, object string, content []byte) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err := s.PutObject(ctx, storeBucket, object, bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{DisableMultipart: true})
	return err
}

// Fill leaves no room for anything, until the function that it gives is called.
func (s *ObjectStore) Fill() (empty func()) {
	k := s.kubernetes
	k.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var filling []string
	for size := 16 << 20; size >= 4<<10; {
		object := fmt.Sprintf("filling/%d", len(filling))
		if err := s.put(ctx, object, make([]byte, size)); err != nil {
			if ctx.Err() != nil {
				k.T.Fatalf("filling the object store: %v", err)
			}
			size /= 2
			continue
		}
		filling = append(filling, object)
	}
	return func() {
		k.T.Helper()
		for _, object := range filling {
			s.Remove(object)
		}
	}
}
