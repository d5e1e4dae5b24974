package cbpf

// Apply runs one pass on p.
func Apply(p Program, pass Pass) (Program, error) {
	g := lift(p)
	pass.run(g)
	return Validate(g.link())
}
