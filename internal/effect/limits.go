package effect

import (
	"fmt"
	"math/bits"
	"strings"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/policy"
)

// eagain is what a limit with a window answers if the policy does not say, eperm what other
// entries do.
const (
	eperm  = 1
	eagain = 11
)

// limit is a Limit with its calls.
type limit struct {
	*policy.Limit
	calls calls
}

func limitsOf(v *vocabulary) (all []limit) {
	for i := range v.Limits {
		l := &v.Limits[i]
		if set := v.of(l.Calls); !set.empty() {
			all = append(all, limit{l, set})
		}
	}
	return all
}

func (l limit) answer() abi.Verdict {
	if l.Window != 0 {
		return refusal(l.Action, eagain)
	}
	return refusal(l.Action, eperm)
}

// burst is how many calls may follow each other at once.
func (l limit) burst() uint64 {
	if l.Window == 0 || l.Burst == 0 {
		return l.Max
	}
	return l.Burst
}

// size is what is counted up to.
type size struct {
	max, burst uint64
	window     time.Duration
}

func (l limit) size() size { return size{l.Max, l.burst(), l.Window} }

// limits compares limits.
func (d *difference) limits() {
	a, b := limitsOf(d.before), limitsOf(d.after)
	of := d.pairedLimits(a, b)
	for i, j := range of {
		if j < 0 {
			d.add(a[i].calls, titled("limit", a[i].Name), "removed: "+a[i].words(), More, d.countsTo(a[i].calls, a[i].burst())...)
			continue
		}
		d.limit(a[i], b[j])
	}
	for _, j := range unpaired(of, len(b)) {
		d.add(b[j].calls, titled("limit", b[j].Name), "added: "+b[j].words(), Less, d.countsTo(b[j].calls, b[j].burst())...)
	}
}

func (d *difference) pairedLimits(a, b []limit) []int {
	calls := func(i, j int) bool { return a[i].calls == b[j].calls }
	test := func(i, j int) bool {
		return calls(i, j) && d.before.sameCondition(a[i].If, a[i].Calls, d.after, b[j].If, b[j].Calls)
	}
	all := func(i, j int) bool {
		return a[i].size() == b[j].size() && a[i].Per == b[j].Per && a[i].answer() == b[j].answer() && test(i, j)
	}
	return paired(len(a), len(b), all,
		func(i, j int) bool { return a[i].Name != "" && a[i].Name == b[j].Name },
		func(i, j int) bool {
			return a[i].Per == b[j].Per && (a[i].Window == 0) == (b[j].Window == 0) && test(i, j)
		},
		func(i, j int) bool { return a[i].size() == b[j].size() && test(i, j) },
		test, calls,
		func(i, j int) bool { return !a[i].calls.and(b[j].calls).empty() })
}

// limit compares two limits.
func (d *difference) limit(x, y limit) {
	both, title := x.calls.and(y.calls), titled("limit", y.Name)
	least := min(x.burst(), y.burst())
	if x.size() != y.size() {
		d.add(y.calls, title, grown(x, y), leaning(x, y), append(d.countsTo(y.calls, least), d.refills(y.calls, x, y)...)...)
	}
	if x.Per != y.Per {
		d.add(y.calls, title, fmt.Sprintf("per %v -> %v", x.Per, y.Per), widening(x.Per, y.Per), d.elsewhere(y.calls, least, max(x.burst(), y.burst())-least+1)...)
	}
	d.answers(both, title, x.answer(), y.answer(), d.countsTo(both, max(x.burst(), y.burst()))...)
	d.add(y.calls.without(x.calls), title, "counts them now", Less, d.countsTo(y.calls.without(x.calls), y.burst())...)
	d.add(x.calls.without(y.calls), title, "counts them no more", More, d.countsTo(x.calls.without(y.calls), x.burst())...)
	if !both.empty() && !d.before.sameCondition(x.If, x.Calls, d.after, y.If, y.Calls) {
		d.add(both, title, "another condition", Other, d.countsTo(both, least)...)
	}
}

// words are a limit's.
func (l limit) words() string {
	all := []string{fmt.Sprintf("max %d", l.Max)}
	if l.Window != 0 {
		all = append(all, fmt.Sprintf("window %v", l.Window))
	}
	if l.burst() != l.Max {
		all = append(all, fmt.Sprintf("burst %d", l.burst()))
	}
	return strings.Join(append(all, fmt.Sprintf("per %v", l.Per)), ", ")
}

// grown says what of a limit is another number.
func grown(x, y limit) string {
	var all []string
	if x.Max != y.Max {
		all = append(all, fmt.Sprintf("max %d -> %d", x.Max, y.Max))
	}
	if x.Window != y.Window {
		all = append(all, fmt.Sprintf("window %s -> %s", windowed(x.Window), windowed(y.Window)))
	}
	implied := x.burst() == x.Max && y.burst() == y.Max
	if x.burst() != y.burst() && !implied {
		all = append(all, fmt.Sprintf("burst %d -> %d", x.burst(), y.burst()))
	}
	return strings.Join(all, ", ")
}

func windowed(d time.Duration) string {
	if d == 0 {
		return "none"
	}
	return d.String()
}

// leaning is what another size allows: more where neither the rate nor the burst is less.
func leaning(x, y limit) Leaning {
	if (x.Window == 0) != (y.Window == 0) {
		return Other
	}
	rate := compareProducts(y.Max, uint64(x.Window), x.Max, uint64(y.Window))
	burst := ranked(y.burst(), x.burst())
	switch {
	case rate*burst < 0, rate == 0 && burst == 0:
		return Other
	case rate+burst > 0:
		return More
	}
	return Less
}

func ranked(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// compareProducts compares a*b with c*d.
func compareProducts(a, b, c, d uint64) int {
	xh, xl := bits.Mul64(a, b)
	yh, yl := bits.Mul64(c, d)
	if xh != yh {
		return ranked(xh, yh)
	}
	return ranked(xl, yl)
}

// countsTo are scripts that make one call more than n.
func (d *difference) countsTo(of calls, n uint64) (all []script) {
	if n >= maxRepeated {
		return nil
	}
	for _, nr := range of.first(fewCalls) {
		for _, before := range d.ways(nr) {
			all = append(all, before.then(turn{nr: nr, times: int(n) + 1}))
		}
	}
	return all
}

// refills are scripts that use up a burst and wait until the quicker of two has some again.
func (d *difference) refills(of calls, x, y limit) (all []script) {
	burst := max(x.burst(), y.burst())
	if x.Window == 0 || y.Window == 0 || burst >= maxRepeated || x.Max == 0 || y.Max == 0 {
		return nil
	}
	full := func(l limit) time.Duration { return time.Duration(l.burst() * (uint64(l.Window)/l.Max + 1)) }
	for _, nr := range of.first(fewCalls) {
		for _, before := range d.ways(nr) {
			use := turn{nr: nr, times: int(burst) + 1}
			all = append(all, before.then(turn{nr: nr, times: int(min(x.burst(), y.burst()))}, turn{event: Waiting, wait: min(full(x), full(y))}, use))
		}
	}
	return all
}

// elsewhere are scripts that use up n calls and have another process, or thread, make some more.
func (d *difference) elsewhere(of calls, n, more uint64) (all []script) {
	if n >= maxRepeated || more >= maxRepeated {
		return nil
	}
	for _, nr := range of.first(fewCalls) {
		for _, before := range d.ways(nr) {
			for _, e := range []Event{Forks, Spawns} {
				one := turn{nr: nr, times: max(int(n), 1)}
				other := turn{nr: nr, tid: 2, times: int(more)}
				all = append(all, before.then(turn{event: e}, one, other), before.then(one, turn{event: e}, other))
			}
		}
	}
	return all
}
