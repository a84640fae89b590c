package environment

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// quickPeriod is how often a container that has not been ready yet is asked whether it is. A kubelet waits for
// periodSeconds; that only lengthens tests.
const quickPeriod = 40 * time.Millisecond

// prober asks one question of a container over and over.
type prober struct {
	probe   *corev1.Probe
	address netip.Addr
	ports   []corev1.ContainerPort
	client  *http.Client
}

// newProber makes a prober of a container; a nil probe has none.
func newProber(probe *corev1.Probe, address netip.Addr, ports []corev1.ContainerPort) *prober {
	if probe == nil {
		return nil
	}
	return &prober{probe: probe, address: address, ports: ports, client: &http.Client{
		Timeout: seconds(probe.TimeoutSeconds, 1),
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // as a kubelet does
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// run asks until the context ends. It reports each change of the verdict: true after successThreshold successes, false after
// failureThreshold failures. With quick, it asks often until the first verdict of success.
func (p *prober) run(ctx context.Context, started time.Time, quick bool, report func(healthy bool, cause error)) {
	if !sleep(ctx, time.Until(started.Add(seconds(p.probe.InitialDelaySeconds, 0)))) {
		return
	}
	period := seconds(p.probe.PeriodSeconds, 10)
	failureThreshold, successThreshold := max(int(p.probe.FailureThreshold), 1), max(int(p.probe.SuccessThreshold), 1)
	var failures, successes int
	var lastFailure time.Time
	known, healthy := false, false
	for {
		err := p.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			failures, successes = 0, successes+1
			if successes >= successThreshold && (!known || !healthy) {
				known, healthy, quick = true, true, false
				report(true, nil)
			}
		} else if !quick || time.Since(lastFailure) >= period {
			// Failures between the regular times do not count.
			failures, successes, lastFailure = failures+1, 0, time.Now()
			if failures >= failureThreshold && (!known || healthy || failures%failureThreshold == 0) {
				known, healthy = true, false
				report(false, err)
			}
		}
		pause := period
		if quick {
			pause = min(period, quickPeriod)
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// ask asks once.
func (p *prober) ask(ctx context.Context) error {
	switch {
	case p.probe.HTTPGet != nil:
		return p.get(ctx, p.probe.HTTPGet)
	case p.probe.TCPSocket != nil:
		host := p.probe.TCPSocket.Host
		if host == "" {
			host = p.address.String()
		}
		port, err := p.port(p.probe.TCPSocket.Port)
		if err != nil {
			return err
		}
		dialer := net.Dialer{Timeout: p.client.Timeout}
		connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return err
		}
		return connection.Close()
	}
	return errors.New("the test node agent knows only httpGet and tcpSocket probes")
}

// get asks over HTTP.
func (p *prober) get(ctx context.Context, action *corev1.HTTPGetAction) error {
	port, err := p.port(action.Port)
	if err != nil {
		return err
	}
	host := action.Host
	if host == "" {
		host = p.address.String()
	}
	scheme := strings.ToLower(string(action.Scheme))
	if scheme == "" {
		scheme = "http"
	}
	url := scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port)) + "/" + strings.TrimPrefix(action.Path, "/")
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	for _, header := range action.HTTPHeaders {
		request.Header.Add(header.Name, header.Value)
	}
	response, err := p.client.Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("HTTP probe failed with statuscode: %d", response.StatusCode)
	}
	return nil
}

// port resolves a port's number or name.
func (p *prober) port(reference intstr.IntOrString) (int, error) {
	if reference.Type == intstr.Int {
		return reference.IntValue(), nil
	}
	for _, port := range p.ports {
		if port.Name == reference.StrVal {
			return int(port.ContainerPort), nil
		}
	}
	return 0, fmt.Errorf("couldn't find port: %s", reference.StrVal)
}

// seconds is a number of seconds with a default for none.
func seconds(count, byDefault int32) time.Duration {
	if count == 0 {
		count = byDefault
	}
	return time.Duration(count) * time.Second
}

// sleep waits and tells whether the context is still alive.
func sleep(ctx context.Context, duration time.Duration) bool {
	if duration <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
