package store

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // It is what some servers compare, not one for secrets.
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/encrypt"
)

const (
	// partSize is half of what an upload holds in memory, and the smallest that S3 allows. maxParts is the largest number
	// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html): objects have up to 48 GiB.
	partSize = 5 << 20
	maxParts = 10_000
	// attempts is how often a request is made before its failure counts.
	attempts = 5
	// answerLimit is how long a server may take to begin its answer.
	answerLimit = time.Minute
)

// S3Options say where a bucket is and how to get at it.
type S3Options struct {
	// Endpoint is the URL of the server; for AWS, https://s3.amazonaws.com.
	Endpoint string
	Region   string
	Bucket   string
	// Prefix comes before the names of all objects, with a slash between.
	Prefix string
	// PathStyle puts the bucket into the path of URLs rather than into the name of the host.
	PathStyle bool
	// CA are the certificates, in PEM, by which the server is known instead of by those of the system.
	CA []byte
	// CredentialsFolder has the files access-key-id, secret-access-key and, for temporary ones, session-token, as a mounted
	// Secret has. They are read again for every request, and so may change. Without it, the environment's AWS_ACCESS_KEY_ID
	// and AWS_SECRET_ACCESS_KEY are used, or else the web identity that AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN name; if AWS's own server for
	// such identities is not the right one, AWS_ENDPOINT_URL_STS names another.
	CredentialsFolder string
	// Encryption is what the server encrypts objects with: nothing, AES256 or aws:kms, the latter with KMSKey if given.
	Encryption string
	KMSKey     string
}

// S3 keeps objects in a bucket of a server that speaks S3.
type S3 struct {
	core       minio.Core
	options    S3Options
	encryption encrypt.ServerSide
	// secure is whether the server is reached by TLS.
	secure bool
	// wantsMD5 is whether the server has asked for MD5 checksums.
	wantsMD5 atomic.Bool
}

// NewS3 prepares access to a bucket. Nothing is asked of the server yet.
func NewS3(o S3Options) (*S3, error) {
	endpoint, err := parseEndpoint("S3", o.Endpoint, "https://s3.example.com", false)
	if err != nil {
		return nil, err
	}
	if o.Prefix, err = parsePrefix("S3", o.Prefix); err != nil {
		return nil, err
	}
	s := &S3{options: o, secure: endpoint.Scheme == "https"}
	switch o.Encryption {
	case "":
	case "AES256":
		s.encryption = encrypt.NewSSE()
	case "aws:kms":
		if s.encryption, err = encrypt.NewSSEKMS(o.KMSKey, nil); err != nil {
			return nil, fmt.Errorf("the KMS key %q of the S3 store: %w", o.KMSKey, err)
		}
	default:
		return nil, fmt.Errorf("the encryption %q of the S3 store is unknown; use AES256, aws:kms or none", o.Encryption)
	}
	transport, err := o.transport()
	if err != nil {
		return nil, err
	}
	identify, err := newClient("S3 store at "+o.Endpoint, o.CA, true)
	if err != nil {
		return nil, err
	}
	lookup := minio.BucketLookupDNS
	if o.PathStyle {
		lookup = minio.BucketLookupPath
	}
	client, err := minio.New(endpoint.Host, &minio.Options{
		Creds: o.credentials(identify), Secure: s.secure, Transport: transport, Region: o.Region, BucketLookup: lookup,
		MaxRetries: attempts,
	})
	if err != nil {
		return nil, fmt.Errorf("the S3 store at %s: %w", o.Endpoint, err)
	}
	s.core = minio.Core{Client: client}
	return s, nil
}

func (o S3Options) transport() (*http.Transport, error) {
	transport, err := minio.DefaultTransport(true)
	if err != nil {
		return nil, err
	}
	transport.ResponseHeaderTimeout = answerLimit
	// An object is stored as it is given.
	transport.DisableCompression = true
	if len(o.CA) > 0 {
		if err := trust(transport, x509.NewCertPool(), "S3 store at "+o.Endpoint, o.CA); err != nil {
			return nil, err
		}
	}
	return transport, nil
}

func (o S3Options) credentials(identify *http.Client) *credentials.Credentials {
	if o.CredentialsFolder != "" {
		return credentials.New(folderCredentials(o.CredentialsFolder))
	}
	if os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "" && os.Getenv("AWS_ACCESS_KEY_ID") == "" {
		return credentials.New(&credentials.IAM{Client: identify, Endpoint: os.Getenv("AWS_ENDPOINT_URL_STS")})
	}
	return credentials.NewEnvAWS()
}

// folderCredentials reads credentials from the files of a folder, which may change at any time.
type folderCredentials string

func (f folderCredentials) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	return f.Retrieve()
}

func (f folderCredentials) Retrieve() (credentials.Value, error) {
	var value credentials.Value
	for name, to := range map[string]*string{"access-key-id": &value.AccessKeyID, "secret-access-key": &value.SecretAccessKey, "session-token": &value.SessionToken} {
		content, err := os.ReadFile(filepath.Join(string(f), name))
		if err != nil && (name != "session-token" || !errors.Is(err, os.ErrNotExist)) {
			return credentials.Value{}, fmt.Errorf("the credentials of the S3 store: %w", err)
		}
		*to = strings.TrimSpace(string(content))
	}
	if value.AccessKeyID == "" || value.SecretAccessKey == "" {
		return credentials.Value{}, fmt.Errorf("the credentials of the S3 store in %s: access-key-id or secret-access-key is empty", string(f))
	}
	value.SignerType = credentials.SignatureV4
	return value, nil
}

// IsExpired has the files read again each time.
func (folderCredentials) IsExpired() bool { return true }

func (s *S3) String() string {
	return "bucket " + path.Join(s.options.Bucket, s.options.Prefix) + " at " + s.options.Endpoint
}

func (s *S3) key(name string) string { return path.Join(s.options.Prefix, name) }

// Put implements Store. The server makes the object visible when it has all parts, under the condition that the name is
// free. The parts of an upload that failed are removed.
func (s *S3) Put(ctx context.Context, name string, from io.Reader) error {
	if err := checkName(name); err != nil {
		return err
	}
	return s.failed("writing", name, putNew(ctx, s, name, from, func(from io.Reader) error { return s.write(ctx, s.key(name), from) }))
}

// write puts what fits into a part with one request, and the rest as an upload of several parts. The uploads of the library
// are not used since they drop the condition when they complete.
func (s *S3) write(ctx context.Context, key string, from io.Reader) error {
	options := minio.PutObjectOptions{ServerSideEncryption: s.encryption, ContentType: "application/octet-stream"}
	onlyNew := options
	onlyNew.SetMatchETagExcept("*")
	buffer := make([]byte, partSize)
	length, err := fill(from, buffer)
	if err != nil && err != io.EOF { //nolint:errorlint // Only the bare value is the end.
		return err
	}
	if err == io.EOF { //nolint:errorlint // As above.
		return s.send(buffer[:length], func(md5 string) error {
			_, err := s.core.PutObject(ctx, s.options.Bucket, key, bytes.NewReader(buffer[:length]), int64(length), md5, checksum(buffer[:length]), onlyNew)
			return err
		})
	}
	upload, err := s.core.NewMultipartUpload(ctx, s.options.Bucket, key, options)
	if err != nil {
		return err
	}
	parts, err := s.writeParts(ctx, key, upload, from, buffer)
	if err == nil {
		_, err = s.core.CompleteMultipartUpload(ctx, s.options.Bucket, key, upload, parts, onlyNew)
	}
	if err != nil {
		// Also whoever was told to stop cleans up. If even this fails, the bucket's rule for incomplete uploads has to.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerLimit)
		defer cancel()
		if left := s.core.AbortMultipartUpload(ctx, s.options.Bucket, key, upload); left != nil && minio.ToErrorResponse(left).Code != minio.NoSuchUpload {
			err = fmt.Errorf("%w; its parts are left behind, since they could not be removed either: %w", err, left)
		}
	}
	return err
}

// writeParts uploads the full buffer, and then all that is left to read: the next part is read while one is on its way.
func (s *S3) writeParts(ctx context.Context, key, upload string, from io.Reader, buffer []byte) ([]minio.CompletePart, error) {
	var parts []minio.CompletePart
	send := func(content []byte) error {
		if len(parts) == maxParts {
			return fmt.Errorf("it has more than the %d parts of %d MiB that S3 allows", maxParts, partSize>>20)
		}
		var part minio.ObjectPart
		err := s.send(content, func(md5 string) (err error) {
			part, err = s.core.PutObjectPart(ctx, s.options.Bucket, key, upload, len(parts)+1, bytes.NewReader(content), int64(len(content)),
				// The checksum of the whole part does instead of those of its pieces.
				minio.PutObjectPartOptions{SSE: s.encryption, Md5Base64: md5, Sha256Hex: s.partChecksum(content), DisableContentSha256: true})
			return err
		})
		if err == nil {
			parts = append(parts, minio.CompletePart{PartNumber: part.PartNumber, ETag: part.ETag})
		}
		return err
	}
	full, next := buffer, make([]byte, partSize)
	for {
		sent := make(chan error, 1)
		go func() { sent <- send(full) }()
		length, err := fill(from, next)
		if failed := <-sent; failed != nil {
			return nil, failed
		}
		switch {
		case err == nil:
			full, next = next, full
		case err != io.EOF: //nolint:errorlint // Only the bare value is the end.
			return nil, err
		case length > 0:
			return parts, send(next[:length])
		default:
			return parts, nil
		}
	}
}

// send sends content with its MD5 checksum if the server asks for that, as of buckets with object lock, for which SHA-256 does not do
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html). It is the slowest checksum of all.
func (s *S3) send(content []byte, do func(md5 string) error) error {
	if !s.wantsMD5.Load() {
		err := do("")
		if answer := minio.ToErrorResponse(err); answer.Code != "InvalidRequest" || !strings.Contains(answer.Message, "Content-MD5") {
			return err
		}
		s.wantsMD5.Store(true)
	}
	sum := md5.Sum(content) //nolint:gosec // It is what the server compares, not one for secrets.
	return do(base64.StdEncoding.EncodeToString(sum[:]))
}

// partChecksum is by what the server sees that a part came as it was sent. TLS sees to that as well, and to save its time, which is that of
// about a sixth of a backup on both sides, nothing is said then, as by AWS's own programs.
func (s *S3) partChecksum(part []byte) string {
	if s.secure {
		return ""
	}
	return checksum(part)
}

func checksum(part []byte) string {
	sum := sha256.Sum256(part)
	return hex.EncodeToString(sum[:])
}

// Get implements Store.
func (s *S3) Get(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	var options minio.GetObjectOptions
	if offset > 0 {
		if err := options.SetRange(offset, 0); err != nil {
			return nil, s.failed("reading", name, err)
		}
	}
	body, _, _, err := s.core.GetObject(ctx, s.options.Bucket, s.key(name), options)
	if minio.ToErrorResponse(err).StatusCode == http.StatusRequestedRangeNotSatisfiable {
		// There is nothing from the end on.
		if object, failed := s.Stat(ctx, name); failed == nil && object.Size == offset {
			return http.NoBody, nil
		}
	}
	if err != nil {
		return nil, s.failed("reading", name, err)
	}
	return body, nil
}

// Stat implements Store.
func (s *S3) Stat(ctx context.Context, name string) (Object, error) {
	if err := checkName(name); err != nil {
		return Object{}, err
	}
	info, err := s.core.StatObject(ctx, s.options.Bucket, s.key(name), minio.StatObjectOptions{})
	if err != nil {
		return Object{}, s.failed("looking for", name, err)
	}
	return Object{Name: name, Size: info.Size, Modified: info.LastModified}, nil
}

// List implements Store.
func (s *S3) List(ctx context.Context, prefix string) ([]Object, error) {
	root := s.options.Prefix
	if root != "" {
		root += "/"
	}
	var all []Object
	for info := range s.core.ListObjectsIter(ctx, s.options.Bucket, minio.ListObjectsOptions{Prefix: root + prefix, Recursive: true}) {
		if info.Err != nil {
			return nil, s.failed("listing", prefix, info.Err)
		}
		if name := strings.TrimPrefix(info.Key, root); checkName(name) == nil {
			all = append(all, Object{Name: name, Size: info.Size, Modified: info.LastModified})
		}
	}
	// The library ends quietly when it is told to stop: that is no list.
	return all, s.failed("listing", prefix, ctx.Err())
}

// Delete implements Store. What object lock protects stays. A bucket that has versions hides the object instead, and keeps
// it as an earlier version.
func (s *S3) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	err := s.core.RemoveObject(ctx, s.options.Bucket, s.key(name), minio.RemoveObjectOptions{})
	if minio.ToErrorResponse(err).Code == minio.AccessDenied {
		if lock := s.lock(ctx, name); lock != "" {
			err = fmt.Errorf("%w; %s (%w)", ErrRetained, lock, err)
		}
	}
	if err = s.failed("deleting", name, err); errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// lock tells what object lock says about an object, if it says something.
func (s *S3) lock(ctx context.Context, name string) string {
	info, err := s.core.StatObject(ctx, s.options.Bucket, s.key(name), minio.StatObjectOptions{})
	if err != nil {
		return ""
	}
	if info.Metadata.Get("X-Amz-Object-Lock-Legal-Hold") == "ON" {
		return "there is a legal hold on it"
	}
	if until, err := time.Parse(time.RFC3339, info.Metadata.Get("X-Amz-Object-Lock-Retain-Until-Date")); err == nil {
		return "it is kept until " + until.UTC().Format(time.RFC3339)
	}
	return ""
}

func (s *S3) failed(doing, name string, err error) error {
	if err == nil {
		return nil
	}
	switch answer := minio.ToErrorResponse(err); {
	case errors.Is(err, ErrRetained):
	case answer.Code == minio.NoSuchKey:
		err = ErrNotFound
	case answer.Code == minio.PreconditionFailed:
		err = ErrExists
	case denies(answer.StatusCode):
		err = fmt.Errorf("%w (%w)", ErrDenied, err)
	}
	return fmt.Errorf("%s %q in %s: %w", doing, name, s, err)
}
