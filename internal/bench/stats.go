//go:build linux && amd64

package main

import "sort"

// quantile is the element of xs below which a share q of the others lies.
func quantile(xs []float64, q float64) float64 {
	s := append([]float64(nil), xs...)
	sort.Float64s(s)
	i := int(q * float64(len(s)))
	if i == len(s) {
		i--
	}
	return s[i]
}

// median is the middle of xs.
func median(xs []float64) float64 { return quantile(xs, 0.5) }

// calm is what xs are while nothing disturbs: costs so small as a system call's
// have levels, of processors that are faster or slower for a while, and a median
// of one contestant may be of another level than that of the next.
func calm(xs []float64) float64 { return quantile(xs, 0.25) }

// ratios divides round by round.
func ratios(a, b []float64) []float64 {
	r := make([]float64, len(a))
	for i := range a {
		r[i] = a[i] / b[i]
	}
	return r
}

// sums adds round by round.
func sums(parts ...[]float64) []float64 {
	r := make([]float64, len(parts[0]))
	for _, p := range parts {
		for i := range r {
			r[i] += p[i]
		}
	}
	return r
}
