package store

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// azureLogin proves an identity to Azure: by a signature of the account's key, a signature that was given (SAS), or tokens
// of the workload identity.
type azureLogin struct {
	account, folder string
	client          *http.Client

	mutex  sync.Mutex
	tokens oauth2.TokenSource
}

func (l *azureLogin) authorize(r *http.Request) error {
	r.Header.Set("X-Ms-Version", azureVersion)
	r.Header.Set("X-Ms-Date", time.Now().UTC().Format(http.TimeFormat))
	if l.folder == "" {
		token, err := l.source().Token()
		if err == nil {
			token.SetAuthHeader(r)
		}
		return err
	}
	key, err := os.ReadFile(filepath.Join(l.folder, "account-key"))
	if err == nil {
		return l.sign(r, strings.TrimSpace(string(key)))
	}
	sas, missing := os.ReadFile(filepath.Join(l.folder, "sas-token"))
	if missing != nil {
		return &credentialsError{fmt.Errorf("%s has neither account-key nor sas-token: %w; %w", l.folder, err, missing)}
	}
	given := strings.TrimPrefix(strings.TrimSpace(string(sas)), "?")
	if _, err := url.ParseQuery(given); err != nil || given == "" {
		return &credentialsError{fmt.Errorf("%s has no SAS token; give one like sv=…&sig=…", filepath.Join(l.folder, "sas-token"))}
	}
	if r.URL.RawQuery != "" {
		given = r.URL.RawQuery + "&" + given
	}
	r.URL.RawQuery = given
	return nil
}

// sign signs a request with the key of the account.
// https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
func (l *azureLogin) sign(r *http.Request, key string) error {
	secret, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(secret) == 0 {
		return &credentialsError{fmt.Errorf("%s is not base64; give the account's key as Azure shows it", filepath.Join(l.folder, "account-key"))}
	}
	lines := []string{r.Method}
	for _, name := range []string{
		"Content-Encoding", "Content-Language", "Content-Length", "Content-Md5", "Content-Type", "Date",
		"If-Modified-Since", "If-Match", "If-None-Match", "If-Unmodified-Since", "Range",
	} {
		value := r.Header.Get(name)
		if name == "Content-Length" && r.ContentLength > 0 {
			value = strconv.FormatInt(r.ContentLength, 10)
		}
		lines = append(lines, value)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-ms-") {
			lines = append(lines, lower+":"+r.Header.Get(name))
		}
	}
	lines = append(lines, "/"+l.account+r.URL.EscapedPath())
	query := r.URL.Query()
	for _, name := range slices.Sorted(maps.Keys(query)) {
		lines = append(lines, name+":"+strings.Join(query[name], ","))
	}
	code := hmac.New(sha256.New, secret)
	_, _ = code.Write([]byte(strings.Join(lines, "\n"))) // Never fails.
	r.Header.Set("Authorization", "SharedKey "+l.account+":"+base64.StdEncoding.EncodeToString(code.Sum(nil)))
	return nil
}

// source is where tokens come from, each of which is used until shortly before it expires.
func (l *azureLogin) source() oauth2.TokenSource {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.tokens == nil {
		l.tokens = oauth2.ReuseTokenSource(nil, workloadIdentity{l.client})
	}
	return l.tokens
}

// workloadIdentity exchanges the token of the pod's service account for one of Azure.
// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
type workloadIdentity struct{ client *http.Client }

// Token reads the pod's token each time: it changes.
func (w workloadIdentity) Token() (*oauth2.Token, error) {
	file, client, tenant := os.Getenv("AZURE_FEDERATED_TOKEN_FILE"), os.Getenv("AZURE_CLIENT_ID"), os.Getenv("AZURE_TENANT_ID")
	if file == "" || client == "" || tenant == "" {
		return nil, &credentialsError{errors.New("no credentials are given, and the environment has no workload identity: " +
			"AZURE_FEDERATED_TOKEN_FILE, AZURE_CLIENT_ID and AZURE_TENANT_ID have to be set")}
	}
	assertion, err := os.ReadFile(file) //nolint:gosec // The environment is whoever runs the agent.
	if err != nil {
		return nil, &credentialsError{err}
	}
	authority := strings.TrimRight(cmp.Or(os.Getenv("AZURE_AUTHORITY_HOST"), "https://login.microsoftonline.com"), "/")
	exchange := clientcredentials.Config{
		ClientID: client, TokenURL: authority + "/" + url.PathEscape(tenant) + "/oauth2/v2.0/token", AuthStyle: oauth2.AuthStyleInParams,
		Scopes: []string{"https://storage.azure.com/.default"},
		EndpointParams: url.Values{
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			"client_assertion":      {strings.TrimSpace(string(assertion))},
		},
	}
	return exchange.Token(context.WithValue(context.Background(), oauth2.HTTPClient, w.client))
}
