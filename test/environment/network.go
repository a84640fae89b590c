package environment

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
)

const (
	// isolatedVariable names the network namespace that Isolate made, so that it is not made twice.
	isolatedVariable = "ETCD_OPERATOR_TEST_NETWORK"
	bridgeName       = "pods"
	prefixLength     = 16
)

// gatewayAddress is the test process's own address in the pods' network: API server and DNS listen there.
var gatewayAddress = netip.MustParseAddr("10.245.0.1")

// Isolate moves the test binary into network and mount namespaces of its own, by executing it again in them. It must be the
// first call of TestMain. It needs root; if it fails it says so and ends the process.
func Isolate() {
	if isolated() {
		return
	}
	fmt.Fprintf(os.Stderr, "environment.Isolate: %v; the integration tests need root\n", isolate())
	os.Exit(1)
}

// isolate returns only on failure.
func isolate() error {
	runtime.LockOSThread()
	if err := syscall.Unshare(syscall.CLONE_NEWNET | syscall.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make network and mount namespaces: %w", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	namespace, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(executable, os.Args, append(os.Environ(), isolatedVariable+"="+namespace))
}

// isolated tells whether the process runs in the namespaces that Isolate made.
func isolated() bool {
	namespace, err := os.Readlink("/proc/self/ns/net")
	return err == nil && os.Getenv(isolatedVariable) == namespace
}

// requireIsolation refuses to run in the host's own network.
func requireIsolation() error {
	if !isolated() {
		return errors.New("start the test environment: the process is in the host's network; call environment.Isolate() first in TestMain")
	}
	return nil
}

// useResolver makes the test's own process look up names in the cluster's DNS.
func useResolver(folder string) error {
	file := filepath.Join(folder, "resolv.conf")
	text := fmt.Sprintf("nameserver %s\nsearch svc.cluster.local cluster.local\noptions ndots:5 timeout:1\n", gatewayAddress)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	target, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil {
		return fmt.Errorf("find the process's resolv.conf: %w", err)
	}
	if err := syscall.Mount(file, target, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("put the cluster's resolv.conf at %s: %w", target, err)
	}
	return nil
}

// clusterNetwork is the switch that the pods and the test's process are connected to.
type clusterNetwork struct {
	bridge netlink.Link

	mutex sync.Mutex
	last  netip.Addr
}

// openClusterNetwork makes the switch.
func openClusterNetwork() (*clusterNetwork, error) {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("find the loopback device: %w", err)
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return nil, fmt.Errorf("turn on the loopback device: %w", err)
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name = bridgeName
	bridge := &netlink.Bridge{LinkAttrs: attributes}
	if err := netlink.LinkAdd(bridge); err != nil {
		return nil, fmt.Errorf("make the pods' bridge (one cluster at a time can run in a test binary): %w", err)
	}
	if err := configureLink(nil, bridge, gatewayAddress); err != nil {
		return nil, errors.Join(err, netlink.LinkDel(bridge))
	}
	// The first addresses are kept for the cluster itself.
	return &clusterNetwork{bridge: bridge, last: netip.MustParseAddr("10.245.0.255")}, nil
}

// close removes the switch.
func (n *clusterNetwork) close() error {
	if err := netlink.LinkDel(n.bridge); err != nil && !errors.As(err, &netlink.LinkNotFoundError{}) {
		return fmt.Errorf("remove the pods' bridge: %w", err)
	}
	return nil
}

// nextAddress is an address that no pod had before.
func (n *clusterNetwork) nextAddress() (netip.Addr, error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	next := n.last.Next()
	if next == netip.MustParseAddr("10.245.255.255") {
		return netip.Addr{}, errors.New("all 65,000 addresses for pods were used; start another cluster")
	}
	n.last = next
	return next, nil
}

// configureLink gives a device its address and turns it on. A nil handle means the thread's own namespace.
func configureLink(handle *netlink.Handle, link netlink.Link, address netip.Addr) error {
	if handle == nil {
		handle = &netlink.Handle{}
	}
	parsed, err := netlink.ParseAddr(fmt.Sprintf("%s/%d", address, prefixLength))
	if err != nil {
		return fmt.Errorf("parse the address %s: %w", address, err)
	}
	if err := handle.AddrAdd(link, parsed); err != nil {
		return fmt.Errorf("give %s the address %s: %w", link.Attrs().Name, address, err)
	}
	if err := handle.LinkSetUp(link); err != nil {
		return fmt.Errorf("turn on %s: %w", link.Attrs().Name, err)
	}
	return nil
}

// podNetwork is a pod's network namespace, shared by its containers.
type podNetwork struct {
	address   netip.Addr
	namespace *os.File
	link      netlink.Link // the switch's end of the pod's cable
}

// connect makes a network namespace and plugs it into the switch.
func (n *clusterNetwork) connect() (*podNetwork, error) {
	address, err := n.nextAddress()
	if err != nil {
		return nil, err
	}
	pod := &podNetwork{address: address}
	finished := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		finished <- n.makeNamespace(pod)
	}()
	if err := <-finished; err != nil {
		pod.close()
		return nil, fmt.Errorf("make the network of the pod with address %s: %w", address, err)
	}
	return pod, nil
}

// makeNamespace runs on a thread of its own, which it moves into the new namespace.
func (n *clusterNetwork) makeNamespace(pod *podNetwork) error {
	outside, err := netlink.NewHandle()
	if err != nil {
		return err
	}
	defer outside.Close()
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		return err
	}
	if pod.namespace, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	inside, err := netlink.NewHandle()
	if err != nil {
		return err
	}
	defer inside.Close()
	attributes := netlink.NewLinkAttrs()
	bytes := pod.address.As4()
	attributes.Name, attributes.MasterIndex = fmt.Sprintf("pod-%d-%d", bytes[2], bytes[3]), n.bridge.Attrs().Index
	cable := &netlink.Veth{LinkAttrs: attributes, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(pod.namespace.Fd()))}
	if err := outside.LinkAdd(cable); err != nil {
		return err
	}
	pod.link = cable
	if err := outside.LinkSetUp(cable); err != nil {
		return err
	}
	loopback, err := inside.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := inside.LinkSetUp(loopback); err != nil {
		return err
	}
	card, err := inside.LinkByName("eth0")
	if err != nil {
		return err
	}
	return configureLink(inside, card, pod.address)
}

// setConnected plugs the pod's cable in or out.
func (p *podNetwork) setConnected(connected bool) error {
	change, verb := netlink.LinkSetDown, "disconnect"
	if connected {
		change, verb = netlink.LinkSetUp, "connect"
	}
	if err := change(p.link); err != nil {
		return fmt.Errorf("%s the pod with address %s: %w", verb, p.address, err)
	}
	return nil
}

// close gives the namespace up: it ends with the pod's last process. The cable is removed now, because the kernel
// clears namespaces away some time later.
func (p *podNetwork) close() {
	if p.link != nil {
		_ = netlink.LinkDel(p.link) // gone already if the namespace is
	}
	if p.namespace != nil {
		_ = p.namespace.Close()
	}
}
