package store

import (
	"cmp"
	"context"
	"crypto/md5" //nolint:gosec // It is the checksum that the server compares, not one for secrets.
	"crypto/rand"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

const (
	// azureVersion is of the protocol; all its parts that are used here are older.
	azureVersion = "2023-11-03"
	// maxBlocks is what Azure allows: objects have up to 781 GiB.
	maxBlocks = 50_000
)

// AzureOptions say where a container of Azure Blob Storage is and how to get at it.
type AzureOptions struct {
	// Endpoint is the URL of the account, if it is not https://ACCOUNT.blob.core.windows.net.
	Endpoint  string
	Account   string
	Container string
	// Prefix comes before the names of all objects, with a slash between.
	Prefix string
	// CA are the certificates, in PEM, by which the server is known instead of by those of the system.
	CA []byte
	// CredentialsFolder has the file account-key or sas-token, as a mounted Secret has. It is read again for every request,
	// and so may change. Without it, the workload identity is used that AZURE_FEDERATED_TOKEN_FILE, AZURE_CLIENT_ID,
	// AZURE_TENANT_ID and AZURE_AUTHORITY_HOST name.
	CredentialsFolder string
	// EncryptionScope says which key the server encrypts objects with; that of the container if it is empty.
	EncryptionScope string
}

// Azure keeps objects in a container of Azure Blob Storage, as block blobs.
type Azure struct {
	rest     *rest
	endpoint *url.URL
	options  AzureOptions
}

// NewAzure prepares access to a container. Nothing is asked of the server yet.
func NewAzure(o AzureOptions) (*Azure, error) {
	if o.Account == "" {
		return nil, errors.New("the account of the Azure store is not named; name it")
	}
	o.Endpoint = cmp.Or(o.Endpoint, "https://"+o.Account+".blob.core.windows.net")
	endpoint, err := parseEndpoint("Azure", o.Endpoint, "https://account.blob.core.windows.net", true)
	if err != nil {
		return nil, err
	}
	if o.Prefix, err = parsePrefix("Azure", o.Prefix); err != nil {
		return nil, err
	}
	name := "Azure store at " + o.Endpoint
	client, err := newClient(name, o.CA, false)
	if err != nil {
		return nil, err
	}
	identify, err := newClient(name, o.CA, true)
	if err != nil {
		return nil, err
	}
	login := &azureLogin{account: o.Account, folder: o.CredentialsFolder, client: identify}
	return &Azure{rest: &rest{client: client, authorize: login.authorize, explain: explainAzure}, endpoint: endpoint, options: o}, nil
}

func explainAzure(header http.Header, body []byte) (code, message string) {
	var answer struct {
		Code    string
		Message string
	}
	// Questions for the head of an object are answered without a body.
	_ = xml.Unmarshal(body, &answer)
	return cmp.Or(header.Get("X-Ms-Error-Code"), answer.Code), answer.Message
}

func (a *Azure) String() string {
	return "container " + path.Join(a.options.Container, a.options.Prefix) + " at " + a.options.Endpoint
}

// blob is the URL of an object or, without name, of the container.
func (a *Azure) blob(name string, query url.Values) *url.URL {
	u := *a.endpoint
	u.Path += "/" + a.options.Container
	if name != "" {
		u.Path += "/" + path.Join(a.options.Prefix, name)
	}
	u.RawQuery = query.Encode()
	return &u
}

// Put implements Store. The server makes the object visible when it gets the list of its blocks, under the condition that
// the name is free. Blocks that are in no list cannot be removed; the server does so after a week.
func (a *Azure) Put(ctx context.Context, name string, from io.Reader) error {
	if err := checkName(name); err != nil {
		return err
	}
	return a.failed("writing", name, putNew(ctx, a, name, from, func(from io.Reader) error { return a.write(ctx, name, from) }))
}

func (a *Azure) write(ctx context.Context, name string, from io.Reader) error {
	buffer := make([]byte, partSize)
	// Two writers of a name must not take each other's blocks for their own.
	upload := rand.Text()
	var blocks struct {
		XMLName     xml.Name `xml:"BlockList"`
		Uncommitted []string
	}
	for end := false; !end; {
		length, err := fill(from, buffer)
		if err != nil && err != io.EOF { //nolint:errorlint // Only the bare value is the end.
			return err
		}
		if end = err != nil; length == 0 {
			break
		}
		if len(blocks.Uncommitted) == maxBlocks {
			return fmt.Errorf("it has more than the %d blocks of %d MiB that Azure allows", maxBlocks, partSize>>20)
		}
		block := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s-%05d", upload, len(blocks.Uncommitted)))
		if err := a.send(ctx, name, url.Values{"comp": {"block"}, "blockid": {block}}, nil, buffer[:length]); err != nil {
			return err
		}
		blocks.Uncommitted = append(blocks.Uncommitted, block)
	}
	list, err := xml.Marshal(blocks)
	if err != nil {
		return err
	}
	onlyNew := map[string]string{"If-None-Match": "*", "X-Ms-Blob-Content-Type": "application/octet-stream"}
	return a.send(ctx, name, url.Values{"comp": {"blocklist"}}, onlyNew, list)
}

// send sends a part of an upload.
func (a *Azure) send(ctx context.Context, name string, query url.Values, header map[string]string, body []byte) error {
	sum := md5.Sum(body) //nolint:gosec // As above.
	all := map[string]string{"Content-Md5": base64.StdEncoding.EncodeToString(sum[:])}
	if a.options.EncryptionScope != "" {
		all["X-Ms-Encryption-Scope"] = a.options.EncryptionScope
	}
	for name, value := range header {
		all[name] = value
	}
	_, err := a.rest.ask(ctx, request{method: http.MethodPut, url: a.blob(name, query), header: all, body: body})
	return err
}

// Get implements Store.
func (a *Azure) Get(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	body, err := a.rest.read(ctx, a, name, offset, request{method: http.MethodGet, url: a.blob(name, nil)})
	return body, a.failed("reading", name, err)
}

// Stat implements Store.
func (a *Azure) Stat(ctx context.Context, name string) (Object, error) {
	if err := checkName(name); err != nil {
		return Object{}, err
	}
	object, _, err := a.head(ctx, name)
	return object, a.failed("looking for", name, err)
}

// head asks for all that the server tells about an object.
func (a *Azure) head(ctx context.Context, name string) (Object, http.Header, error) {
	answer, err := a.rest.do(ctx, request{method: http.MethodHead, url: a.blob(name, nil)})
	if err != nil {
		return Object{}, nil, err
	}
	defer answer.Body.Close()
	modified, err := http.ParseTime(answer.Header.Get("Last-Modified"))
	if err == nil && answer.ContentLength < 0 {
		err = errors.New("the server does not tell its size")
	}
	if err != nil {
		return Object{}, nil, err
	}
	return Object{Name: name, Size: answer.ContentLength, Modified: modified}, answer.Header, nil
}

// List implements Store.
func (a *Azure) List(ctx context.Context, prefix string) ([]Object, error) {
	root := a.options.Prefix
	if root != "" {
		root += "/"
	}
	query := url.Values{"restype": {"container"}, "comp": {"list"}, "prefix": {root + prefix}}
	var all []Object
	for {
		var page struct {
			NextMarker string
			Blobs      []struct {
				Name       string
				Properties struct {
					Size     int64  `xml:"Content-Length"`
					Modified string `xml:"Last-Modified"`
				}
			} `xml:"Blobs>Blob"`
		}
		body, err := a.rest.ask(ctx, request{method: http.MethodGet, url: a.blob("", query)})
		if err == nil {
			err = xml.Unmarshal(body, &page)
		}
		if err != nil {
			return nil, a.failed("listing", prefix, err)
		}
		for _, told := range page.Blobs {
			modified, err := http.ParseTime(told.Properties.Modified)
			if err != nil {
				return nil, a.failed("listing", prefix, fmt.Errorf("of %q the server tells: %w", told.Name, err))
			}
			if name := strings.TrimPrefix(told.Name, root); checkName(name) == nil {
				all = append(all, Object{Name: name, Size: told.Properties.Size, Modified: modified})
			}
		}
		if page.NextMarker == "" {
			break
		}
		query.Set("marker", page.NextMarker)
	}
	// The order of the server's is not the same for all kinds of accounts.
	slices.SortFunc(all, func(a, b Object) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// Delete implements Store. What a policy of immutability protects stays.
func (a *Azure) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	_, err := a.rest.ask(ctx, request{method: http.MethodDelete, url: a.blob(name, nil)})
	var refused *refusal
	if errors.As(err, &refused) && strings.HasPrefix(refused.code, "BlobImmutable") {
		err = fmt.Errorf("%w; %s (%w)", ErrRetained, a.retained(ctx, name), refused)
	}
	if err = a.failed("deleting", name, err); errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// retained tells until when an object has to stay, as far as the server says so.
func (a *Azure) retained(ctx context.Context, name string) string {
	_, head, err := a.head(ctx, name)
	if err != nil {
		return "until when is not known"
	}
	if head.Get("X-Ms-Legal-Hold") == "true" {
		return "there is a legal hold on it"
	}
	until, err := http.ParseTime(head.Get("X-Ms-Immutability-Policy-Until-Date"))
	if err != nil {
		return "its container has a policy"
	}
	return "it is kept until " + until.UTC().Format(time.RFC3339)
}

func (a *Azure) failed(doing, name string, err error) error {
	if err == nil {
		return nil
	}
	var refused *refusal
	if errors.As(err, &refused) {
		switch {
		case refused.code == "BlobAlreadyExists" || refused.code == "ConditionNotMet":
			err = ErrExists
		case refused.code == "BlobNotFound":
			err = ErrNotFound
		case denies(refused.status):
			err = fmt.Errorf("%w (%w)", ErrDenied, refused)
		}
	}
	return fmt.Errorf("%s %q in %s: %w", doing, name, a, err)
}
