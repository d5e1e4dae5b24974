package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"
	"text/template"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
)

//go:embed portcullis.h.tmpl
var headerTemplate string

// constant is one #define of the header.
type constant struct {
	Name, Value, Doc string
}

// function is a helper as C declares it.
type function struct {
	ID                     helper.ID
	Name, Ret, Params, Doc string
}

// header renders include/portcullis.h from the tables of the product.
func header() ([]byte, error) {
	t, err := template.New("portcullis.h").Parse(headerTemplate)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string]any{
		"MapTypes": mapTypes(), "Flags": flags(), "Actions": actions(), "Arches": arches(),
		"Errnos": errnos(), "Helpers": functions(), "Calls": syscalls.All(),
		"Words": words(), "SetBits": prog.CallSetBits, "Newest": syscalls.Newest(),
		"PathSize": prog.PathSize, "AddrWords": (prog.EndpointSize - 8) / 8,
	})
	return out.Bytes(), err
}

// words are the indices of the words of a set of calls.
func words() []int {
	all := make([]int, prog.CallSetBits/64)
	for i := range all {
		all[i] = i
	}
	return all
}

func mapTypes() []constant {
	var all []constant
	for _, t := range []prog.MapType{
		prog.Hash, prog.Array, prog.ProgArray, prog.PercpuHash,
		prog.PercpuArray, prog.LRUHash, prog.RingBuf, prog.TaskStorage,
	} {
		all = append(all, constant{"BPF_MAP_TYPE_" + t.String(), fmt.Sprint(uint32(t)), ""})
	}
	return all
}

func flags() []constant {
	return []constant{
		{"BPF_F_NO_PREALLOC", fmt.Sprintf("%#x", prog.FlagNoPrealloc), "required of TASK_STORAGE"},
		{"BPF_F_CLONE", fmt.Sprintf("%#x", prog.FlagClone), "TASK_STORAGE: the child starts with a copy"},
		{"BPF_ANY", "0", "bpf_map_update_elem: create or replace"},
		{"BPF_NOEXIST", "1", "create, or -EEXIST"},
		{"BPF_EXIST", "2", "replace, or -ENOENT"},
		{"BPF_LOCAL_STORAGE_GET_F_CREATE", fmt.Sprint(helper.StorageCreate), "bpf_task_storage_get: create if absent"},
		{"PORTCULLIS_F_THREAD", fmt.Sprintf("%#x", helper.StorageThread), "the thread's storage, not the process's"},
		{"PORTCULLIS_WAIT_ANY", fmt.Sprintf("%#xULL", abi.WaitAny), "bpf_wait_syscall, in target_nr: though the target may end by the caller's hand alone"},
	}
}

func actions() []constant {
	var all []constant
	for _, v := range []struct {
		verdict abi.Verdict
		name    string
	}{
		{abi.KillProcess, "KILL_PROCESS"},
		{abi.KillThread, "KILL_THREAD"},
		{abi.Trap, "TRAP"},
		{abi.ErrnoAction, "ERRNO"},
		{abi.UserNotif, "USER_NOTIF"},
		{abi.Trace, "TRACE"},
		{abi.Log, "LOG"},
		{abi.Allow, "ALLOW"},
	} {
		all = append(all, constant{"SECCOMP_RET_" + v.name, fmt.Sprintf("0x%08xU", uint32(v.verdict)), ""})
	}
	return append(all,
		constant{"SECCOMP_RET_ACTION_FULL", fmt.Sprintf("0x%08xU", abi.ActionMask), ""},
		constant{"SECCOMP_RET_DATA", fmt.Sprintf("0x%08xU", abi.DataMask), ""})
}

func arches() []constant {
	return []constant{
		{"AUDIT_ARCH_X86_64", fmt.Sprintf("0x%xU", uint32(abi.ArchX86_64)), ""},
		{"AUDIT_ARCH_I386", fmt.Sprintf("0x%xU", uint32(abi.ArchI386)), ""},
		{"PORTCULLIS_X32_BIT", fmt.Sprintf("0x%xU", abi.X32Bit), ""},
	}
}

func errnos() []constant {
	return []constant{
		{"EPERM", "1", ""},
		{"ENOENT", "2", ""},
		{"ESRCH", "3", ""},
		{"EINTR", "4", ""},
		{"EIO", "5", ""},
		{"E2BIG", "7", ""},
		{"ENOEXEC", "8", ""},
		{"EBADF", "9", ""},
		{"EAGAIN", "11", ""},
		{"ENOMEM", "12", ""},
		{"EACCES", "13", ""},
		{"EFAULT", "14", ""},
		{"EBUSY", "16", ""},
		{"EEXIST", "17", ""},
		{"EXDEV", "18", ""},
		{"ENODEV", "19", ""},
		{"ENOTDIR", "20", ""},
		{"EISDIR", "21", ""},
		{"EINVAL", "22", ""},
		{"EMFILE", "24", ""},
		{"ENOSPC", "28", ""},
		{"EROFS", "30", ""},
		{"ENAMETOOLONG", "36", ""},
		{"ENOSYS", "38", ""},
		{"ELOOP", "40", ""},
		{"EPROTONOSUPPORT", "93", ""},
		{"EOPNOTSUPP", "95", ""},
		{"EAFNOSUPPORT", "97", ""},
		{"EADDRNOTAVAIL", "99", ""},
		{"ENETUNREACH", "101", ""},
		{"ETIMEDOUT", "110", ""},
		{"ECONNREFUSED", "111", ""},
	}
}

func functions() []function {
	var all []function
	for _, s := range helper.All() {
		all = append(all, function{ID: s.ID, Name: s.Name, Ret: result(s), Params: params(s), Doc: s.Doc})
	}
	return all
}

// result is the C type of a helper's result. Helpers without arguments return
// unsigned quantities, the others a length or a negative error.
func result(s helper.Signature) string {
	switch {
	case s.Ret == helper.Void:
		return "void "
	case s.Ret == helper.ValueOrNull || s.Ret == helper.RecordOrNull:
		return "void *"
	case s.Args[0] == helper.None:
		return "__u64 "
	}
	return "long "
}

// params is the C parameter list of a helper.
func params(s helper.Signature) string {
	if s.ID == helper.TracePrintk {
		return "const char *fmt, __u32 fmt_size, ..."
	}
	var list []string
	for i, a := range s.Args {
		if a == helper.None {
			break
		}
		list = append(list, param(a, i))
	}
	if len(list) == 0 {
		return "void"
	}
	return strings.Join(list, ", ")
}

// param declares argument i by what its register must hold.
func param(a helper.Arg, i int) string {
	switch a {
	case helper.ConstMap:
		return "void *map"
	case helper.MapKey:
		return "const void *key"
	case helper.MapValue:
		return "const void *value"
	case helper.MapValueOrNull:
		return "void *value"
	case helper.MemRead:
		return "const void *data"
	case helper.MemWrite:
		return "void *dst"
	case helper.Size, helper.SizeOrZero:
		return "__u32 size"
	case helper.NullTask:
		return "void *null_task"
	case helper.Lock:
		return "struct bpf_spin_lock *lock"
	case helper.Record:
		return "void *record"
	case helper.ConstSize:
		return "__u64 size"
	case helper.Context:
		return "const void *ctx"
	}
	return fmt.Sprintf("__u64 arg%d", i+1)
}
