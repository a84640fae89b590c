package sim

// run is one exploration.
type run struct {
	name  string
	world World
	limit int
}

// runs are what is explored by default: about two and a half minutes on two cores. For longer runs set SIM_STATES (the limit
// of each run), SIM_FAULTS and SIM_EDITS (budgets of each run) and SIM_SIZES, e.g. SIM_SIZES=3,5.
var runs = []run{
	// Clusters whose members stay the same.
	{"1-created-faults", World{Size: 1, Faults: 2, Edits: 1, Incarnations: 2}, 100_000},
	{"1-created-edits", World{Size: 1, Faults: 1, Edits: 2, Incarnations: 2}, 100_000},
	{"1-class-missing", World{Size: 1, Faults: 1, Edits: 2, Incarnations: 1, ClassMissing: true}, 100_000},
	{"3-created", World{Size: 3, Faults: 2, Edits: 2, Incarnations: 2}, 150_000},
	{"3-created-no-fault", World{Size: 3, Faults: 0, Edits: 1, Incarnations: 2}, 100_000},
	{"3-class-missing", World{Size: 3, Faults: 1, Edits: 1, Incarnations: 1, ClassMissing: true}, 80_000},
	{"3-formed", World{Size: 3, Faults: 2, Edits: 2, Incarnations: 2, Formed: true}, 150_000},
	{"3-formed-one-fault", World{Size: 3, Faults: 1, Edits: 1, Incarnations: 1, Formed: true}, 80_000},
	{"3-formed-no-fault", World{Size: 3, Faults: 0, Edits: 2, Incarnations: 2, Formed: true}, 80_000},
	{"3-remade", World{Size: 3, Faults: 2, Edits: 1, Incarnations: 3, Remade: true}, 100_000},
	{"3-remade-one-fault", World{Size: 3, Faults: 1, Edits: 0, Incarnations: 2, Remade: true}, 80_000},
	{"5-created", World{Size: 5, Faults: 1, Edits: 1, Incarnations: 1}, 80_000},
	{"5-formed", World{Size: 5, Faults: 2, Edits: 2, Incarnations: 1, Formed: true}, 100_000},
	{"5-formed-no-fault", World{Size: 5, Faults: 0, Edits: 1, Incarnations: 1, Formed: true}, 40_000},
	// Clusters whose members come and go.
	{"1-3-1-scale", changing(1, 2, 2, Sizes|Crashes|Losses|Cuts, 1, 3), 80_000},
	{"1-5-no-fault", changing(1, 0, 2, Sizes|Specs, 1, 3, 5), 60_000},
	{"1-exchange", changing(1, 1, 2, Sizes|Storage|Replacing|Crashes, 1, 3), 60_000},
	{"1-created-scale", growing(World{Size: 1, Sizes: []int{0, 1, 3}, Faults: 1, Edits: 2, Incarnations: 1, Topics: Sizes | Crashes | Deletions}), 60_000},
	{"3-created-scale", growing(World{Size: 3, Sizes: []int{0, 1, 3, 5}, Faults: 1, Edits: 2, Incarnations: 1, Topics: Sizes | Crashes | Deletions}), 80_000},
	{"3-1-3-scale", changing(3, 1, 2, Sizes|Crashes|Losses|Cuts, 1, 3), 80_000},
	{"3-1-networks", changing(3, 2, 1, Sizes|Networks, 1, 3), 80_000},
	{"3-losses", changing(3, 3, 0, Losses), 80_000},
	{"3-losses-crashes", changing(3, 3, 0, Losses|Crashes|Cuts), 80_000},
	{"3-losses-edits", changing(3, 1, 2, Losses|Specs|Sizes, 3, 5), 80_000},
	{"3-nodes", changing(3, 2, 0, Losses|Networks|Deletions), 80_000},
	{"3-nodes-edits", changing(3, 1, 2, Networks|Specs|Storage), 80_000},
	{"3-exchange", changing(3, 1, 1, Losses|Crashes|Storage|Replacing|Cuts), 80_000},
	{"3-exchange-scale", changing(3, 1, 2, Sizes|Storage|Replacing|Specs|Deletions, 1, 3, 5), 80_000},
	{"3-hibernate", changing(3, 1, 2, Sizes|Losses|Crashes|Deletions|Cuts, 0, 3), 80_000},
	{"3-hibernate-scale", changing(3, 1, 3, Sizes|Storage|Networks, 0, 1, 3), 80_000},
	{"3-5-scale", changing(3, 1, 2, Sizes|Crashes, 1, 3, 5), 80_000},
	{"3-5-one-learner", World{Size: 3, Sizes: []int{3, 5}, Faults: 2, Edits: 1, Incarnations: 1, Formed: true, Retain: true, Topics: Sizes | Losses | Networks}, 80_000},
	{"3-stale", changing(3, 2, 1, Sizes|Storage|Caches|Losses, 1, 3, 5), 80_000},
	{"3-stale-nodes", changing(3, 2, 1, Sizes|Caches|Networks|Crashes, 1, 3), 80_000},
	{"3-remade-scale", growing(World{Size: 3, Sizes: []int{1, 3, 5}, Faults: 1, Edits: 2, Incarnations: 2, Formed: true, Topics: Sizes | Losses | Remaking}), 80_000},
	{"5-3-scale", changing(5, 1, 2, Sizes|Losses, 3, 5), 80_000},
	{"5-losses", changing(5, 3, 0, Losses|Networks), 80_000},
	// Clusters that change their version.
	{"1-versions", versions(changing(1, 2, 2, Versions|Crashes|Cuts), V36, V35, V36, V37), 60_000},
	{"1-versions-scale", versions(changing(1, 1, 2, Versions|Sizes|Losses, 1, 3), V36, V35, V36, V37), 60_000},
	{"1-upgrade-scale", versions(changing(1, 0, 2, Versions|Sizes, 1, 3), V35, V36, V37), 40_000},
	{"3-upgrade", versions(changing(3, 2, 2, Versions|Crashes|Cuts), V35, V35, V36, V37), 60_000},
	{"3-downgrade", versions(changing(3, 2, 2, Versions|Crashes|Cuts), V37, V35, V36, V37), 60_000},
	{"3-versions-losses", versions(changing(3, 1, 2, Versions|Losses|Crashes), V36, V35, V36, V37), 60_000},
	{"3-versions-scale", versions(changing(3, 1, 2, Versions|Sizes|Crashes, 0, 1, 3), V36, V35, V36, V37), 60_000},
	{"3-upgrade-losses", versions(changing(3, 1, 1, Versions|Losses), V35, V36, V37), 60_000},
	{"3-versions-stale", versions(changing(3, 2, 2, Versions|Caches), V36, V35, V36, V37), 60_000},
	{"3-versions-networks", versions(changing(3, 2, 1, Versions|Networks), V36, V35, V36, V37), 60_000},
	{"3-versions-remade", versions(World{Size: 3, Faults: 1, Edits: 2, Incarnations: 3, Remade: true, Topics: Versions | Remaking | Crashes}, V35, V36, V37), 60_000},
	{"3-versions-specs", versions(changing(3, 1, 3, Versions|Specs), V36, V35, V36, V37), 60_000},
}

// growing is a world in which two learners can join at a time.
func growing(w World) World {
	w.MaxLearners = 2
	return w
}
