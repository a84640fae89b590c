package store

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

// gcsScope is what the login is for: objects, not buckets and their policies.
const gcsScope = "https://www.googleapis.com/auth/devstorage.read_write"

// googleLogin proves an identity to Google by tokens, each of which is used until shortly before it expires.
type googleLogin struct {
	folder string
	client *http.Client

	mutex  sync.Mutex
	key    []byte
	tokens oauth2.TokenSource
}

func (l *googleLogin) authorize(r *http.Request) error {
	tokens, err := l.source()
	if err != nil {
		return &credentialsError{err}
	}
	token, err := tokens.Token()
	if err != nil {
		return err
	}
	token.SetAuthHeader(r)
	return nil
}

// source is where tokens come from: that of before as long as the key is the same.
func (l *googleLogin) source() (oauth2.TokenSource, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	// It outlives the request for which it is made.
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, l.client)
	if l.folder == "" {
		if l.tokens == nil {
			found, err := google.FindDefaultCredentials(ctx, gcsScope)
			if err != nil {
				return nil, fmt.Errorf("no credentials are given, and the environment has none that can be used: %w", err)
			}
			l.tokens = found.TokenSource
		}
		return l.tokens, nil
	}
	file := filepath.Join(l.folder, "service-account.json")
	key, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if l.tokens == nil || !bytes.Equal(key, l.key) {
		read, err := google.CredentialsFromJSONWithType(ctx, key, google.ServiceAccount, gcsScope)
		if err != nil {
			return nil, fmt.Errorf("%s is no key of a service account: %w", file, err)
		}
		l.key, l.tokens = key, read.TokenSource
	}
	return l.tokens, nil
}
