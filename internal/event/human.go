package event

import (
	"fmt"
	"strconv"
	"strings"

	"portcullis/internal/abi"
	"portcullis/internal/abi/args"
)

// String is e for people, on one line:
//
//	execve(0x55d0, 0x55e8, 0x55f0, 0x0, 0x0, 0x0) by bash[4711]: ERRNO(1) EPERM from count-exec, count-exec.c:31 `return DENY;`
func (e *Event) String() string {
	switch e.Kind {
	case KindPrint:
		return fmt.Sprintf("%s printed: %s", Printable(e.Program), Printable(e.Text))
	case KindRecord:
		return fmt.Sprintf("%s recorded in %s at %s%s: %s", Printable(e.Program), Printable(e.Map), e.Call.Title(), e.by(), e.Content()+e.remark())
	case KindLost:
		if e.Map != "" {
			return fmt.Sprintf("%d records of %s were lost at %s%s: they found no room in %s", e.Lost, Printable(e.Program), e.Call.Title(), e.by(), Printable(e.Map))
		}
		return fmt.Sprintf("%d events were lost: the reader is slower than the calls", e.Lost)
	case KindPermissive:
		return "permissive: what filters deny is reported, and let through"
	}
	return e.subject() + e.Explain()
}

// Explain is what String says of a verdict after naming the caller: it is the
// same for every call that is denied for the same reason.
func (e *Event) Explain() string {
	var b strings.Builder
	if e.Permitted {
		b.WriteString("would be denied: ")
	}
	b.WriteString(Verdict(e.Verdict))
	b.WriteString(" from ")
	b.WriteString(e.origin())
	b.WriteString(e.remark())
	return b.String()
}

func (e *Event) remark() string {
	if e.Text == "" {
		return ""
	}
	return " (" + Printable(e.Text) + ")"
}

func (e *Event) subject() string { return e.Call.String() + e.by() + ": " }

// by names the caller, if it is known.
func (e *Event) by() string {
	if e.Pid == 0 {
		return ""
	}
	return fmt.Sprintf(" by %s[%d]", Printable(e.Comm), e.Pid)
}

func (e *Event) origin() string {
	if e.Leaf == LeafGuard {
		return "the " + e.Program + " guard"
	}
	where := Printable(e.Program)
	switch {
	case e.Line != "" && e.Source != "":
		where += ", " + Printable(e.Line) + " `" + Printable(strings.TrimSpace(e.Source)) + "`"
	case e.Line != "":
		where += ", " + Printable(e.Line)
	case e.Insn >= 0:
		where += ", instruction " + strconv.Itoa(e.Insn)
	}
	return where
}

// Title is the call's name, or its number where it has none.
func (c Call) Title() string {
	name := c.Name
	if name == "" {
		name = "call " + strconv.Itoa(int(c.Nr))
	}
	if c.Arch != abi.ArchX86_64 {
		name += " (" + archName(c.Arch) + ")"
	}
	return name
}

// String is the call with its arguments.
func (c Call) String() string {
	words := make([]string, c.arity())
	for i := range words {
		words[i] = hexadecimal(c.Args[i])
	}
	return c.Title() + "(" + strings.Join(words, ", ") + ")"
}

// arity is how many of the registers are arguments; all, where it is not known.
func (c Call) arity() int {
	if known, ok := args.Of(uint32(c.Nr)); ok && c.Arch == abi.ArchX86_64 {
		return known.Arity()
	}
	return len(c.Args)
}

// Verdict is v for people: "ALLOW", "ERRNO(1) EPERM".
func Verdict(v abi.Verdict) string {
	if v.Action() != abi.ErrnoAction {
		return v.String()
	}
	if name := errnoName(int(v.Data())); name != "" {
		return v.String() + " " + name
	}
	return v.String()
}

// ParseVerdict reads what Verdict and abi.Verdict print, and an error by its
// name alone: "ALLOW", "ERRNO(1)", "ERRNO(1) EPERM", "EPERM".
func ParseVerdict(s string) (abi.Verdict, error) {
	for n, name := range strings.Fields(errnoNames) {
		if s == name && name != "-" {
			return abi.Errno(uint16(n + 1)), nil
		}
	}
	bare, name, named := strings.Cut(s, " ")
	v, err := abi.ParseVerdict(bare)
	if err != nil || named && Verdict(v) != bare+" "+name {
		return 0, fmt.Errorf("verdict %q: expected an action such as ALLOW, ERRNO(1) or KILL_PROCESS, or the name of an error", s)
	}
	return v, nil
}

// Printable replaces what a target or a filter's author could use to write to
// the reader's terminal: names of tasks and source lines are theirs to choose.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// errnoNames are the names of errno 1 to 133 in order, "-" where a number has
// none (include/uapi/asm-generic/errno-base.h and errno.h).
const errnoNames = "EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM " +
	"EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY " +
	"ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS " +
	"ENOTEMPTY ELOOP - ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT " +
	"EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT - EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG " +
	"EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD " +
	"EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK " +
	"EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP " +
	"EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED " +
	"ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN " +
	"EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL EISNAM EREMOTEIO EDQUOT " +
	"ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD " +
	"ENOTRECOVERABLE ERFKILL EHWPOISON"

func errnoName(n int) string {
	names := strings.Fields(errnoNames)
	if n < 1 || n > len(names) || names[n-1] == "-" {
		return ""
	}
	return names[n-1]
}
