package objectstore

import (
	"cmp"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Fault is what happens to a request. The zero value lets it pass.
type Fault struct {
	// Status answers in the server's place, with the S3 error Code, and a Message if it matters.
	Status        int
	Code, Message string
	// CutRequest and CutResponse close the connection after so many bytes of the body; 0 is never.
	CutRequest, CutResponse int64
	// PassRequest is CutRequest, but the server gets the bytes.
	PassRequest int64
	// LoseAnswer lets the server do what it was asked, and closes the connection instead of saying so.
	LoseAnswer bool
	// Delay comes before anything else; whoever stops waiting ends it.
	Delay time.Duration
}

// Proxy stands between clients and a server, and does to each request what it was told.
type Proxy struct {
	URL string

	mutex   sync.Mutex
	decide  func(*http.Request) Fault
	Faulted int
}

// NewProxy starts a proxy that ends with the test and lets everything pass until it is told otherwise.
func NewProxy(t testing.TB, g *Gateway) *Proxy {
	t.Helper()
	target, err := url.Parse(g.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{}
	// The host is what the client signed: it stays.
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
	}, ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(forward, w, r) }))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	p.URL = server.URL
	return p
}

// Tell says what is done to requests from now on; nil lets all of them pass.
func (p *Proxy) Tell(decide func(*http.Request) Fault) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.decide, p.Faulted = decide, 0
}

// Faults is how many requests something was done to since Tell.
func (p *Proxy) Faults() int {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.Faulted
}

func (p *Proxy) fault(r *http.Request) Fault {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.decide == nil {
		return Fault{}
	}
	f := p.decide(r)
	if f != (Fault{}) {
		p.Faulted++
	}
	return f
}

func (p *Proxy) serve(forward http.Handler, w http.ResponseWriter, r *http.Request) {
	f := p.fault(r)
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	switch {
	case f.Status != 0:
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(f.Status)
		_, _ = io.WriteString(w, "<Error><Code>"+f.Code+"</Code><Message>"+cmp.Or(f.Message, "from the test")+"</Message></Error>")
	case f.CutRequest > 0:
		_, _ = io.CopyN(io.Discard, r.Body, f.CutRequest)
		panic(http.ErrAbortHandler)
	case f.PassRequest > 0:
		r.Body = io.NopCloser(io.LimitReader(r.Body, f.PassRequest))
		forward.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case f.LoseAnswer:
		forward.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case f.CutResponse > 0:
		forward.ServeHTTP(&cutWriter{ResponseWriter: w, left: f.CutResponse}, r)
	default:
		forward.ServeHTTP(w, r)
	}
}

// cutWriter closes the connection when its bytes are used up.
type cutWriter struct {
	http.ResponseWriter
	left int64
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if int64(len(p)) < c.left {
		c.left -= int64(len(p))
		return c.ResponseWriter.Write(p)
	}
	_, _ = c.ResponseWriter.Write(p[:c.left])
	_ = http.NewResponseController(c.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}
