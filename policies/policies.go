// Package policies embeds the policies that come with Portcullis, and the schema of their
// language.
package policies

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed *.yaml
var files embed.FS

//go:embed schema.json
var schema []byte

// Schema is the JSON Schema of policies. The caller must not change it.
func Schema() []byte { return schema }

// Names lists the policies, in ascending order.
func Names() []string {
	all, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil // the pattern is right
	}
	for i := range all {
		all[i] = strings.TrimSuffix(all[i], ".yaml")
	}
	return all
}

// Policy is the text of the policy of that name.
func Policy(name string) ([]byte, bool) {
	data, err := files.ReadFile(name + ".yaml")
	return data, err == nil
}

// Summary is what the policy of that name says of itself: its first lines, which are a comment.
func Summary(name string) string {
	data, _ := Policy(name)
	var words []string
	for _, line := range strings.Split(string(data), "\n") {
		text, comment := strings.CutPrefix(line, "#")
		if !comment {
			break
		}
		words = append(words, strings.TrimSpace(text))
	}
	return strings.Join(words, " ")
}
