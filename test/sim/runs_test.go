package sim

import "github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"

// run is one exploration.
type run struct {
	name  string
	world World
	limit int
}

// runs are what is explored by default: over three million states, in one to three minutes on two cores. For longer runs set SIM_STATES (the limit
// of each run), SIM_FAULTS and SIM_EDITS (budgets of each run) and SIM_SIZES, e.g. SIM_SIZES=3,5.
var runs = []run{
	// Clusters whose members stay the same.
	{"1-created-faults", World{Size: 1, Faults: 2, Edits: 1, Incarnations: 2}, 50_000},
	{"1-created-edits", World{Size: 1, Faults: 1, Edits: 2, Incarnations: 2}, 50_000},
	{"1-class-missing", World{Size: 1, Faults: 1, Edits: 2, Incarnations: 1, ClassMissing: true}, 50_000},
	{"3-created", World{Size: 3, Faults: 2, Edits: 2, Incarnations: 2}, 75_000},
	{"3-created-no-fault", World{Size: 3, Faults: 0, Edits: 1, Incarnations: 2}, 50_000},
	{"3-class-missing", World{Size: 3, Faults: 1, Edits: 1, Incarnations: 1, ClassMissing: true}, 40_000},
	{"3-formed", World{Size: 3, Faults: 2, Edits: 2, Incarnations: 2, Formed: true}, 75_000},
	{"3-formed-one-fault", World{Size: 3, Faults: 1, Edits: 1, Incarnations: 1, Formed: true}, 40_000},
	{"3-formed-no-fault", World{Size: 3, Faults: 0, Edits: 2, Incarnations: 2, Formed: true}, 40_000},
	{"3-remade", World{Size: 3, Faults: 2, Edits: 1, Incarnations: 3, Remade: true}, 50_000},
	{"3-remade-one-fault", World{Size: 3, Faults: 1, Edits: 0, Incarnations: 2, Remade: true}, 40_000},
	{"5-created", World{Size: 5, Faults: 1, Edits: 1, Incarnations: 1}, 40_000},
	{"5-formed", World{Size: 5, Faults: 2, Edits: 2, Incarnations: 1, Formed: true}, 50_000},
	{"5-formed-no-fault", World{Size: 5, Faults: 0, Edits: 1, Incarnations: 1, Formed: true}, 20_000},
	// Clusters whose members come and go.
	{"1-3-1-scale", changing(1, 2, 2, Sizes|Crashes|Losses|Cuts, 1, 3), 40_000},
	{"1-5-no-fault", changing(1, 0, 2, Sizes|Specs, 1, 3, 5), 30_000},
	{"1-exchange", changing(1, 1, 2, Sizes|Storage|Replacing|Crashes, 1, 3), 30_000},
	{"1-created-scale", growing(World{Size: 1, Sizes: []int{0, 1, 3}, Faults: 1, Edits: 2, Incarnations: 1, Topics: Sizes | Crashes | Deletions}), 30_000},
	{"3-created-scale", growing(World{Size: 3, Sizes: []int{0, 1, 3, 5}, Faults: 1, Edits: 2, Incarnations: 1, Topics: Sizes | Crashes | Deletions}), 40_000},
	{"3-1-3-scale", changing(3, 1, 2, Sizes|Crashes|Losses|Cuts, 1, 3), 40_000},
	{"3-1-networks", changing(3, 2, 1, Sizes|Networks, 1, 3), 40_000},
	{"3-losses", changing(3, 3, 0, Losses), 40_000},
	{"3-losses-crashes", changing(3, 3, 0, Losses|Crashes|Cuts), 40_000},
	{"3-losses-edits", changing(3, 1, 2, Losses|Specs|Sizes, 3, 5), 40_000},
	{"3-nodes", changing(3, 2, 0, Losses|Networks|Deletions), 40_000},
	{"3-nodes-edits", changing(3, 1, 2, Networks|Specs|Storage), 40_000},
	{"3-exchange", changing(3, 1, 1, Losses|Crashes|Storage|Replacing|Cuts), 40_000},
	{"3-exchange-scale", changing(3, 1, 2, Sizes|Storage|Replacing|Specs|Deletions, 1, 3, 5), 40_000},
	{"3-hibernate", changing(3, 1, 2, Sizes|Losses|Crashes|Deletions|Cuts, 0, 3), 40_000},
	{"3-hibernate-scale", changing(3, 1, 3, Sizes|Storage|Networks, 0, 1, 3), 40_000},
	{"3-5-scale", changing(3, 1, 2, Sizes|Crashes, 1, 3, 5), 40_000},
	{"3-5-one-learner", World{Size: 3, Sizes: []int{3, 5}, Faults: 2, Edits: 1, Incarnations: 1, Formed: true, Retain: true, Topics: Sizes | Losses | Networks}, 40_000},
	{"3-stale", changing(3, 2, 1, Sizes|Storage|Caches|Losses, 1, 3, 5), 40_000},
	{"3-stale-nodes", changing(3, 2, 1, Sizes|Caches|Networks|Crashes, 1, 3), 40_000},
	{"3-remade-scale", growing(World{Size: 3, Sizes: []int{1, 3, 5}, Faults: 1, Edits: 2, Incarnations: 2, Formed: true, Topics: Sizes | Losses | Remaking}), 40_000},
	{"5-3-scale", changing(5, 1, 2, Sizes|Losses, 3, 5), 40_000},
	{"5-losses", changing(5, 3, 0, Losses|Networks), 40_000},
	// Clusters whose members and volumes change in place.
	{"1-resize", changing(1, 2, 2, Resources|Crashes|Cuts), 30_000},
	{"3-resize", changing(3, 2, 2, Resources|Crashes|Cuts), 30_000},
	{"3-resize-no-fault", changing(3, 0, 3, Resources|Specs), 30_000},
	{"3-resize-refused", rigid(changing(3, 1, 2, Resources|Crashes|Specs)), 30_000},
	{"3-resize-stale", changing(3, 2, 2, Resources|Caches|Networks), 30_000},
	{"3-resize-scale", changing(3, 1, 2, Resources|Sizes|Losses, 0, 1, 3), 30_000},
	{"3-resize-versions", versions(changing(3, 1, 2, Resources|Versions), V36, V35, V36, V37), 30_000},
	{"1-created-growth", growing(World{Size: 1, Sizes: []int{0, 1, 3}, Faults: 1, Edits: 2, Incarnations: 1, Topics: Growth | Sizes | Cuts}), 30_000},
	{"3-growth", changing(3, 2, 2, Growth|Cuts|Losses), 30_000},
	{"3-growth-stale", changing(3, 2, 2, Growth|Caches|Storage), 30_000},
	{"3-growth-refused", rigid(changing(3, 1, 2, Growth|Resources|Crashes)), 30_000},
	{"3-growth-remade", growing(World{Size: 3, Sizes: []int{1, 3}, Faults: 1, Edits: 2, Incarnations: 2, Formed: true, Topics: Growth | Remaking | Sizes}), 30_000},
	// Clusters that talk TLS, whose authority changes.
	{"1-created-tls", secured(World{Size: 1, Faults: 2, Edits: 1, Incarnations: 1, TLS: true, Topics: Certs | Cuts}), 30_000},
	{"3-created-tls", secured(World{Size: 3, Faults: 1, Edits: 2, Incarnations: 1, TLS: true, Topics: Certs | Cuts}), 30_000},
	{"3-created-plain", secured(World{Size: 3, Faults: 0, Edits: 3, Incarnations: 1, Topics: Certs}), 30_000},
	{"1-tls", secured(changing(1, 2, 2, Certs|Crashes|Cuts)), 30_000},
	{"3-tls-no-fault", secured(changing(3, 0, 3, Certs)), 30_000},
	{"3-tls", talking(changing(3, 2, 2, Certs|Crashes|Cuts)), 40_000},
	{"3-tls-secrets", talking(changing(3, 3, 1, Certs)), 40_000},
	{"3-tls-stale", talking(changing(3, 2, 2, Certs|Caches)), 30_000},
	{"3-tls-networks", talking(changing(3, 2, 2, Certs|Networks)), 30_000},
	{"3-tls-losses", talking(changing(3, 2, 1, Certs|Losses)), 30_000},
	{"3-tls-scale", talking(changing(3, 1, 3, Certs|Sizes, 0, 1, 3, 5)), 40_000},
	{"3-plain-tls", secured(changing(3, 2, 2, Certs|Crashes|Cuts)), 30_000},
	{"3-plain-tls-scale", secured(changing(3, 1, 3, Certs|Sizes, 0, 1, 3, 5)), 40_000},
	{"3-plain-tls-losses", secured(changing(3, 2, 2, Certs|Losses|Specs)), 30_000},
	// Clusters whose volumes are taken over by one that is to talk otherwise.
	{"3-tls-remade", talking(World{Size: 3, Faults: 1, Edits: 2, Incarnations: 3, Remade: true, Topics: Certs | Remaking | Cuts}), 30_000},
	{"3-plain-tls-remade", secured(World{Size: 3, Faults: 1, Edits: 3, Incarnations: 2, Formed: true, Retain: true, Topics: Certs | Remaking | Cuts}), 30_000},
	// Clusters that are given other data.
	{"1-restore", restored(changing(1, 1, 3, Restoring|Crashes|RestoreCuts), 2), 30_000},
	{"3-restore-no-fault", restored(changing(3, 0, 3, Restoring|Specs), 1), 30_000},
	{"3-restore", restored(changing(3, 2, 2, Restoring|Crashes|Cuts|RestoreCuts), 1), 30_000},
	{"3-restore-losses", restored(changing(3, 2, 2, Restoring|Losses|Deletions), 1), 30_000},
	{"3-restore-late", restored(changing(3, 2, 2, Restoring|RestoreLate|Caches), 1), 30_000},
	{"3-restore-networks", restored(changing(3, 2, 2, Restoring|Networks), 1), 30_000},
	{"3-restore-scale", restored(changing(3, 0, 3, Restoring|Sizes, 0, 1, 3), 1), 30_000},
	{"1-restore-scale", restored(changing(1, 0, 3, Restoring|Sizes, 1, 3), 1), 30_000},
	{"3-restore-filling", midway(restores.Filling, changing(3, 2, 2, Restoring|Crashes|Cuts|RestoreCuts|RestoreLate)), 30_000},
	{"1-restore-late", midway(restores.Starting, changing(1, 2, 2, Restoring|RestoreLate|RestoreCuts)), 30_000},
	{"3-restore-starting", midway(restores.Starting, changing(3, 2, 2, Restoring|RestoreLate|Caches|Cuts)), 30_000},
	{"3-restore-back", midway(restores.Restored, changing(3, 1, 2, Restoring|Losses|RestoreCuts|RestoreLate)), 30_000},
	{"3-restore-back-specs", midway(restores.Restored, changing(3, 1, 3, Restoring|Specs|Storage|Crashes)), 30_000},
	{"1-restore-back-scale", midway(restores.Restored, changing(1, 1, 3, Restoring|Sizes|RestoreCuts, 0, 1, 3)), 30_000},
	{"3-restore-back-scale", midway(restores.Restored, changing(3, 0, 3, Restoring|Sizes|Replacing, 1, 3, 5)), 30_000},
	{"3-restore-remade", midway(restores.Filling, World{Size: 3, Faults: 1, Edits: 2, Incarnations: 2, Formed: true, Retain: true, Topics: Restoring | Remaking}), 30_000},
	{"3-begins-remade", beginning(World{Size: 3, Faults: 1, Edits: 2, Incarnations: 2, Formed: true, Retain: true, Topics: Restoring | Remaking | Deletions}), 30_000},
	{"1-begins", beginning(World{Size: 1, Faults: 2, Edits: 2, Topics: Restoring | RestoreCuts | Cuts | Crashes | Deletions}), 30_000},
	{"3-begins", beginning(World{Size: 3, Faults: 2, Edits: 1, Topics: Restoring | RestoreCuts | Cuts | Losses}), 30_000},
	{"3-begins-late", beginning(World{Size: 3, Faults: 2, Edits: 1, Topics: Restoring | RestoreLate | Caches}), 30_000},
	{"3-begins-scale", beginning(World{Size: 3, Sizes: []int{0, 1, 3}, Faults: 1, Edits: 2, Topics: Restoring | Sizes | Specs}), 30_000},
	// Clusters that change their version.
	{"1-versions", versions(changing(1, 2, 2, Versions|Crashes|Cuts), V36, V35, V36, V37), 30_000},
	{"1-versions-scale", versions(changing(1, 1, 2, Versions|Sizes|Losses, 1, 3), V36, V35, V36, V37), 30_000},
	{"1-upgrade-scale", versions(changing(1, 0, 2, Versions|Sizes, 1, 3), V35, V36, V37), 20_000},
	{"3-upgrade", versions(changing(3, 2, 2, Versions|Crashes|Cuts), V35, V35, V36, V37), 30_000},
	{"3-downgrade", versions(changing(3, 2, 2, Versions|Crashes|Cuts), V37, V35, V36, V37), 30_000},
	{"3-versions-losses", versions(changing(3, 1, 2, Versions|Losses|Crashes), V36, V35, V36, V37), 30_000},
	{"3-versions-scale", versions(changing(3, 1, 2, Versions|Sizes|Crashes, 0, 1, 3), V36, V35, V36, V37), 30_000},
	{"3-upgrade-losses", versions(changing(3, 1, 1, Versions|Losses), V35, V36, V37), 30_000},
	{"3-versions-stale", versions(changing(3, 2, 2, Versions|Caches), V36, V35, V36, V37), 30_000},
	{"3-versions-networks", versions(changing(3, 2, 1, Versions|Networks), V36, V35, V36, V37), 30_000},
	{"3-versions-remade", versions(World{Size: 3, Faults: 1, Edits: 2, Incarnations: 3, Remade: true, Topics: Versions | Remaking | Crashes}, V35, V36, V37), 30_000},
	{"3-versions-specs", versions(changing(3, 1, 3, Versions|Specs), V36, V35, V36, V37), 30_000},
}

// secured is a world with certificates.
func secured(w World) World {
	w.Secured = true
	return w
}

// talking is one whose members talk TLS from the start.
func talking(w World) World {
	w.Secured, w.TLS = true, true
	return w
}

// restored is a world with as many restores.
func restored(w World, restores int) World {
	w.Restores = restores
	return w
}

// midway is a world that starts when a restore has come to a phase.
func midway(phase string, w World) World {
	w.Restores, w.Midway = 1, phase
	return w
}

// beginning is one whose cluster begins with the data of a backup.
func beginning(w World) World {
	w.Restores, w.Begins, w.Incarnations = 2, true, max(w.Incarnations, 1)
	return w
}

// rigid is a world in which nothing changes in place.
func rigid(w World) World {
	w.NoResize, w.NoGrowth = true, true
	return w
}

// growing is a world in which two learners can join at a time.
func growing(w World) World {
	w.MaxLearners = 2
	return w
}
