// Package dialect reads policies that are written in other languages than YAML.
package dialect

import (
	"portcullis/internal/policy"
	"portcullis/internal/policy/oci"
	"portcullis/internal/policy/oci/static"
	"portcullis/internal/policy/systemd"
)

// Reader makes a policy of another language's file, and a list of what that says beyond it.
type Reader func(name string, data []byte) (*policy.Model, []static.Loss, error)

// Of is the reader of a file that is a policy in another language, nil of others.
func Of(data []byte) Reader {
	switch {
	case oci.Recognise(data):
		return oci.Read
	case !policy.Recognise(data) && systemd.Recognise(data):
		return systemd.Read
	}
	return nil
}
