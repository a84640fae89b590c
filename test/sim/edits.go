package sim

import "slices"

// edits are the steps that use up the budget of changes by the user.
var edits = []Step{
	{Name: "the user asks for spec good0", Topic: Specs, Do: setHash(Good0)},
	{Name: "the user asks for spec good1", Topic: Specs, Do: setHash(Good1)},
	{Name: "the user asks for the spec that never runs", Topic: Specs, Do: setHash(Bad)},
	{Name: "the user changes the storage class", Topic: Storage, Do: edit(func(c *Cluster) { c.Storage.Class = 1 - c.Storage.Class })},
	{Name: "the user asks for larger volumes", Topic: Growth, Do: edit(func(c *Cluster) { c.Storage.Size = 1 })},
	{Name: "the user asks for smaller volumes", Topic: Growth, Do: edit(func(c *Cluster) { c.Storage.Size = 0 })},
	{Name: "the user asks for the usual CPU and memory", Topic: Resources, Do: setPower(Usual)},
	{Name: "the user asks for more CPU and memory", Topic: Resources, Do: setPower(More)},
	{Name: "the user asks for so little memory that etcd ends", Topic: Resources, Do: setPower(Starving)},
	{Name: "the user asks for TLS between members", Topic: Certs, Do: setTLS(true)},
	{Name: "the user asks for no TLS between members", Topic: Certs, Do: setTLS(false)},
	{Name: "the user asks for another authority", Topic: Certs, Do: edit(func(c *Cluster) { c.Rotate++ })},
	{Name: "the user pauses the cluster", Topic: Specs, Do: setPaused(true)},
	{Name: "the user deletes the EtcdCluster", Topic: Remaking, Do: deleteCluster},
	{Name: "the user deletes the EtcdCluster in the foreground", Topic: Remaking, Do: edit(func(c *Cluster) { c.Deleting = true })},
	{Name: "the user hibernates the cluster", Topic: Sizes, Do: setSize(0)},
	{Name: "the user asks for 1 member", Topic: Sizes, Do: setSize(1)},
	{Name: "the user asks for 3 members", Topic: Sizes, Do: setSize(3)},
	{Name: "the user asks for 5 members", Topic: Sizes, Do: setSize(5)},
	{Name: "the user asks for 3.5", Topic: Versions, Do: setMinor(V35)},
	{Name: "the user asks for 3.6", Topic: Versions, Do: setMinor(V36)},
	{Name: "the user asks for 3.7", Topic: Versions, Do: setMinor(V37)},
	{Name: "the user restores a backup", Topic: Restoring, Do: restoreBackup(ByItself)},
	{Name: "the user restores a backup, and will confirm", Topic: Restoring, Do: restoreBackup(ByUser)},
	{Name: "the user confirms the restore", Topic: Restoring, Do: setCompletion(Confirmed)},
	{Name: "the user has the restore rolled back", Topic: Restoring, Do: setCompletion(TakenBack)},
	{Name: "the user deletes the EtcdRestore", Topic: Restoring, Do: askToDeleteRestore},
	{Name: "the user asks for the replacement of", Topic: Replacing, Each: true, Do: askReplacement},
}

// free are the steps of the user that undo others; they use up nothing.
var free = []Step{
	{Name: "the user unpauses the cluster", Do: setPaused(false)},
	{Name: "the user makes the EtcdCluster again", Do: makeAgain},
}

// edit changes the spec of an EtcdCluster that is not on its way out.
func edit(change func(*Cluster)) func(*World, *State, int, *Pass) bool {
	return func(_ *World, s *State, _ int, _ *Pass) bool {
		cluster := &s.Live.Cluster
		before := *cluster
		if !cluster.Exists || cluster.Deleting {
			return false
		}
		change(cluster)
		if *cluster == before {
			return false
		}
		s.touched()
		return true
	}
}

func setHash(hash Hash) func(*World, *State, int, *Pass) bool {
	return edit(func(c *Cluster) { c.Hash = hash })
}

func setPower(power Power) func(*World, *State, int, *Pass) bool {
	return edit(func(c *Cluster) { c.Power = power })
}

func setPaused(paused bool) func(*World, *State, int, *Pass) bool {
	return edit(func(c *Cluster) { c.Paused = paused })
}

func setSize(size uint8) func(*World, *State, int, *Pass) bool {
	return func(w *World, s *State, m int, p *Pass) bool {
		return slices.Contains(w.Sizes, int(size)) && edit(func(c *Cluster) { c.Size = size })(w, s, m, p)
	}
}

func setMinor(minor Minor) func(*World, *State, int, *Pass) bool {
	return func(w *World, s *State, m int, p *Pass) bool {
		return slices.Contains(w.Minors, minor) && edit(func(c *Cluster) { c.Minor = minor })(w, s, m, p)
	}
}

func askReplacement(w *World, s *State, m int, p *Pass) bool {
	return s.list().has(m) && edit(func(c *Cluster) { c.Replace |= 1 << m })(w, s, m, p)
}

func deleteCluster(_ *World, s *State, _ int, _ *Pass) bool {
	could := s.Live.Cluster.Exists
	if could {
		s.dropCluster()
	}
	return could
}

// makeAgain makes another object under the same name. The volumes of the first one are still there.
func makeAgain(w *World, s *State, _ int, _ *Pass) bool {
	cluster := &s.Live.Cluster
	could := !cluster.Exists && cluster.Incarnation+1 < w.Incarnations
	if could {
		*cluster = Cluster{Exists: true, Incarnation: cluster.Incarnation + 1, Size: uint8(w.Size), Minor: w.Minor, TLS: w.TLS, Bootstrap: w.Begins}
		s.touched()
	}
	return could
}
