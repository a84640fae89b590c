package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/spf13/pflag"
	ctrl "sigs.k8s.io/controller-runtime"
	webhookserver "sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/webhook"
)

// off is the address of what is not served.
const off = "0"

// webhookFlags are the settings of the admission webhook.
type webhookFlags struct{ address, configuration, service, certificates, operator string }

func (f *webhookFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.address, "webhook-bind-address", off, "where the admission webhook is served, e.g. :9443; 0 turns it off")
	flags.StringVar(&f.configuration, "webhook-configuration", "", "ValidatingWebhookConfiguration in which the operator keeps whom to trust for the webhook's certificate")
	flags.StringVar(&f.service, "webhook-service", "", "Service of the webhook in the operator's namespace, and the Secret of the same name in which the operator keeps its certificate")
	flags.StringVar(&f.certificates, "webhook-certificate-dir", "", "folder with tls.crt and tls.key to show instead of a certificate of the operator's own")
	flags.StringVar(&f.operator, "webhook-operator-user", "", "user as whom the operator talks to the API server: nobody else may change what it notes on EtcdClusters; empty means that anybody may")
}

// server is what serves the webhook, and who keeps its certificate if the operator does; nil if the webhook is off.
func (f *webhookFlags) server(namespace string) (webhookserver.Server, *webhook.Keeper, error) {
	if f.address == off {
		return nil, nil, nil
	}
	host, text, err := net.SplitHostPort(f.address)
	port, errPort := strconv.ParseUint(text, 10, 16)
	if err != nil || errPort != nil || port == 0 {
		return nil, nil, fmt.Errorf("--webhook-bind-address=%q is not an address: use [HOST]:PORT, or 0 to turn the webhook off", f.address)
	}
	var keeper *webhook.Keeper
	show := webhook.FromFiles(f.certificates)
	if f.certificates == "" {
		if f.configuration == "" || f.service == "" || namespace == "" {
			return nil, nil, fmt.Errorf("--webhook-bind-address=%q needs a certificate: set --webhook-configuration, --webhook-service and --operator-namespace, or --webhook-certificate-dir", f.address)
		}
		keeper = &webhook.Keeper{Namespace: namespace, Service: f.service, Configuration: f.configuration, Now: time.Now}
		show = keeper.GetCertificate
	}
	return webhookserver.NewServer(webhookserver.Options{Host: host, Port: int(port), TLSOpts: []func(*tls.Config){func(config *tls.Config) {
		config.MinVersion, config.GetCertificate = tls.VersionTLS12, show
	}}}), keeper, nil
}

// addTo adds the webhook, and who keeps its certificate, to a manager.
func (f *webhookFlags) addTo(mgr ctrl.Manager, keeper *webhook.Keeper, observer *observe.Observer) error {
	live, err := webhook.Client(mgr)
	if err != nil {
		return err
	}
	observer.Cache, observer.Live = live, live
	if keeper != nil {
		if keeper.Client, err = webhook.Client(mgr); err != nil {
			return err
		}
		if err := mgr.Add(keeper); err != nil {
			return err
		}
	}
	return webhook.Webhook{Scheme: mgr.GetScheme(), Observer: observer, Operator: f.operator}.Add(mgr)
}
