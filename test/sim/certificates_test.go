package sim

import (
	"slices"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// certifiers are operators with one mistake each in what they do about certificates, and how members talk to each other.
var certifiers = []mutant{
	{"lets an authority sign before all trust it", Understood, talking(changing(3, 0, 1, Certs)), certifies(core.UseAuthority, func(p core.Plane) bool { return p.Next }), false},
	{"distrusts an authority before its certificates are gone", Understood, talking(changing(3, 0, 1, Certs)), presents, false},
	{"uses an authority that nobody trusts", Settles, talking(changing(3, 1, 0, Certs)), certifies(core.UseAuthority, func(p core.Plane) bool { return p.Trust == core.TrustLacks }), false},
	{"makes anew what members depend on", Understood, talking(changing(3, 2, 0, Certs)), losesNothing, true},
	{"never lets the next authority sign", Delivers, talking(changing(3, 0, 1, Certs)), never(core.UseAuthority), false},
	{"never renews", Delivers, talking(changing(3, 1, 0, Certs)), never(core.IssueCertificates), false},
	{"trusts the old authority for ever", Delivers, talking(changing(3, 0, 1, Certs)), never(core.DistrustOthers), false},
	{"moves a member before all can dial it", Understood, secured(changing(3, 0, 1, Certs)), movesEarly, false},
	{"never moves a member", Delivers, secured(changing(3, 0, 1, Certs)), without(isA[core.MovePeerURL]), false},
	{"records on volumes that members talk otherwise", Understood, secured(World{Size: 3, Edits: 1, Incarnations: 2, Remade: true, Topics: Certs}), recordsTLS, false},
	{"goes to TLS at once", Understood, staged(secured(changing(3, 0, 1, Certs)), atOnce), core.Decide, false},
}

// staged is a world in which observe works out something else.
func staged(w World, stage func(bool, core.Peers) core.Peers) World {
	w.Stage = stage
	return w
}

func atOnce(tls bool, _ core.Peers) core.Peers {
	if tls {
		return core.PeersTLS
	}
	return core.PeersPlain
}

// certifies does one step as soon as there is reason for it, and does not wait for anybody.
func certifies(change core.CertificateChange, when func(core.Plane) bool) func(core.Observation) core.Decision {
	return func(o core.Observation) core.Decision {
		d := core.Decide(o)
		if len(o.Planes) > 0 && when(o.Planes[0]) {
			d.Actions = []core.Action{core.WriteCertificates{Plane: o.Planes[0].Name, Version: o.Planes[0].Version, Change: change}}
		}
		return d
	}
}

// changed is the core with other planes.
func changed(o core.Observation, change func(*core.Plane)) core.Decision {
	o.Planes = slices.Clone(o.Planes)
	for i := range o.Planes {
		change(&o.Planes[i])
	}
	return core.Decide(o)
}

func presents(o core.Observation) core.Decision {
	return changed(o, func(p *core.Plane) { p.Presented = true })
}

func losesNothing(o core.Observation) core.Decision {
	return changed(o, func(p *core.Plane) {
		if p.Lost != "" {
			p.Lost, p.AuthorityDue = "", "there is none"
		}
	})
}

func never(change core.CertificateChange) func(core.Observation) core.Decision {
	return without(func(action core.Action) bool {
		write, is := action.(core.WriteCertificates)
		return is && write.Change == change
	})
}

// recordsTLS records on volumes that members talk TLS, whatever they do.
func recordsTLS(o core.Observation) core.Decision {
	d := core.Decide(o)
	for _, action := range d.Actions {
		if mark, is := action.(core.MarkVolumes); is {
			for i := range mark.Volumes {
				mark.Volumes[i].Peers = core.PeersTLS
			}
		}
	}
	return d
}

func movesEarly(o core.Observation) core.Decision {
	d := core.Decide(o)
	for _, l := range o.Etcd.List.Members {
		if l.MovesTo != "" && o.Cluster.Spec.Peers == core.PeersBoth && leading(o) != "" && len(o.Planes) > 0 && o.Planes[0].Trust != core.TrustNothing {
			return instead(d, core.MovePeerURL{Member: l.Name, ID: l.ID, URL: l.MovesTo, Via: leading(o), Expect: listed(o)})
		}
	}
	return d
}
