package store

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

const (
	// firstPause is how long a request waits before it is made again; each further pause is twice as long, or as long as the
	// server asks for up to longestPause.
	firstPause   = 200 * time.Millisecond
	longestPause = 30 * time.Second
	// errorLimit is how much of an answer is read for its error.
	errorLimit = 64 << 10
)

// rest makes the requests of stores that are reached by plain HTTP.
type rest struct {
	client *http.Client
	// authorize adds what proves who asks.
	authorize func(*http.Request) error
	// explain takes the store's code and message out of an answer that is an error.
	explain func(header http.Header, body []byte) (code, message string)
}

// request is what is sent; unlike one of net/http, it can be sent again.
type request struct {
	method string
	url    *url.URL
	header map[string]string
	body   []byte
	// also is a status that is no error besides those from 200 to 299.
	also int
}

// refusal is an error that a server answered with.
type refusal struct {
	status        int
	code, message string
	pause         time.Duration
}

func (r *refusal) Error() string {
	said := strings.TrimSpace(r.code + " " + strings.Join(strings.Fields(r.message), " "))
	return strings.TrimSpace(fmt.Sprintf("the server answers %d %s: %s", r.status, http.StatusText(r.status), said))
}

// denies is whether a server's answer is that the login is unknown, or may not do this.
func denies(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}

// credentialsError is a failure to make use of the credentials that were given. Asking again does not help.
type credentialsError struct{ error }

func (e *credentialsError) Unwrap() error { return e.error }

// do makes a request until it is answered for good, in a bounded number of attempts. It is for requests that can be made
// twice. The caller closes the answer's body.
func (r *rest) do(ctx context.Context, q request) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		answer, err := r.once(ctx, q)
		if err == nil {
			return answer, nil
		}
		if err := pause(ctx, attempt, err); err != nil {
			return nil, err
		}
	}
}

// ask is do for answers of which the status or a short body matters: if that breaks off, it is asked for again.
func (r *rest) ask(ctx context.Context, q request) ([]byte, error) {
	for attempt := 1; ; attempt++ {
		body, err := readAll(r.once(ctx, q))
		if err == nil {
			return body, nil
		}
		if err := pause(ctx, attempt, err); err != nil {
			return nil, err
		}
	}
}

func readAll(answer *http.Response, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return io.ReadAll(answer.Body)
}

// once makes a request.
func (r *rest) once(ctx context.Context, q request) (*http.Response, error) {
	made, err := http.NewRequestWithContext(ctx, q.method, q.url.String(), bytes.NewReader(q.body))
	if err != nil {
		return nil, err
	}
	for name, value := range q.header {
		made.Header.Set(name, value)
	}
	if err := r.authorize(made); err != nil {
		return nil, fmt.Errorf("the login to the store: %w", err)
	}
	answer, err := r.client.Do(made)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			// The URL may have a signature.
			err = failed.Err
		}
		return nil, err
	}
	if answer.StatusCode < http.StatusMultipleChoices || answer.StatusCode == q.also {
		return answer, nil
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(answer.Body, errorLimit))
	refused := &refusal{status: answer.StatusCode}
	refused.code, refused.message = r.explain(answer.Header, body)
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil {
		refused.pause = min(time.Duration(seconds)*time.Second, longestPause)
	}
	return nil, refused
}

// pause waits before the attempt that follows one that failed. It returns why there is none.
func pause(ctx context.Context, attempt int, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !passing(err) {
		return err
	}
	if attempt >= attempts {
		return fmt.Errorf("%w (the last of %d attempts)", err, attempt)
	}
	wait := firstPause << (attempt - 1)
	wait += rand.N(wait / 2) //nolint:gosec // Attempts are spread, not kept secret.
	var refused *refusal
	if errors.As(err, &refused) {
		wait = max(wait, refused.pause)
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// passing tells whether another attempt may do better.
func passing(err error) bool {
	var refused *refusal
	var login *oauth2.RetrieveError
	var credentials *credentialsError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &refused):
		return passingStatus(refused.status)
	case errors.As(err, &login):
		return login.Response != nil && passingStatus(login.Response.StatusCode)
	default:
		return !errors.As(err, &credentials) && !errors.As(err, &certificate)
	}
}

func passingStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// newClient makes the client for a store or, with the system's certificates as well, for whoever proves our identity to it.
func newClient(store string, ca []byte, system bool) (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:errcheck // It is one.
	transport.ResponseHeaderTimeout = answerLimit
	// An object is stored as it is given.
	transport.DisableCompression = true
	roots := x509.NewCertPool()
	if system {
		var err error
		if roots, err = x509.SystemCertPool(); err != nil {
			return nil, err
		}
	}
	if len(ca) > 0 {
		if err := trust(transport, roots, store, ca); err != nil {
			return nil, err
		}
	}
	// A redirection is an answer like others: what is sent, and to whom, is not a server's to choose.
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// trust has a server known by certificates in PEM besides those of roots.
func trust(transport *http.Transport, roots *x509.CertPool, store string, ca []byte) error {
	if !roots.AppendCertsFromPEM(ca) {
		return fmt.Errorf("the CA of the %s has no certificate; give one or more in PEM", store)
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return nil
}

// parseEndpoint reads the URL of a server, which has a path for some stores only.
func parseEndpoint(store, endpoint, example string, path bool) (*url.URL, error) {
	parsed, err := url.Parse(endpoint)
	if err != nil || parsed.Host == "" || (parsed.Scheme != "https" && parsed.Scheme != "http") || !path && strings.Trim(parsed.Path, "/") != "" {
		return nil, fmt.Errorf("the endpoint %q of the %s store is no URL of a server; give one like %s", endpoint, store, example)
	}
	return &url.URL{Scheme: parsed.Scheme, Host: parsed.Host, Path: strings.TrimRight(parsed.Path, "/")}, nil
}

// parsePrefix reads what comes before the names of all objects.
func parsePrefix(store, prefix string) (string, error) {
	prefix = strings.Trim(prefix, "/")
	if prefix == "" {
		return "", nil
	}
	if err := checkName(prefix); err != nil {
		return "", fmt.Errorf("the prefix of the %s store: %w", store, err)
	}
	return prefix, nil
}

// read gets an object from an offset on.
func (r *rest) read(ctx context.Context, s Store, name string, offset int64, q request) (io.ReadCloser, error) {
	if offset > 0 {
		q.header = map[string]string{"Range": fmt.Sprintf("bytes=%d-", offset)}
	}
	answer, err := r.do(ctx, q)
	var refused *refusal
	if errors.As(err, &refused) && refused.status == http.StatusRequestedRangeNotSatisfiable {
		// There is nothing from the end on.
		if object, failed := s.Stat(ctx, name); failed == nil && object.Size == offset {
			return http.NoBody, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if offset > 0 && answer.StatusCode != http.StatusPartialContent {
		_ = answer.Body.Close()
		return nil, fmt.Errorf("the server was asked for what comes after %d bytes and answers %s instead of 206", offset, answer.Status)
	}
	return answer.Body, nil
}
