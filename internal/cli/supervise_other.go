//go:build !linux || !amd64

package cli

import "portcullis"

// launcher runs a command.
type launcher struct{}

func (a *app) launcher(*runFlags) launcher { return launcher{} }

// launch fails with the engine's own words: there is none for this system.
func (launcher) launch(cmd *portcullis.Cmd, _ *watcher) error { return cmd.Start() }
