package prefilter

// plan is how to search among neighbours with as few comparisons as their weights
// ask for: at[i][j-i] is where to part the neighbours i … j, as the first on the
// right. Where it is 0, one comparison tells the middle one of three from the
// others, which are alike.
type plan struct{ at [][]int }

// planned bounds the neighbours whose order is optimised: it takes time that is
// quadratic.
const planned = 512

// newPlan finds the best search by dynamic programming over intervals. As for
// optimal search trees, where to part one interval lies between where to part those
// that are shorter by one (Knuth 1971). single tells whether a comparison for
// equality tells i from both neighbours, which are alike.
func newPlan(weights []int, single func(i int) bool) *plan {
	n := len(weights)
	p := &plan{at: make([][]int, n)}
	if n > planned {
		return p
	}
	sums, cost := make([]int, n+1), make([][]int, n)
	for i, w := range weights {
		sums[i+1] = sums[i] + w
		p.at[i], cost[i] = make([]int, n-i), make([]int, n-i)
		p.at[i][0] = i + 1
	}
	for length := 1; length < n; length++ {
		for i := 0; i+length < n; i++ {
			j := i + length
			whole := sums[j+1] - sums[i]
			if length == 2 && single(i+1) {
				cost[i][2] = whole
				continue
			}
			from, to := p.around(i, j)
			best := -1
			for k := from; k <= to; k++ {
				if c := cost[i][k-1-i] + cost[k][j-k]; best < 0 || c < best {
					best, p.at[i][length] = c, k
				}
			}
			cost[i][length] = best + whole
		}
	}
	return p
}

// around is the places that are worth looking at to part i … j.
func (p *plan) around(i, j int) (from, to int) {
	from, to = p.at[i][j-1-i], p.at[i+1][j-i-1]
	if from <= i {
		from = i + 1
	}
	if to == 0 || to > j {
		to = j
	}
	if from > to {
		from = i + 1
	}
	return from, to
}

// part is where to part i … j, or 0: see plan.
func (p *plan) part(i, j int) int {
	if p.at[i] == nil {
		return i + (j-i)/2 + 1
	}
	return p.at[i][j-i]
}
