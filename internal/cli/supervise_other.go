//go:build !linux || !amd64

package cli

import "portcullis"

// launch fails with the engine's own words: there is none for this system.
func (a *app) launch(cmd *portcullis.Cmd, _ *watcher) error { return cmd.Start() }
