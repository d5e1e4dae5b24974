package portcullis

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"portcullis/internal/policy/dialect"
	"portcullis/internal/policy/oci"
	"portcullis/internal/policy/oci/static"
)

// Reading is how profiles of containers and units of systemd are taken for the policies that
// they are. The zero value is that of the function Load.
type Reading struct {
	// Capabilities are those that a profile may ask about, such as CAP_SYS_ADMIN.
	Capabilities []string
	// Lost is told of each thing in the file that is not in the filter, if the filter then lets
	// no more calls be made. What may let more be made stays an error. Where Lost is nil, each is.
	Lost func(Loss)
}

// Loss is one thing that a profile says and the filter does not.
type Loss struct {
	// Text is one line: where it stands, what is lost, and what takes its place.
	Text string
	// Guarded tells that more calls can be made if a guard is lifted (see Cmd.Lift).
	Guarded bool
}

// loadForeign takes a filter from a policy in another language. One of which something is lost is for its
// user to look at first.
func (r Reading) loadForeign(name string, data []byte, of dialect.Reader) (*Filter, error) {
	if oci.Recognise(data) {
		of = oci.Options{Capabilities: r.Capabilities}.Read
	}
	f, err := r.foreign(name, data, of)
	if err != nil {
		return nil, &LoadError{Spec: name, Err: err}
	}
	return f, nil
}

// foreign is the filter of a policy in another language.
func (r Reading) foreign(name string, data []byte, of dialect.Reader) (*Filter, error) {
	m, lost, err := of(name, data)
	if err != nil {
		return nil, err
	}
	if err := r.accept(name, lost); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	return ofModel(name, hex.EncodeToString(sum[:]), m)
}

// accept tells of what is lost, or refuses it.
func (r Reading) accept(name string, lost []static.Loss) error {
	const remedy = "portcullis convert %s -o FILE.yaml lists them, and makes a policy to look at"
	for _, l := range lost {
		switch {
		case r.Lost == nil:
			return fmt.Errorf("%s is lost: %d of that kind; "+remedy+"; --allow-loss goes on where the filter is no more open for it", l, len(lost), name)
		case l.Effect == static.Open:
			return fmt.Errorf("%s is lost, and more calls may be let through for it; "+remedy, l, name)
		}
	}
	for _, l := range lost {
		r.Lost(Loss{Text: l.String(), Guarded: l.Effect == static.Guarded})
	}
	return nil
}
