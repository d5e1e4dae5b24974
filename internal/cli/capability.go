package cli

import (
	"fmt"
	"strings"

	"portcullis/internal/policy"
	"portcullis/internal/policy/oci"
)

// capabilities are the names that capabilities(7) has, without CAP_.
const capabilities = " CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE" +
	" NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT" +
	" SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE" +
	" AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ" +
	" PERFMON BPF CHECKPOINT_RESTORE "

// containers is what profiles are told of their container. Names may be written as for docker's
// --cap-add, without CAP_; one that does not exist would be asked about by no profile.
func (s *specFlags) containers() (oci.Options, error) {
	var o oci.Options
	for _, name := range s.capabilities {
		short := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
		if short == "" || strings.Contains(short, " ") || !strings.Contains(capabilities, " "+short+" ") {
			return o, fmt.Errorf("--capability %s: expected the name of a capability, such as CAP_SYS_ADMIN", policy.Shown(name))
		}
		o.Capabilities = append(o.Capabilities, "CAP_"+short)
	}
	return o, nil
}
