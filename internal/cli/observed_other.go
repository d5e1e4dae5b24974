//go:build !linux || !amd64

package cli

import "portcullis"

// observed fails with the engine's own words.
func (a *app) observed(cmd *portcullis.Cmd) error { return cmd.Start() }
