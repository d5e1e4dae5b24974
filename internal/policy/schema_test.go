package policy

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// schema is as much of a JSON Schema as policies/schema.json uses.
type schema struct {
	Ref        string             `json:"$ref"`
	Type       string             `json:"type"`
	Const      any                `json:"const"`
	Enum       []any              `json:"enum"`
	Pattern    string             `json:"pattern"`
	Minimum    *float64           `json:"minimum"`
	Maximum    *float64           `json:"maximum"`
	MinItems   int                `json:"minItems"`
	MinProps   int                `json:"minProperties"`
	Items      *schema            `json:"items"`
	AnyOf      []*schema          `json:"anyOf"`
	Properties map[string]*schema `json:"properties"`
	Patterns   map[string]*schema `json:"patternProperties"`
	Additional json.RawMessage    `json:"additionalProperties"`
	Required   []string           `json:"required"`
	Defs       map[string]*schema `json:"$defs"`
	// The rest says nothing about what is valid.
	Schema, Title, Description string
}

func readSchema(t *testing.T) *schema {
	t.Helper()
	f, err := os.Open("../../policies/schema.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := &schema{}
	dec := json.NewDecoder(f)
	if err := dec.Decode(s); err != nil {
		t.Fatal(err)
	}
	return s
}

// check says why v is not valid, "" if it is.
func (s *schema) check(root *schema, v any, at string) string {
	if s.Ref != "" {
		return root.Defs[strings.TrimPrefix(s.Ref, "#/$defs/")].check(root, v, at)
	}
	if len(s.AnyOf) > 0 {
		why := ""
		for _, one := range s.AnyOf {
			if w := one.check(root, v, at); w == "" {
				return ""
			} else {
				why += w + "; "
			}
		}
		return why
	}
	if s.Const != nil && fmt.Sprint(s.Const) != fmt.Sprint(v) {
		return fmt.Sprintf("%s: %v is not %v", at, v, s.Const)
	}
	if s.Enum != nil {
		for _, e := range s.Enum {
			if fmt.Sprint(e) == fmt.Sprint(v) {
				return ""
			}
		}
		return fmt.Sprintf("%s: %v is none of %v", at, v, s.Enum)
	}
	switch v := v.(type) {
	case map[string]any:
		return s.object(root, v, at)
	case []any:
		if s.Type != "array" || len(v) < s.MinItems {
			return at + ": a list"
		}
		for i, e := range v {
			if w := s.Items.check(root, e, fmt.Sprintf("%s[%d]", at, i)); w != "" {
				return w
			}
		}
	case string:
		if s.Type != "string" || s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(v) {
			return fmt.Sprintf("%s: %q", at, v)
		}
	case int:
		if s.Type != "integer" && s.Const == nil || s.Minimum != nil && float64(v) < *s.Minimum || s.Maximum != nil && float64(v) > *s.Maximum {
			return fmt.Sprintf("%s: %d", at, v)
		}
	case bool:
		if s.Type != "boolean" {
			return at + ": a truth value"
		}
	default:
		return fmt.Sprintf("%s: %T", at, v)
	}
	return ""
}

func (s *schema) object(root *schema, v map[string]any, at string) string {
	if s.Type != "object" || len(v) < s.MinProps {
		return at + ": a mapping"
	}
	for _, r := range s.Required {
		if _, ok := v[r]; !ok {
			return at + ": no " + r
		}
	}
	for key, value := range v {
		sub := s.Properties[key]
		for pattern, p := range s.Patterns {
			if regexp.MustCompile(pattern).MatchString(key) {
				sub = p
			}
		}
		if sub == nil {
			if string(s.Additional) == "false" {
				return at + ": no field " + key
			}
			sub = &schema{}
			if err := json.Unmarshal(s.Additional, sub); err != nil {
				return err.Error()
			}
		}
		if w := sub.check(root, value, at+"."+key); w != "" {
			return w
		}
	}
	return ""
}

func valid(t *testing.T, s *schema, data []byte) string {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return s.check(s, v, "policy")
}

// TestSchema: what is a policy is valid, and so is one that has every field there is.
func TestSchema(t *testing.T) {
	s := readSchema(t)
	if why := valid(t, s, Write(whole())); why != "" {
		t.Errorf("a policy with every field is not valid: %s\n%s", why, Write(whole()))
	}
	for _, pattern := range []string{"../../policies/*.yaml", "testdata/*/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if why := valid(t, s, data); why != "" {
				t.Errorf("%s is not valid: %s", f, why)
			}
		}
	}
	for _, text := range []string{
		"default: allow", "version: 2", "version: 1\nfoo: 1", "version: 1\nrules: [{allow: read, when: 1}]",
		"version: 1\nlimits: [{calls: read}]", "version: 1\ndefault: maybe", "version: 1\nlimits: [{calls: read, max: 1, action: allow}]",
	} {
		if valid(t, s, []byte(text)) == "" {
			t.Errorf("%q is valid", text)
		}
	}
}

// TestWholeIsWhole: the policy with every field has every field of the Model, so that the
// tests of schema and writer are about all of them.
func TestWholeIsWhole(t *testing.T) {
	set := map[string]bool{}
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				walk(v.Elem())
			}
		case reflect.Slice:
			for i := 0; i < v.Len(); i++ {
				walk(v.Index(i))
			}
		case reflect.Struct:
			for i := 0; i < v.NumField(); i++ {
				name := v.Type().Name() + "." + v.Type().Field(i).Name
				set[name] = set[name] || !v.Field(i).IsZero()
				walk(v.Field(i))
			}
		}
	}
	walk(reflect.ValueOf(whole()))
	for name, is := range set {
		if !is && !strings.HasSuffix(name, ".Pos") && !strings.HasPrefix(name, "Pos.") && name != "Model.Lines" && name != "Value.Number" {
			t.Errorf("%s is not set", name)
		}
	}
}
