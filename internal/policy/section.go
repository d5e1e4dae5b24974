package policy

import "strings"

// telling are the keys that say by themselves of what list an entry is, when its line begins
// with them. Of an order, "calls" does where the line goes on as one.
var telling = map[string][]string{
	"programs": {"path"}, "phases": {"name"}, "order": {"once"}, "flow": {"edges"}, "limits": {"calls"},
	"serialize": {"first", "second"}, "policy": {"version", "default"},
}

// sections are the lists that entries of state are in, by the place of the entry: the line
// that messages show of "- name: few" does not say whether that is a limit or a phase.
func (m *Model) sections() map[Pos]string {
	all := map[Pos]string{m.Pos: "policy"}
	for i := range m.Programs {
		all[m.Programs[i].Pos] = "programs"
	}
	for i := range m.Phases {
		all[m.Phases[i].Pos] = "phases"
	}
	for i := range m.Order {
		all[m.Order[i].Pos] = "order"
	}
	for i := range m.Flows {
		all[m.Flows[i].Pos] = "flow"
	}
	for i := range m.Limits {
		all[m.Limits[i].Pos] = "limits"
	}
	for i := range m.Serialize {
		all[m.Serialize[i].Pos] = "serialize"
	}
	return all
}

// shownLine is a line of an entry of a list, with the list's name in front where the line does
// not say it.
func shownLine(section, line string) string {
	line = strings.TrimSpace(line)
	if section == "" {
		return line
	}
	first, rest, _ := strings.Cut(strings.TrimLeft(line, "- {\"'"), ":")
	first = strings.TrimRight(first, " \"'")
	for _, key := range telling[section] {
		if first == key {
			return line
		}
	}
	if section == "order" && first == "calls" && (strings.Contains(rest, "before:") || strings.Contains(rest, "after:")) {
		return line
	}
	return section + ": " + line
}
