package store_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/objectstore"
)

func options(endpoint string) store.S3Options {
	return store.S3Options{Endpoint: endpoint, Region: objectstore.Region, Bucket: objectstore.Bucket, Prefix: "some/prefix", PathStyle: true}
}

func newS3(t *testing.T, o store.S3Options) *store.S3 {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", objectstore.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", objectstore.SecretKey)
	s, err := store.NewS3(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// admin does what stores do not.
func admin(t *testing.T, gateway *objectstore.Gateway) *minio.Client {
	t.Helper()
	client, err := minio.New(strings.TrimPrefix(gateway.URL, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(objectstore.AccessKey, objectstore.SecretKey, ""), Region: objectstore.Region, BucketLookup: minio.BucketLookupPath,
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// uploads are those that were begun and neither completed nor aborted.
func uploads(t *testing.T, gateway *objectstore.Gateway) func() []string {
	t.Helper()
	client := admin(t, gateway)
	return func() (names []string) {
		for u := range client.ListIncompleteUploads(context.Background(), objectstore.Bucket, "", true) {
			if u.Err != nil {
				t.Fatal(u.Err)
			}
			names = append(names, u.Key)
		}
		return names
	}
}

func TestS3Conforms(t *testing.T) {
	gateway := objectstore.Start(t, "", "")
	conform(t, newS3(t, options(gateway.URL)), uploads(t, gateway))
}

// A fault that passes is not noticed; one that stays is an error and leaves nothing.
func TestS3UploadWithFaults(t *testing.T) {
	gateway := objectstore.Start(t, "", "")
	proxy := objectstore.NewProxy(t, gateway)
	s, left := newS3(t, options(proxy.URL)), uploads(t, gateway)
	isPart := func(number string) func(*http.Request) bool {
		return func(r *http.Request) bool {
			return r.Method == http.MethodPut && r.URL.Query().Get("partNumber") == number
		}
	}
	begins := func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploads") }
	ends := func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") }
	uploadWithFaults(t, s, proxy, left, map[string]faultCase{
		"the upload cannot begin for now":      {begins, objectstore.Fault{Status: 503, Code: "SlowDown"}, true},
		"it may not begin":                     {begins, objectstore.Fault{Status: 403, Code: "AccessDenied"}, false},
		"a part fails for now":                 {isPart("1"), objectstore.Fault{Status: 500, Code: "InternalError"}, true},
		"the connection is cut within a part":  {isPart("1"), objectstore.Fault{CutRequest: 1 << 20}, true},
		"the connection is cut within the end": {isPart("2"), objectstore.Fault{CutRequest: 500}, true},
		"the answer to a part is lost":         {isPart("2"), objectstore.Fault{LoseAnswer: true}, true},
		"the store is full":                    {isPart("2"), objectstore.Fault{Status: 507, Code: "QuotaExceeded"}, false},
		"the login expires within":             {isPart("2"), objectstore.Fault{Status: 403, Code: "ExpiredToken"}, false},
		"the end is refused":                   {ends, objectstore.Fault{Status: 403, Code: "AccessDenied"}, false},
		"a part is slow":                       {isPart("1"), objectstore.Fault{Delay: 300 * time.Millisecond}, true},
	})
}

func TestS3DownloadThatIsCut(t *testing.T) {
	gateway := objectstore.Start(t, "", "")
	proxy := objectstore.NewProxy(t, gateway)
	s := newS3(t, options(proxy.URL))
	content := sample(1 << 20)
	put(t, s, "object", string(content))
	proxy.Tell(func(*http.Request) objectstore.Fault { return objectstore.Fault{CutResponse: 1000} })
	body, err := s.Get(t.Context(), "object", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	if err == nil || len(got) > 1000 || !bytes.HasPrefix(content, got) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// What object lock protects is not deleted, and the error says until when.
func TestS3ObjectLock(t *testing.T) {
	gateway := objectstore.Start(t, "", "")
	client := admin(t, gateway)
	if err := client.MakeBucket(t.Context(), "locked", minio.MakeBucketOptions{Region: objectstore.Region, ObjectLocking: true}); err != nil {
		t.Fatal(err)
	}
	o := options(gateway.URL)
	o.Bucket = "locked"
	s := newS3(t, o)
	for _, name := range []string{"kept", "held", "free"} {
		put(t, s, name, name)
	}
	mode, until := minio.Compliance, time.Now().Add(time.Hour).Truncate(time.Second).UTC()
	if err := client.PutObjectRetention(t.Context(), o.Bucket, o.Prefix+"/kept", minio.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &until}); err != nil {
		t.Fatal(err)
	}
	on := minio.LegalHoldEnabled
	if err := client.PutObjectLegalHold(t.Context(), o.Bucket, o.Prefix+"/held", minio.PutObjectLegalHoldOptions{Status: &on}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"kept": "it is kept until " + until.Format(time.RFC3339), "held": "there is a legal hold on it"} {
		if err := s.Delete(t.Context(), name); !errors.Is(err, store.ErrRetained) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `deleting "`+name+`"`) {
			t.Errorf("deleting what is %s: %v", name, err)
		}
	}
	if err := s.Delete(t.Context(), "free"); err != nil {
		t.Error(err)
	}
	if names := list(t, s, ""); strings.Join(names, " ") != "held kept" {
		t.Errorf("there are %v", names)
	}
}

// A bucket with object lock wants checksums that others need not take the time for.
func TestS3WantsMD5(t *testing.T) {
	gateway := objectstore.Start(t, "", "")
	proxy := objectstore.NewProxy(t, gateway)
	s := newS3(t, options(proxy.URL))
	content := sample(2*part + 1)
	uploads := func(r *http.Request) bool { return r.Method == http.MethodPut }
	plain := 0
	proxy.Tell(func(r *http.Request) objectstore.Fault {
		if uploads(r) && r.Header.Get("Content-Md5") == "" {
			plain++
		}
		return objectstore.Fault{}
	})
	put(t, s, "without", string(content))
	if plain != 3 {
		t.Errorf("of 3 parts %d came without MD5", plain)
	}
	// What Amazon S3 says of parts, and of objects of one piece.
	for what, content := range map[string][]byte{"Part": content, "Object": []byte("small")} {
		s := newS3(t, options(proxy.URL))
		refused := 0
		proxy.Tell(func(r *http.Request) objectstore.Fault {
			if !uploads(r) || r.Header.Get("Content-Md5") != "" {
				return objectstore.Fault{}
			}
			refused++
			return objectstore.Fault{
				Status: http.StatusBadRequest, Code: "InvalidRequest",
				Message: "Content-MD5 OR x-amz-checksum- HTTP header is required for Put " + what + " requests with Object Lock parameters",
			}
		})
		put(t, s, what, string(content))
		put(t, s, what+"-again", string(content))
		proxy.Tell(nil)
		if get(t, s, what) != string(content) || refused != 1 {
			t.Errorf("%s: the server had to ask %d times", what, refused)
		}
	}
}

// The server is asked to encrypt objects of one part and of several.
func TestS3ServerSideEncryption(t *testing.T) {
	proxy := objectstore.NewProxy(t, objectstore.Start(t, "", ""))
	for encryption, key := range map[string]string{"AES256": "", "aws:kms": "a-key"} {
		o := options(proxy.URL)
		o.Encryption, o.KMSKey, o.Prefix = encryption, key, strings.ReplaceAll(encryption, ":", "-")
		s := newS3(t, o)
		asked := 0
		proxy.Tell(func(r *http.Request) objectstore.Fault {
			begins := r.Method == http.MethodPost && r.URL.Query().Has("uploads") || r.Method == http.MethodPut && !r.URL.Query().Has("partNumber")
			if begins && r.Header.Get("X-Amz-Server-Side-Encryption") == encryption && r.Header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id") == key {
				asked++
			}
			return objectstore.Fault{}
		})
		put(t, s, "small", "a")
		put(t, s, "big", string(sample(part+1)))
		if proxy.Tell(nil); asked != 2 {
			t.Errorf("%s was asked for with %d of 2 objects", encryption, asked)
		}
	}
}

// The token of the pod's service account is exchanged for keys that the store takes.
func TestS3WebIdentity(t *testing.T) {
	exchanges, session := 0, ""
	sts := serverOf(t, func(w http.ResponseWriter, r *http.Request) {
		exchanges++
		for name, want := range map[string]string{"Action": "AssumeRoleWithWebIdentity", "RoleArn": "arn:aws:iam::1:role/backups", "WebIdentityToken": "of the pod"} {
			if got := r.FormValue(name); got != want {
				t.Errorf("%s is %q, not %q", name, got, want)
			}
		}
		_, _ = io.WriteString(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>
			<AccessKeyId>`+objectstore.AccessKey+`</AccessKeyId><SecretAccessKey>`+objectstore.SecretKey+`</SecretAccessKey><SessionToken>`+session+`</SessionToken>
			<Expiration>`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`)
	})
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, "of the pod")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_WEB_IDENTITY_TOKEN_FILE": token, "AWS_ROLE_ARN": "arn:aws:iam::1:role/backups", "AWS_ENDPOINT_URL_STS": sts,
	} {
		t.Setenv(name, value)
	}
	s, err := store.NewS3(options(objectstore.Start(t, "", "").URL))
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "a", "b")
	if content := get(t, s, "a"); content != "b" || exchanges != 1 {
		t.Errorf("it is %q after %d exchanges", content, exchanges)
	}

	// versitygw does not know the tokens of sessions that it did not begin.
	session = "session"
	var shown string
	s, err = store.NewS3(options(serverOf(t, func(w http.ResponseWriter, r *http.Request) {
		shown = r.Header.Get("X-Amz-Security-Token")
		_, _ = io.WriteString(w, `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></ListBucketResult>`)
	})))
	if err != nil {
		t.Fatal(err)
	}
	if names := list(t, s, ""); len(names) > 0 || shown != session {
		t.Errorf("the token of the session is %q, not %q; listed: %v", shown, session, names)
	}
}

// certificate is one for 127.0.0.1 that signs itself, as files and as PEM.
func certificate(t *testing.T) (certificate, key string, ca []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	certificate, key = filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
	ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	write(t, certificate, string(ca))
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})))
	return certificate, key, ca
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestS3WithACustomCA(t *testing.T) {
	file, key, ca := certificate(t)
	gateway := objectstore.Start(t, file, key)
	o := options(gateway.URL)
	withACustomCA(t, newS3(t, o), func() store.Store {
		o.CA = ca
		return newS3(t, o)
	})
	// Parts go without checksums there.
	s, content := newS3(t, o), sample(part+1)
	put(t, s, "big", string(content))
	if get(t, s, "big") != string(content) {
		t.Error("what is stored is not what was given")
	}
}

// withACustomCA checks that a store's server is known by the CA that was given, and only by that.
func withACustomCA(t *testing.T, without store.Store, with func() store.Store) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var unknown x509.UnknownAuthorityError
	if err := without.Put(ctx, "a", strings.NewReader("b")); !errors.As(err, &unknown) {
		t.Errorf("without the CA: %v", err)
	}
	s := with()
	put(t, s, "a", "b")
	if content := get(t, s, "a"); content != "b" {
		t.Errorf("it is %q", content)
	}
}

// Credentials are read anew from their files for each request.
func TestS3CredentialsFromFiles(t *testing.T) {
	gateway := objectstore.Start(t, "", "")
	o := options(gateway.URL)
	o.CredentialsFolder = t.TempDir()
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	s, err := store.NewS3(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(t.Context(), ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without files: %v", err)
	}
	write(t, filepath.Join(o.CredentialsFolder, "access-key-id"), objectstore.AccessKey)
	write(t, filepath.Join(o.CredentialsFolder, "secret-access-key"), "wrong")
	if _, err := s.List(t.Context(), ""); minio.ToErrorResponse(err).Code != "" || !errors.Is(err, store.ErrDenied) || !strings.Contains(err.Error(), "signature") {
		t.Errorf("with a wrong key: %v", err)
	}
	write(t, filepath.Join(o.CredentialsFolder, "secret-access-key"), objectstore.SecretKey+"\n")
	put(t, s, "a", "b")
}

func TestS3OptionsThatCannotWork(t *testing.T) {
	for want, o := range map[string]store.S3Options{
		`the endpoint "s3.example.com" of the S3 store is no URL of a server; give one like https://s3.example.com`: {Endpoint: "s3.example.com", Bucket: "b"},
		`the endpoint "https://h/path" of the S3 store is no URL of a server; give one like https://s3.example.com`: {Endpoint: "https://h/path", Bucket: "b"},
		`the encryption "rot13" of the S3 store is unknown; use AES256, aws:kms or none`:                            {Endpoint: "https://h", Bucket: "b", Encryption: "rot13"},
		`the CA of the S3 store at https://h has no certificate; give one or more in PEM`:                           {Endpoint: "https://h", Bucket: "b", CA: []byte("x")},
	} {
		if _, err := store.NewS3(o); err == nil || err.Error() != want {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := store.NewS3(store.S3Options{Endpoint: "https://h", Bucket: "b", Prefix: "a/../b"}); err == nil || !strings.Contains(err.Error(), `"a/../b" cannot be`) {
		t.Errorf("a prefix that leaves the bucket: %v", err)
	}
}
