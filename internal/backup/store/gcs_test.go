package store_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/objectstore"
)

// newGCS is a store whose login is that of a service account, proven to a token server of the test.
func newGCS(t *testing.T, o store.GCSOptions) *store.GCS {
	t.Helper()
	if o.CredentialsFolder == "" {
		o.CredentialsFolder = t.TempDir()
		serviceAccount(t, o.CredentialsFolder, tokens(t, "token"))
	}
	o.Bucket, o.Prefix = objectstore.Bucket, "some/prefix"
	s, err := store.NewGCS(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// accountKey takes long to make.
var accountKey = sync.OnceValues(func() ([]byte, error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(private)
})

func serviceAccount(t *testing.T, folder, tokenServer string) {
	t.Helper()
	encoded, err := accountKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "backups@example.com", "private_key_id": "1", "token_uri": tokenServer,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})),
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "service-account.json"), string(key))
}

// tokens is the URL of a server that gives every service account the same token.
func tokens(t *testing.T, token string) string {
	t.Helper()
	return serverOf(t, func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || r.FormValue("assertion") == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		answerToken(w, token)
	})
}

func answerToken(w http.ResponseWriter, token string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"access_token": "`+token+`", "token_type": "Bearer", "expires_in": 3600, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}`)
}

// serverOf is the URL of a server that answers as it is told.
func serverOf(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return server.URL
}

// The server ends uploads, and so refuses what is taken, by itself. Of what was canceled it does not tell.
func TestGCSConforms(t *testing.T) {
	conform(t, newGCS(t, store.GCSOptions{Endpoint: objectstore.StartGCS(t, "", "").URL}), func() []string { return nil })
}

// A fault that passes is not noticed; one that stays is an error and leaves nothing.
func TestGCSUploadWithFaults(t *testing.T) {
	server := objectstore.NewResumable(t, objectstore.StartGCS(t, "", ""))
	proxy := objectstore.NewProxy(t, &server.Gateway)
	s := newGCS(t, store.GCSOptions{Endpoint: proxy.URL})
	begins := func(r *http.Request) bool { return r.Method == http.MethodPost }
	sends := func(extent string) func(*http.Request) bool {
		return func(r *http.Request) bool {
			return r.Method == http.MethodPut && r.Header.Get("Content-Range") == extent
		}
	}
	first, last := sends(fmt.Sprintf("bytes 0-%d/*", part-1)), sends(fmt.Sprintf("bytes %d-%d/%d", part, part+999, part+1000))
	either := func(r *http.Request) bool { return first(r) || last(r) || sends("bytes */*")(r) }
	uploadWithFaults(t, s, proxy, server.Open, map[string]faultCase{
		"the upload cannot begin for now":      {begins, objectstore.Fault{Status: 503}, true},
		"it may not begin":                     {begins, objectstore.Fault{Status: 403, Code: "forbidden"}, false},
		"the server is away when it begins":    {begins, objectstore.Fault{CutRequest: 1}, true},
		"a chunk fails for now":                {first, objectstore.Fault{Status: 500}, true},
		"the connection is cut within a chunk": {first, objectstore.Fault{CutRequest: 1 << 20}, true},
		"the server has the begin of a chunk":  {first, objectstore.Fault{PassRequest: 5 << 20}, true},
		"the answer to a chunk is lost":        {first, objectstore.Fault{LoseAnswer: true}, true},
		"the connection is cut within the end": {last, objectstore.Fault{CutRequest: 500}, true},
		"the answer to the end is lost":        {last, objectstore.Fault{LoseAnswer: true}, true},
		"the end fails for now":                {last, objectstore.Fault{Status: 503}, true},
		"the login expires within":             {last, objectstore.Fault{Status: 401, Code: "authError"}, false},
		"the end is refused":                   {last, objectstore.Fault{Status: 403, Code: "forbidden"}, false},
		"the session is gone":                  {last, objectstore.Fault{Status: 410, Code: "gone"}, false},
		"the server redirects to another":      {begins, objectstore.Fault{Status: 302}, false},
		"a chunk is slow":                      {first, objectstore.Fault{Delay: 300 * time.Millisecond}, true},
		"no attempt gets through":              {either, objectstore.Fault{Status: 503}, false},
	})
}

func TestGCSRequestsWithFaults(t *testing.T) {
	proxy := objectstore.NewProxy(t, objectstore.StartGCS(t, "", ""))
	requestsWithFaults(t, newGCS(t, store.GCSOptions{Endpoint: proxy.URL}), proxy)
}

// Whoever was faster is not replaced, and the upload does not stay.
func TestGCSRaceIsDecidedAtTheEnd(t *testing.T) {
	server := objectstore.NewResumable(t, objectstore.StartGCS(t, "", ""))
	s := newGCS(t, store.GCSOptions{Endpoint: server.URL})
	faster := readerFunc(func([]byte) (int, error) {
		put(t, s, "race", "first")
		return 0, io.EOF
	})
	if err := s.Put(t.Context(), "race", io.MultiReader(bytes.NewReader(sample(part+5)), faster)); !errors.Is(err, store.ErrExists) {
		t.Errorf("the error is %v", err)
	}
	if content := get(t, s, "race"); content != "first" {
		t.Errorf("the object has %d bytes", len(content))
	}
	if open := server.Open(); len(open) > 0 {
		t.Errorf("left over: %v", open)
	}
}

func TestGCSWithACustomCA(t *testing.T) {
	file, key, ca := certificate(t)
	o := store.GCSOptions{Endpoint: objectstore.StartGCS(t, file, key).URL}
	withACustomCA(t, newGCS(t, o), func() store.Store {
		o.CA = ca
		return newGCS(t, o)
	})
}

// What is sent with the first request of an upload decides how the server stores it, and whether it may take a name.
func TestGCSUploadBeginsWithItsConditions(t *testing.T) {
	var begun *http.Request
	server := serverOf(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPost:
			begun = r
			w.Header().Set("Location", "/upload?upload_id=1")
		case http.MethodGet:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	put(t, newGCS(t, store.GCSOptions{Endpoint: server, KMSKey: "projects/p/locations/l/keyRings/r/cryptoKeys/k"}), "a", "b")
	for name, want := range map[string]string{"ifGenerationMatch": "0", "kmsKeyName": "projects/p/locations/l/keyRings/r/cryptoKeys/k", "name": "some/prefix/a"} {
		if got := begun.URL.Query().Get(name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	if login := begun.Header.Get("Authorization"); login != "Bearer token" {
		t.Errorf("the login is %q", login)
	}
}

func TestGCSRetention(t *testing.T) {
	server := serverOf(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"error": {"code": 403, "message": "Object 'backups/a' is subject to object retention and cannot be deleted until 2027-01-02T03:04:05Z",
			"errors": [{"reason": "retentionPolicyNotMet"}]}}`)
	})
	err := newGCS(t, store.GCSOptions{Endpoint: server}).Delete(t.Context(), "a")
	if !errors.Is(err, store.ErrRetained) || !strings.Contains(err.Error(), "cannot be deleted until 2027-01-02T03:04:05Z") {
		t.Errorf("the error is %v", err)
	}
}

func TestGCSBucketThatIsNotThere(t *testing.T) {
	o := store.GCSOptions{Endpoint: objectstore.StartGCS(t, "", "").URL, Bucket: "other", CredentialsFolder: t.TempDir()}
	serviceAccount(t, o.CredentialsFolder, tokens(t, "token"))
	s, err := store.NewGCS(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "a", strings.NewReader("b")); err == nil || !strings.Contains(err.Error(), `writing "a" in bucket other at`) {
		t.Errorf("writing: %v", err)
	}
	if objects, err := s.List(t.Context(), ""); err == nil {
		t.Errorf("listing: %v", objects)
	}
}

// A list comes in pages.
func TestGCSListOfSeveralPages(t *testing.T) {
	server := serverOf(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("pageToken") == "" {
			_, _ = io.WriteString(w, `{"nextPageToken": "more", "items": [{"name": "some/prefix/a", "size": "1", "updated": "2026-01-02T03:04:05Z"}]}`)
			return
		}
		_, _ = io.WriteString(w, `{"items": [{"name": "some/prefix/b", "size": "2", "updated": "2026-01-02T03:04:05Z"}]}`)
	})
	if names := list(t, newGCS(t, store.GCSOptions{Endpoint: server}), ""); strings.Join(names, " ") != "a b" {
		t.Errorf("listed: %v", names)
	}
}

// A server that does not know ranges would have a torn download begin anew in its middle.
func TestGCSServerWithoutRanges(t *testing.T) {
	server := serverOf(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "0123456789") })
	if _, err := newGCS(t, store.GCSOptions{Endpoint: server}).Get(t.Context(), "a", 5); err == nil || !strings.Contains(err.Error(), "200 OK instead of 206") {
		t.Errorf("the error is %v", err)
	}
}

// loginOf is what a store of Google shows its server.
func loginOf(t *testing.T, o store.GCSOptions) func() (string, error) {
	t.Helper()
	var login string
	o.Bucket = objectstore.Bucket
	o.Endpoint = serverOf(t, func(w http.ResponseWriter, r *http.Request) {
		login = r.Header.Get("Authorization")
		_, _ = io.WriteString(w, `{}`)
	})
	s, err := store.NewGCS(o)
	if err != nil {
		t.Fatal(err)
	}
	return func() (string, error) {
		login = ""
		_, err := s.List(t.Context(), "")
		return login, err
	}
}

// The key is read anew for each request.
func TestGCSCredentialsFromFiles(t *testing.T) {
	folder := t.TempDir()
	login := loginOf(t, store.GCSOptions{CredentialsFolder: folder})
	if _, err := login(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a key: %v", err)
	}
	write(t, filepath.Join(folder, "service-account.json"), `{"type": "external_account"}`)
	if _, err := login(); err == nil || !strings.Contains(err.Error(), "service-account.json is no key of a service account") {
		t.Errorf("with another kind of credentials: %v", err)
	}
	for _, token := range []string{"first", "second"} {
		serviceAccount(t, folder, tokens(t, token))
		if got, err := login(); err != nil || got != "Bearer "+token {
			t.Errorf("the login is %q, not that of the %s key: %v", got, token, err)
		}
	}
	refused := serverOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}`)
	})
	serviceAccount(t, folder, refused)
	if _, err := login(); err == nil || !strings.Contains(err.Error(), "Invalid JWT Signature") || strings.Contains(err.Error(), "attempts") {
		t.Errorf("with a key that was deleted: %v", err)
	}
}

func TestGCSCredentialsOfTheEnvironment(t *testing.T) {
	t.Run("a federated identity", func(t *testing.T) {
		exchange := serverOf(t, func(w http.ResponseWriter, r *http.Request) {
			if r.FormValue("subject_token") != "of the pod" || r.FormValue("audience") != "pool" {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			answerToken(w, "federated")
		})
		folder := t.TempDir()
		write(t, filepath.Join(folder, "token"), "of the pod")
		write(t, filepath.Join(folder, "config.json"), `{"type": "external_account", "audience": "pool", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
			"token_url": "`+exchange+`", "credential_source": {"file": "`+filepath.Join(folder, "token")+`"}}`)
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(folder, "config.json"))
		if login, err := loginOf(t, store.GCSOptions{})(); err != nil || login != "Bearer federated" {
			t.Errorf("the login is %q, %v", login, err)
		}
	})
	t.Run("the metadata server", func(t *testing.T) {
		metadata := serverOf(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Metadata-Flavor") == "Google" && strings.HasSuffix(r.URL.Path, "/instance/service-accounts/default/token") {
				answerToken(w, "of the node")
			}
		})
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
		t.Setenv("HOME", t.TempDir())
		t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(metadata, "http://"))
		if login, err := loginOf(t, store.GCSOptions{})(); err != nil || login != "Bearer of the node" {
			t.Errorf("the login is %q, %v", login, err)
		}
	})
	t.Run("none", func(t *testing.T) {
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none"))
		if _, err := loginOf(t, store.GCSOptions{})(); err == nil || !strings.Contains(err.Error(), "the environment has none that can be used") {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestGCSOptionsThatCannotWork(t *testing.T) {
	for want, o := range map[string]store.GCSOptions{
		`the endpoint "h:1" of the GCS store is no URL of a server; give one like https://storage.googleapis.com`: {Endpoint: "h:1"},
		`the CA of the GCS store at https://h has no certificate; give one or more in PEM`:                        {Endpoint: "https://h", CA: []byte("x")},
	} {
		if _, err := store.NewGCS(o); err == nil || err.Error() != want {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := store.NewGCS(store.GCSOptions{Prefix: "a/../b"}); err == nil || !strings.Contains(err.Error(), `the prefix of the GCS store: "a/../b" cannot be`) {
		t.Errorf("a prefix that leaves the bucket: %v", err)
	}
}
