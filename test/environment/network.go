package environment

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

const (
	// isolatedVariable names the network namespace that Isolate made, so that it is not made twice.
	isolatedVariable = "ETCD_OPERATOR_TEST_NETWORK"
	linkTimeout      = 5 * time.Second
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

// clusterNetwork is the router that the pods and the test's process are connected to: the test's own network namespace.
// All hardware addresses and routes are given, so that no packet waits for, or is lost with, a question for them.
type clusterNetwork struct {
	loopback netlink.Link

	mutex sync.Mutex
	last  netip.Addr
}

// openClusterNetwork makes the router.
func openClusterNetwork() (*clusterNetwork, error) {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("find the loopback device: %w", err)
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return nil, fmt.Errorf("turn on the loopback device: %w", err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return nil, fmt.Errorf("let packets pass between pods: %w", err)
	}
	if err := configureLink(nil, loopback, gatewayAddress); err != nil {
		return nil, fmt.Errorf("make the pods' gateway (one cluster at a time can run in a test binary): %w", err)
	}
	// The first addresses are kept for the cluster itself.
	return &clusterNetwork{loopback: loopback, last: netip.MustParseAddr("10.245.0.255")}, nil
}

// close removes the router.
func (n *clusterNetwork) close() error {
	if err := netlink.AddrDel(n.loopback, &netlink.Addr{IPNet: hostRoute(gatewayAddress.AsSlice())}); err != nil {
		return fmt.Errorf("remove the pods' gateway: %w", err)
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
	parsed, err := netlink.ParseAddr(address.String() + "/32")
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
	link      netlink.Link // the router's end of the pod's cable
}

// connect makes a network namespace and plugs it into the router.
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
	if err := addCable(outside, pod); err != nil {
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
	if err := configureLink(inside, card, pod.address); err != nil {
		return err
	}
	gateway := gatewayAddress.AsSlice()
	if err := addNeighbor(inside, card, gateway, pod.hardware(routerSide)); err != nil {
		return err
	}
	if err := inside.RouteAdd(&netlink.Route{LinkIndex: card.Attrs().Index, Dst: hostRoute(gateway), Scope: netlink.SCOPE_LINK}); err != nil {
		return err
	}
	if err := inside.RouteAdd(&netlink.Route{LinkIndex: card.Attrs().Index, Gw: gateway}); err != nil {
		return err
	}
	return errors.Join(waitForLink(inside, card.Attrs().Index), waitForLink(outside, pod.link.Attrs().Index))
}

// addCable makes the pod's cable, and the router's way to the pod.
func addCable(router *netlink.Handle, pod *podNetwork) error {
	bytes := pod.address.As4()
	attributes := netlink.NewLinkAttrs()
	attributes.Name = fmt.Sprintf("pod-%d-%d", bytes[2], bytes[3])
	attributes.HardwareAddr = pod.hardware(routerSide)
	cable := &netlink.Veth{
		LinkAttrs: attributes, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(pod.namespace.Fd())), PeerHardwareAddr: pod.hardware(podSide),
	}
	if err := router.LinkAdd(cable); err != nil {
		return err
	}
	pod.link = cable
	if err := router.LinkSetUp(cable); err != nil {
		return err
	}
	if err := addNeighbor(router, cable, pod.address.AsSlice(), pod.hardware(podSide)); err != nil {
		return err
	}
	return router.RouteAdd(&netlink.Route{
		LinkIndex: cable.Attrs().Index, Dst: hostRoute(pod.address.AsSlice()), Scope: netlink.SCOPE_LINK, Src: gatewayAddress.AsSlice(),
	})
}

// The last parts of a cable's hardware addresses are those of the pod's address; these come before.
const (
	routerSide = 1
	podSide    = 2
	nobody     = 3
)

// hardware is the hardware address of a side of the pod's cable.
func (p *podNetwork) hardware(side byte) net.HardwareAddr {
	bytes := p.address.As4()
	return net.HardwareAddr{0x02, 0, 0, side, bytes[2], bytes[3]}
}

// addNeighbor gives the hardware address of a neighbor.
func addNeighbor(handle *netlink.Handle, link netlink.Link, address net.IP, hardware net.HardwareAddr) error {
	return handle.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, IP: address, HardwareAddr: hardware, State: netlink.NUD_PERMANENT})
}

// hostRoute is the network of one address.
func hostRoute(address net.IP) *net.IPNet { return &net.IPNet{IP: address, Mask: net.CIDRMask(32, 32)} }

// waitForLink waits until a device that was turned on carries packets. The kernel loses those sent before, and TCP
// repeats a lost first packet only after a second.
func waitForLink(handle *netlink.Handle, index int) error {
	for deadline := time.Now().Add(linkTimeout); ; {
		link, err := handle.LinkByIndex(index)
		if err != nil {
			return err
		}
		if link.Attrs().OperState == netlink.OperUp {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the device %s is %s, not up, after %v", link.Attrs().Name, link.Attrs().OperState, linkTimeout)
		}
		time.Sleep(time.Millisecond)
	}
}

// setConnected cuts the pod off or ends that. Packets are lost without an answer, because both sides of the cable
// address them to nobody.
func (p *podNetwork) setConnected(connected bool) error {
	router, pod, verb := p.hardware(nobody), p.hardware(nobody), "disconnect"
	if connected {
		router, pod, verb = p.hardware(routerSide), p.hardware(podSide), "connect"
	}
	err := netlink.LinkSetHardwareAddr(p.link, router)
	if err == nil {
		err = addNeighbor(&netlink.Handle{}, p.link, p.address.AsSlice(), pod)
	}
	if err != nil {
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
