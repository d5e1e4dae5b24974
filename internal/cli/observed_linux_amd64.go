package cli

import "portcullis"

// observed runs cmd under supervision whatever its filters are.
func (a *app) observed(cmd *portcullis.Cmd) error {
	return (&launcher{app: a, signals: catch()}).supervise(cmd)
}
