package store_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/objectstore"
)

// newAzure is a store whose login is the account's key.
func newAzure(t *testing.T, o store.AzureOptions) *store.Azure {
	t.Helper()
	if o.CredentialsFolder == "" {
		o.CredentialsFolder = t.TempDir()
		write(t, filepath.Join(o.CredentialsFolder, "account-key"), objectstore.AzureKey+"\n")
	}
	o.Account, o.Container, o.Prefix = objectstore.AzureAccount, objectstore.Bucket, "some/prefix"
	s, err := store.NewAzure(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// nothingLeft is of Azure: blocks that are in no list are seen by nobody, and cannot be removed.
func nothingLeft() []string { return nil }

// azurite takes seconds to start.
func TestAzure(t *testing.T) {
	server := objectstore.StartAzure(t, "", "")
	t.Run("conforms", func(t *testing.T) { conform(t, newAzure(t, store.AzureOptions{Endpoint: server.URL}), nothingLeft) })
	t.Run("uploads with faults", func(t *testing.T) { azureUploadWithFaults(t, server) })
	t.Run("requests with faults", func(t *testing.T) {
		proxy := objectstore.NewProxy(t, server)
		requestsWithFaults(t, newAzure(t, store.AzureOptions{Endpoint: proxy.URL + "/" + objectstore.AzureAccount}), proxy)
	})
	t.Run("credentials from files", func(t *testing.T) { azureCredentialsFromFiles(t, server) })
	t.Run("a container that is not there", func(t *testing.T) { azureContainerThatIsNotThere(t, server) })
}

func TestAzureWithHTTPS(t *testing.T) {
	file, key, ca := certificate(t)
	server := objectstore.StartAzure(t, file, key)
	t.Run("a custom CA", func(t *testing.T) {
		withACustomCA(t, newAzure(t, store.AzureOptions{Endpoint: server.URL}), func() store.Store {
			return newAzure(t, store.AzureOptions{Endpoint: server.URL, CA: ca})
		})
	})
	t.Run("a workload identity", func(t *testing.T) { azureWorkloadIdentity(t, server, ca) })
}

// A fault that passes is not noticed; one that stays is an error and leaves nothing.
func azureUploadWithFaults(t *testing.T, server *objectstore.Gateway) {
	proxy := objectstore.NewProxy(t, server)
	s := newAzure(t, store.AzureOptions{Endpoint: proxy.URL + "/" + objectstore.AzureAccount})
	isPut := func(comp string, full bool) func(*http.Request) bool {
		return func(r *http.Request) bool {
			return r.Method == http.MethodPut && r.URL.Query().Get("comp") == comp && full == (r.ContentLength == part)
		}
	}
	first, second, ends := isPut("block", true), isPut("block", false), isPut("blocklist", false)
	uploadWithFaults(t, s, proxy, nothingLeft, map[string]faultCase{
		"a block fails for now":                {first, objectstore.Fault{Status: 500, Code: "InternalError"}, true},
		"the server is busy":                   {second, objectstore.Fault{Status: 503, Code: "ServerBusy"}, true},
		"the connection is cut within a block": {first, objectstore.Fault{CutRequest: 1 << 20}, true},
		"the server has the begin of a block":  {first, objectstore.Fault{PassRequest: 1 << 20}, true},
		"the answer to a block is lost":        {first, objectstore.Fault{LoseAnswer: true}, true},
		"the login expires within":             {second, objectstore.Fault{Status: 403, Code: "AuthenticationFailed"}, false},
		"the account is full":                  {second, objectstore.Fault{Status: 409, Code: "AccountLimit"}, false},
		"the end fails for now":                {ends, objectstore.Fault{Status: 503, Code: "ServerBusy"}, true},
		"the end is refused":                   {ends, objectstore.Fault{Status: 403, Code: "AuthorizationFailure"}, false},
	})
}

// Credentials are read anew for each request.
func azureCredentialsFromFiles(t *testing.T, server *objectstore.Gateway) {
	folder := t.TempDir()
	s := newAzure(t, store.AzureOptions{Endpoint: server.URL, CredentialsFolder: folder})
	key, sas := filepath.Join(folder, "account-key"), filepath.Join(folder, "sas-token")
	if _, err := s.List(t.Context(), ""); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "neither account-key nor sas-token") {
		t.Errorf("without files: %v", err)
	}
	for content, want := range map[string]string{
		"?": "account-key is not base64",
		base64.StdEncoding.EncodeToString([]byte("wrong")): "403 Forbidden: AuthorizationFailure",
	} {
		write(t, key, content)
		if _, err := s.List(t.Context(), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with the key %q: %v", content, err)
		}
	}
	write(t, key, objectstore.AzureKey+"\n")
	put(t, s, "a", "b")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	write(t, sas, "?"+objectstore.AzureSAS(t, "rlwc")+"\n")
	put(t, s, "c", "d")
	if content := get(t, s, "c"); content != "d" {
		t.Errorf("it is %q", content)
	}
	if names := list(t, s, ""); !slices.Contains(names, "a") || !slices.Contains(names, "c") {
		t.Errorf("listed: %v", names)
	}
	err := s.Delete(t.Context(), "c")
	if err == nil || !strings.Contains(err.Error(), "AuthorizationPermissionMismatch") || strings.Contains(err.Error(), "sig=") {
		t.Errorf("deleting without the permission: %v", err)
	}
	write(t, sas, " ")
	if _, err := s.List(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "has no SAS token") {
		t.Errorf("with an empty token: %v", err)
	}
}

// The pod's token is exchanged for one that the store takes.
func azureWorkloadIdentity(t *testing.T, server *objectstore.Gateway, ca []byte) {
	claims, err := json.Marshal(map[string]any{
		"aud": "https://storage.azure.com", "iss": "https://sts.windows.net/tenant/", "iat": time.Now().Unix() - 60, "nbf": time.Now().Unix() - 60, "exp": time.Now().Unix() + 3600,
	})
	if err != nil {
		t.Fatal(err)
	}
	token := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims) + ".c2lnbmF0dXJl"
	exchanges := 0
	authority := serverOf(t, func(w http.ResponseWriter, r *http.Request) {
		exchanges++
		for name, want := range map[string]string{
			"grant_type": "client_credentials", "client_id": "the client", "client_assertion": "of the pod", "scope": "https://storage.azure.com/.default",
			"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
		} {
			if got := r.FormValue(name); got != want || r.URL.Path != "/tenant/oauth2/v2.0/token" {
				t.Errorf("%s is %q, not %q, at %s", name, got, want, r.URL)
			}
		}
		answerToken(w, token)
	})
	o := store.AzureOptions{
		Endpoint: server.URL, Account: objectstore.AzureAccount, Container: objectstore.Bucket, CA: ca,
	}
	s, err := store.NewAzure(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_ID", "AZURE_TENANT_ID"} {
		t.Setenv(name, "")
	}
	if _, err := s.List(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "AZURE_TENANT_ID have to be set") {
		t.Errorf("without an identity: %v", err)
	}
	pod := filepath.Join(t.TempDir(), "token")
	t.Setenv("AZURE_FEDERATED_TOKEN_FILE", pod)
	t.Setenv("AZURE_CLIENT_ID", "the client")
	t.Setenv("AZURE_TENANT_ID", "tenant")
	t.Setenv("AZURE_AUTHORITY_HOST", authority+"/")
	if _, err := s.List(t.Context(), ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the pod's token: %v", err)
	}
	write(t, pod, "of the pod\n")
	put(t, s, "a", "b")
	if content := get(t, s, "a"); content != "b" || exchanges != 1 {
		t.Errorf("it is %q after %d exchanges", content, exchanges)
	}
}

func TestAzureUploadSaysItsConditions(t *testing.T) {
	scopes, condition, sums := 0, "", 0
	server := serverOf(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut {
			w.Header().Set("X-Ms-Error-Code", "BlobNotFound")
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if r.Header.Get("X-Ms-Encryption-Scope") == "backups" {
			scopes++
		}
		if r.Header.Get("Content-Md5") != "" {
			sums++
		}
		if r.URL.Query().Get("comp") == "blocklist" {
			condition = r.Header.Get("If-None-Match")
		}
		w.WriteHeader(http.StatusCreated)
	})
	put(t, newAzure(t, store.AzureOptions{Endpoint: server, EncryptionScope: "backups"}), "a", "b")
	if scopes != 2 || sums != 2 || condition != "*" {
		t.Errorf("of two requests %d have the scope and %d a checksum; the condition is %q", scopes, sums, condition)
	}
}

// A list comes in pages, whose order is not that of names for all kinds of accounts.
func TestAzureListOfSeveralPages(t *testing.T) {
	blob := func(name string) string {
		return `<Blob><Name>some/prefix/` + name + `</Name><Properties><Content-Length>1</Content-Length><Last-Modified>Fri, 02 Jan 2026 03:04:05 GMT</Last-Modified></Properties></Blob>`
	}
	server := serverOf(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("marker") == "" {
			_, _ = io.WriteString(w, `<EnumerationResults><Blobs>`+blob("b/c")+`</Blobs><NextMarker>more</NextMarker></EnumerationResults>`)
			return
		}
		_, _ = io.WriteString(w, `<EnumerationResults><Blobs>`+blob("b-c")+`</Blobs><NextMarker /></EnumerationResults>`)
	})
	if names := list(t, newAzure(t, store.AzureOptions{Endpoint: server}), ""); strings.Join(names, " ") != "b-c b/c" {
		t.Errorf("listed: %v", names)
	}
}

func TestAzureRetention(t *testing.T) {
	for want, header := range map[string][2]string{
		"it is kept until 2027-01-02T03:04:05Z": {"X-Ms-Immutability-Policy-Until-Date", "Sat, 02 Jan 2027 03:04:05 GMT"},
		"there is a legal hold on it":           {"X-Ms-Legal-Hold", "true"},
	} {
		server := serverOf(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.Header().Set(header[0], header[1])
				w.Header().Set("Last-Modified", "Fri, 02 Jan 2026 03:04:05 GMT")
				w.Header().Set("Content-Length", "1")
				return
			}
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>BlobImmutableDueToPolicy</Code><Message>This operation is not permitted.</Message></Error>`)
		})
		err := newAzure(t, store.AzureOptions{Endpoint: server}).Delete(t.Context(), "a")
		if !errors.Is(err, store.ErrRetained) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "BlobImmutableDueToPolicy") {
			t.Errorf("the error is %v", err)
		}
	}
}

func azureContainerThatIsNotThere(t *testing.T, server *objectstore.Gateway) {
	o := store.AzureOptions{
		Endpoint: server.URL, Account: objectstore.AzureAccount, Container: "other", CredentialsFolder: t.TempDir(),
	}
	write(t, filepath.Join(o.CredentialsFolder, "account-key"), objectstore.AzureKey)
	s, err := store.NewAzure(o)
	if err != nil {
		t.Fatal(err)
	}
	_, listed := s.List(t.Context(), "")
	for doing, err := range map[string]error{"writing": s.Put(t.Context(), "a", strings.NewReader("b")), "listing": listed} {
		if err == nil || !strings.Contains(err.Error(), "ContainerNotFound") {
			t.Errorf("%s: %v", doing, err)
		}
	}
}

func TestAzureOptionsThatCannotWork(t *testing.T) {
	for want, o := range map[string]store.AzureOptions{
		`the endpoint "h:1" of the Azure store is no URL of a server; give one like https://account.blob.core.windows.net`: {Account: "a", Endpoint: "h:1"},
		`the account of the Azure store is not named; name it`:                                                             {Container: "c"},
		`the CA of the Azure store at https://a.blob.core.windows.net has no certificate; give one or more in PEM`:         {Account: "a", CA: []byte("x")},
	} {
		if _, err := store.NewAzure(o); err == nil || err.Error() != want {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := store.NewAzure(store.AzureOptions{Account: "a", Prefix: "a/../b"}); err == nil || !strings.Contains(err.Error(), `the prefix of the Azure store: "a/../b" cannot be`) {
		t.Errorf("a prefix that leaves the container: %v", err)
	}
}
