//go:build linux && amd64

package main

import "portcullis"

// way measures what a call takes, in the guest.
type way func(*order) (float64, error)

// The names of ways, which are those of the report's rows.
const (
	noFilter      = "no filter"
	classicConst  = "cBPF, constant"
	classicBrief  = "cBPF, one argument"
	classicList   = "cBPF, list of 200, libseccomp's order"
	extConst      = "eBPF, constant"
	extBrief      = "eBPF, one argument"
	extList       = "eBPF, list of 200, listed"
	extChain      = "eBPF, list of 200, chained"
	extSet        = "eBPF, list of 200, gathered"
	extCounter    = "eBPF, counter"
	extCounterRun = "eBPF, counter, as run"
	extSearch     = "eBPF, 256 rules searched"
	extCache      = "eBPF, 256 rules searched, and remembered"
	notifier      = "C notifier, counter"
	agentCounter  = "agent, counter"
	agentOthers   = "agent, serialize, calls of no pair"
	kernelOthers  = "kernel, serialize, calls of no pair"
	agentOrdered  = "agent, serialize, an ordered call"
	kernelOrdered = "kernel, serialize, an ordered call"
	bareOrdered   = "no filter, the ordered call"
	bareOpen      = "no filter, openat"
	kernelOpen    = "kernel, openat pinned"
	agentOpen     = "agent, openat pinned"
)

// ways are everything that is measured.
func ways() map[string]way {
	const ppid, pgid, open = "getppid", "getpgid", "openat"
	counter, pin := "/"+listedFile+":counted", "/"+heldFile+":pin"
	pair := []string{"first", pgid, "second", "getsid"}
	all := map[string]way{
		noFilter:      classic("none", ppid),
		classicConst:  classic("allow", ppid),
		classicBrief:  classic("brief", ppid),
		classicList:   classic(listFile, ppid),
		extConst:      alone(listedFile, "steady", ppid),
		extBrief:      alone(listedFile, "brief", ppid),
		extList:       alone(listedFile, "listed", ppid),
		extChain:      alone(listedFile, "chained", ppid),
		extSet:        alone(listedFile, "gathered", ppid),
		extCounter:    alone(listedFile, "counted", ppid),
		extCounterRun: asRun(portcullis.Kernel, counter, ppid),
		extSearch:     asRun(portcullis.Kernel, "cache", ppid, append(searched(ppid), "remember", "false")...),
		extCache:      asRun(portcullis.Kernel, "cache", ppid, searched(ppid)...),
		notifier:      classic("notifier", ppid),
		agentCounter:  asRun(portcullis.Agent, counter, ppid),
		agentOthers:   asRun(portcullis.Agent, "serialize", ppid, pair...),
		kernelOthers:  asRun(portcullis.Kernel, "serialize", ppid, pair...),
		agentOrdered:  asRun(portcullis.Agent, "serialize", pgid, pair...),
		kernelOrdered: asRun(portcullis.Kernel, "serialize", pgid, pair...),
		bareOrdered:   classic("none", pgid),
		bareOpen:      classic("none", open),
		kernelOpen:    asRun(portcullis.Kernel, pin, open),
		agentOpen:     asRun(portcullis.Agent, pin, open),
	}
	for _, s := range servers() {
		for name, w := range s.under() {
			all[name] = w
		}
	}
	return all
}

// counted are the ways of the table of instructions, by the way that each is held
// beside; "" for those that stand alone.
func counted() []beside {
	return []beside{
		{noFilter, ""},
		{classicConst, noFilter},
		{classicBrief, noFilter},
		{classicList, noFilter},
		{extConst, noFilter},
		{extBrief, noFilter},
		{extList, noFilter},
		{extChain, noFilter},
		{extSet, noFilter},
		{extCounter, noFilter},
		{extCounterRun, noFilter},
		{extSearch, noFilter},
		{extCache, noFilter},
		{notifier, noFilter},
		{agentCounter, noFilter},
		{agentOthers, noFilter},
		{kernelOthers, noFilter},
		{bareOrdered, ""},
		{agentOrdered, bareOrdered},
		{kernelOrdered, bareOrdered},
		{bareOpen, ""},
		{agentOpen, bareOpen},
		{kernelOpen, bareOpen},
	}
}

// clocked are the ways of the table of wall time.
func clocked() []beside {
	return []beside{
		{noFilter, ""},
		{classicConst, noFilter},
		{classicBrief, noFilter},
		{extConst, noFilter},
		{extCounter, noFilter},
		{extCounterRun, noFilter},
		{notifier, noFilter},
		{agentCounter, noFilter},
	}
}

// unpatched are the ways that a kernel without the patches has too.
func unpatched() []string { return []string{noFilter, classicConst, classicBrief, classicList} }

// beside is a way and the one without a filter.
type beside struct{ way, bare string }

// names are those of ways.
func names(of []beside) []string {
	var all []string
	for _, b := range of {
		all = append(all, b.way)
	}
	return all
}
