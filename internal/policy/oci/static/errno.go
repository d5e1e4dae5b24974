package static

import "portcullis/internal/policy"

// Errno is the number of an error by its name on x86-64, such as EPERM.
func Errno(name string) (uint16, bool) {
	alias := map[string]string{"EWOULDBLOCK": "EAGAIN", "EDEADLOCK": "EDEADLK", "ENOTSUP": "EOPNOTSUPP"}
	if other, ok := alias[name]; ok {
		name = other
	}
	const last = 133 // EHWPOISON
	for e := uint16(1); e <= last; e++ {
		if (policy.Action{Kind: policy.Errno, Data: e}).String() == name {
			return e, true
		}
	}
	return 0, false
}
