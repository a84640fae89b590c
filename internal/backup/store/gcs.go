package store

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

// GCSOptions say where a bucket of Google Cloud Storage is and how to get at it.
type GCSOptions struct {
	// Endpoint is the URL of the server; Google's own if it is empty.
	Endpoint string
	Bucket   string
	// Prefix comes before the names of all objects, with a slash between.
	Prefix string
	// CA are the certificates, in PEM, by which the server is known instead of by those of the system.
	CA []byte
	// CredentialsFolder has the file service-account.json, the key of a service account, as a mounted Secret has. It is read
	// again for every request, and so may change. Without it, the identity of the environment is used: the file that
	// GOOGLE_APPLICATION_CREDENTIALS names, or else what Google's metadata server says who the pod is.
	CredentialsFolder string
	// KMSKey is the full name of the key that the server encrypts objects with; that of the bucket if it is empty.
	KMSKey string
}

// GCS keeps objects in a bucket of Google Cloud Storage.
type GCS struct {
	rest     *rest
	endpoint *url.URL
	options  GCSOptions
}

// NewGCS prepares access to a bucket. Nothing is asked of the server yet.
func NewGCS(o GCSOptions) (*GCS, error) {
	o.Endpoint = cmp.Or(o.Endpoint, "https://storage.googleapis.com")
	endpoint, err := parseEndpoint("GCS", o.Endpoint, "https://storage.googleapis.com", false)
	if err != nil {
		return nil, err
	}
	if o.Prefix, err = parsePrefix("GCS", o.Prefix); err != nil {
		return nil, err
	}
	name := "GCS store at " + o.Endpoint
	client, err := newClient(name, o.CA, false)
	if err != nil {
		return nil, err
	}
	identify, err := newClient(name, o.CA, true)
	if err != nil {
		return nil, err
	}
	login := &googleLogin{folder: o.CredentialsFolder, client: identify}
	return &GCS{rest: &rest{client: client, authorize: login.authorize, explain: explainGCS}, endpoint: endpoint, options: o}, nil
}

func explainGCS(_ http.Header, body []byte) (code, message string) {
	var answer struct {
		Error struct {
			Message string `json:"message"`
			Errors  []struct {
				Reason string `json:"reason"`
			} `json:"errors"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &answer) != nil {
		// Contents are asked for by requests whose errors are plain text.
		return "", string(body[:min(len(body), 200)])
	}
	if len(answer.Error.Errors) > 0 {
		code = answer.Error.Errors[0].Reason
	}
	return code, answer.Error.Message
}

func (g *GCS) String() string {
	return "bucket " + path.Join(g.options.Bucket, g.options.Prefix) + " at " + g.options.Endpoint
}

// objects is the URL of all objects of the bucket below base, or with a name that of one.
func (g *GCS) objects(base, name string, query url.Values) *url.URL {
	u := *g.endpoint
	u.Path = base + "/b/" + g.options.Bucket + "/o"
	u.RawPath = base + "/b/" + url.PathEscape(g.options.Bucket) + "/o"
	if name != "" {
		key := path.Join(g.options.Prefix, name)
		u.Path += "/" + key
		u.RawPath += "/" + url.PathEscape(key)
	}
	u.RawQuery = query.Encode()
	return &u
}

// Put implements Store. The server makes the object visible when the upload is finished, under the condition that the name
// is free. An upload that failed is canceled.
func (g *GCS) Put(ctx context.Context, name string, from io.Reader) error {
	if err := checkName(name); err != nil {
		return err
	}
	return g.failed("writing", name, putNew(ctx, g, name, from, func(from io.Reader) error { return g.write(ctx, name, from) }))
}

func (g *GCS) write(ctx context.Context, name string, from io.Reader) (err error) {
	buffer := make([]byte, partSize)
	var upload *gcsUpload
	defer func() {
		if err != nil && upload != nil {
			err = upload.cancel(ctx, err)
		}
	}()
	for end := false; !end; {
		length, err := fill(from, buffer)
		if err != nil && err != io.EOF { //nolint:errorlint // Only the bare value is the end.
			return err
		}
		end = err != nil
		if upload == nil {
			if upload, err = g.begin(ctx, name); err != nil {
				return err
			}
		}
		if err := upload.send(ctx, buffer[:length], end); err != nil {
			return err
		}
	}
	return nil
}

// begin opens the session of an upload.
func (g *GCS) begin(ctx context.Context, name string) (*gcsUpload, error) {
	query := url.Values{"uploadType": {"resumable"}, "name": {path.Join(g.options.Prefix, name)}, "ifGenerationMatch": {"0"}}
	if g.options.KMSKey != "" {
		query.Set("kmsKeyName", g.options.KMSKey)
	}
	answer, err := g.rest.do(ctx, request{
		method: http.MethodPost, url: g.objects("/upload/storage/v1", "", query),
		header: map[string]string{"Content-Type": "application/json; charset=UTF-8", "X-Upload-Content-Type": "application/octet-stream"},
		body:   []byte(`{"contentType":"application/octet-stream"}`),
	})
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	session, err := url.Parse(answer.Header.Get("Location"))
	if err != nil || session.RawQuery == "" {
		return nil, fmt.Errorf("the server began an upload without saying where to send it: its Location is %q", answer.Header.Get("Location"))
	}
	// The server may call itself by a name that is of no use here, and the login is for the endpoint only.
	session.Scheme, session.Host = g.endpoint.Scheme, g.endpoint.Host
	return &gcsUpload{rest: g.rest, session: session, sum: crc32.New(crc32.MakeTable(crc32.Castagnoli))}, nil
}

// gcsUpload sends an object in chunks. https://cloud.google.com/storage/docs/resumable-uploads
type gcsUpload struct {
	rest    *rest
	session *url.URL
	sum     interface {
		io.Writer
		Sum32() uint32
	}
	// stored is how much the server has.
	stored int64
}

// send sends the next chunk. What the server has of it after a failure is not sent again.
func (u *gcsUpload) send(ctx context.Context, chunk []byte, last bool) error {
	_, _ = u.sum.Write(chunk) // Never fails.
	begin := u.stored
	end := begin + int64(len(chunk))
	for attempt := 1; ; attempt++ {
		before := u.stored
		stored, whole, err := u.read(u.rest.once(ctx, u.chunk(chunk[u.stored-begin:], u.stored, end, last)))
		if err == nil && !whole && (stored < end || last) {
			err = fmt.Errorf("the server has only %d of %d bytes", stored, end)
		}
		if err != nil {
			if err := pause(ctx, attempt, err); err != nil {
				return err
			}
			if stored, whole, err = u.read(u.rest.do(ctx, u.chunk(nil, -1, -1, false))); err != nil {
				return err
			}
		}
		switch {
		case whole && last:
			return nil
		case whole:
			return errors.New("the server ended the upload before all was sent")
		case stored < before || stored > end:
			return fmt.Errorf("the server has %d bytes, but it had %d, and was sent %d", stored, before, end)
		}
		if u.stored = stored; stored == end && !last {
			return nil
		}
		if stored > before {
			attempt = 0
		}
	}
}

// chunk sends the content from one offset to another or, with negative ones, asks what the server has.
func (u *gcsUpload) chunk(content []byte, begin, end int64, last bool) request {
	extent, total := "*", "*"
	if len(content) > 0 {
		extent = fmt.Sprintf("%d-%d", begin, end-1)
	}
	header := map[string]string{}
	if last {
		total = strconv.FormatInt(end, 10)
		// The server refuses what does not have this sum.
		header["X-Goog-Hash"] = "crc32c=" + base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, u.sum.Sum32()))
	}
	header["Content-Range"] = "bytes " + extent + "/" + total
	return request{method: http.MethodPut, url: u.session, header: header, body: content, also: http.StatusPermanentRedirect}
}

// read takes from an answer how much the server has, and whether that is the whole object.
func (u *gcsUpload) read(answer *http.Response, err error) (stored int64, whole bool, _ error) {
	if err != nil {
		return 0, false, err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(answer.Body, errorLimit)); err != nil {
		return 0, false, err
	}
	if answer.StatusCode != http.StatusPermanentRedirect {
		return 0, true, nil
	}
	extent := answer.Header.Get("Range")
	if extent == "" {
		return 0, false, nil
	}
	last, err := strconv.ParseInt(strings.TrimPrefix(strings.TrimPrefix(extent, "bytes="), "0-"), 10, 64)
	if err != nil {
		return 0, false, fmt.Errorf("the server has the range %q, which is not from the begin of the upload on", extent)
	}
	return last + 1, false, nil
}

// cancel ends an upload after an error. Also whoever was told to stop does so. What is left otherwise, the server removes
// after a week.
func (u *gcsUpload) cancel(ctx context.Context, err error) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), answerLimit)
	defer stop()
	_, left := u.rest.ask(ctx, request{method: http.MethodDelete, url: u.session})
	var refused *refusal
	// 499 is the answer to a cancellation; what ended by itself is gone.
	if errors.As(left, &refused) && (refused.status == 499 || refused.status == http.StatusNotFound || refused.status == http.StatusGone) {
		left = nil
	}
	if left != nil {
		err = fmt.Errorf("%w; what was uploaded is left behind for a week, since the upload could not be canceled either: %w", err, left)
	}
	return err
}

// Get implements Store.
func (g *GCS) Get(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	body, err := g.rest.read(ctx, g, name, offset, request{method: http.MethodGet, url: g.objects("/storage/v1", name, url.Values{"alt": {"media"}})})
	return body, g.failed("reading", name, err)
}

// gcsObject is what the server tells about an object.
type gcsObject struct {
	Name    string    `json:"name"`
	Size    int64     `json:"size,string"`
	Updated time.Time `json:"updated"`
}

// Stat implements Store.
func (g *GCS) Stat(ctx context.Context, name string) (Object, error) {
	if err := checkName(name); err != nil {
		return Object{}, err
	}
	var told gcsObject
	body, err := g.rest.ask(ctx, request{method: http.MethodGet, url: g.objects("/storage/v1", name, url.Values{"fields": {"name,size,updated"}})})
	if err == nil {
		err = json.Unmarshal(body, &told)
	}
	if err != nil {
		return Object{}, g.failed("looking for", name, err)
	}
	return Object{Name: name, Size: told.Size, Modified: told.Updated}, nil
}

// List implements Store.
func (g *GCS) List(ctx context.Context, prefix string) ([]Object, error) {
	root := g.options.Prefix
	if root != "" {
		root += "/"
	}
	query := url.Values{"prefix": {root + prefix}, "fields": {"nextPageToken,items(name,size,updated)"}}
	var all []Object
	for {
		var page struct {
			NextPageToken string      `json:"nextPageToken"`
			Items         []gcsObject `json:"items"`
		}
		body, err := g.rest.ask(ctx, request{method: http.MethodGet, url: g.objects("/storage/v1", "", query)})
		if err == nil {
			err = json.Unmarshal(body, &page)
		}
		if err != nil {
			// A bucket that is not there is no empty list.
			return nil, fmt.Errorf("listing %q in %s: %w", prefix, g, err)
		}
		for _, told := range page.Items {
			if name := strings.TrimPrefix(told.Name, root); checkName(name) == nil {
				all = append(all, Object{Name: name, Size: told.Size, Modified: told.Updated})
			}
		}
		if page.NextPageToken == "" {
			return all, nil
		}
		query.Set("pageToken", page.NextPageToken)
	}
}

// Delete implements Store.
func (g *GCS) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	_, err := g.rest.ask(ctx, request{method: http.MethodDelete, url: g.objects("/storage/v1", name, nil)})
	if err = g.failed("deleting", name, err); errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

func (g *GCS) failed(doing, name string, err error) error {
	if err == nil {
		return nil
	}
	var refused *refusal
	if errors.As(err, &refused) {
		switch {
		case refused.status == http.StatusPreconditionFailed:
			err = ErrExists
		case refused.status == http.StatusNotFound && doing != "writing":
			// It may be the bucket that is not there: the server knows.
			err = fmt.Errorf("%w (%w)", ErrNotFound, refused)
		case refused.code == "retentionPolicyNotMet":
			err = fmt.Errorf("%w (%w)", ErrRetained, refused)
		case denies(refused.status):
			err = fmt.Errorf("%w (%w)", ErrDenied, refused)
		}
	}
	return fmt.Errorf("%s %q in %s: %w", doing, name, g, err)
}
