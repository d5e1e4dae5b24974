//go:build tools

// Package tools pins the linters in a module of their own, so that none of
// their dependencies is one of the product's.
package tools

import (
	_ "honnef.co/go/tools/cmd/staticcheck"
	_ "mvdan.cc/gofumpt"
)
