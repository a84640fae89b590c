package environment

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	dnsPort       = 53
	dnsTimeToLive = 1
	dnsTimeout    = 5 * time.Second
	reverseSuffix = ".in-addr.arpa"
)

// dnsServer is the cluster's DNS server.
type dnsServer struct {
	records clusterRecords
	packets net.PacketConn
	streams net.Listener
	running sync.WaitGroup
}

// startDNS starts a server for UDP and TCP.
func startDNS(address netip.Addr, records clusterRecords) (*dnsServer, error) {
	listen := netip.AddrPortFrom(address, dnsPort).String()
	packets, err := net.ListenPacket("udp", listen)
	if err != nil {
		return nil, fmt.Errorf("start the cluster's DNS: %w", err)
	}
	streams, err := net.Listen("tcp", listen)
	if err != nil {
		_ = packets.Close()
		return nil, fmt.Errorf("start the cluster's DNS: %w", err)
	}
	s := &dnsServer{records: records, packets: packets, streams: streams}
	s.running.Go(s.servePackets)
	s.running.Go(s.serveStreams)
	return s, nil
}

// stop ends the server.
func (s *dnsServer) stop() {
	_ = s.packets.Close()
	_ = s.streams.Close()
	s.running.Wait()
}

func (s *dnsServer) servePackets() {
	buffer := make([]byte, 4096)
	for {
		length, sender, err := s.packets.ReadFrom(buffer)
		if err != nil {
			return // closed
		}
		if response := s.answer(buffer[:length]); response != nil {
			_, _ = s.packets.WriteTo(response, sender) // a lost answer is asked for again
		}
	}
}

func (s *dnsServer) serveStreams() {
	for {
		connection, err := s.streams.Accept()
		if err != nil {
			return // closed
		}
		s.running.Go(func() {
			defer func() { _ = connection.Close() }()
			_ = connection.SetDeadline(time.Now().Add(dnsTimeout))
			var length uint16
			if binary.Read(connection, binary.BigEndian, &length) != nil {
				return
			}
			request := make([]byte, length)
			if _, err := io.ReadFull(connection, request); err != nil {
				return
			}
			response := s.answer(request)
			_, _ = connection.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(response))), response...))
		})
	}
}

// answer is the response to a request, or nil if the request cannot be read.
func (s *dnsServer) answer(request []byte) []byte {
	var parser dnsmessage.Parser
	header, err := parser.Start(request)
	if err != nil {
		return nil
	}
	question, err := parser.Question()
	if err != nil {
		return nil
	}
	bodies, exists := s.resolve(question)
	message := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: header.ID, Response: true, Authoritative: true, RecursionDesired: header.RecursionDesired, RecursionAvailable: true},
		Questions: []dnsmessage.Question{question},
	}
	if !exists {
		message.RCode = dnsmessage.RCodeNameError
	}
	for _, body := range bodies {
		message.Answers = append(message.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: dnsTimeToLive},
			Body:   body,
		})
	}
	response, err := message.Pack()
	if err != nil {
		return nil
	}
	return response
}

// resolve finds the records of a question; exists tells whether the name has any.
func (s *dnsServer) resolve(question dnsmessage.Question) (bodies []dnsmessage.ResourceBody, exists bool) {
	name := strings.ToLower(strings.TrimSuffix(question.Name.String(), "."))
	if reversed, found := strings.CutSuffix(name, reverseSuffix); found {
		address, err := reverseAddress(reversed)
		if err != nil {
			return nil, false
		}
		for _, name := range s.records.names(address) {
			if packed, err := dnsmessage.NewName(name + "."); err == nil {
				bodies = append(bodies, &dnsmessage.PTRResource{PTR: packed})
			}
		}
		return bodies, len(bodies) > 0
	}
	if strings.HasPrefix(name, "_") {
		for _, target := range s.records.targets(name) {
			if packed, err := dnsmessage.NewName(target.name + "."); err == nil {
				bodies = append(bodies, &dnsmessage.SRVResource{Priority: 0, Weight: 100, Port: target.port, Target: packed})
			}
		}
		return bodies, len(bodies) > 0
	}
	addresses, exists := s.records.addresses(name)
	if question.Type == dnsmessage.TypeA {
		for _, address := range addresses {
			bodies = append(bodies, &dnsmessage.AResource{A: address.As4()})
		}
	}
	return bodies, exists
}

// reverseAddress parses the labels of a reverse name.
func reverseAddress(labels string) (netip.Addr, error) {
	parts := strings.Split(labels, ".")
	for left, right := 0, len(parts)-1; left < right; left, right = left+1, right-1 {
		parts[left], parts[right] = parts[right], parts[left]
	}
	return netip.ParseAddr(strings.Join(parts, "."))
}
