package kit

import "testing"

// Ports that are asked for together are others each.
func TestFreePorts(t *testing.T) {
	ports, err := FreePorts(300)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, port := range ports {
		if seen[port] || port < 1 || port > 65535 {
			t.Errorf("port %d: expected others each", port)
		}
		seen[port] = true
	}
	if len(seen) != 300 {
		t.Errorf("%d ports, expected 300", len(seen))
	}
}
