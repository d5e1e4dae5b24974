#!/usr/bin/python3
"""What libseccomp makes of profiles, as runc uses it: the golden data of TestLibseccomp.

    apt-get install libseccomp2
    python3 testdata/libseccomp.py testdata/profiles/*.json > testdata/libseccomp.txt

For each profile a line with its name and the largest number it names, or why libseccomp
refuses it, then the classic BPF program as lines of hexadecimal. With --random N it also
writes N profiles of its own, random0.json and so on, in front of that.
"""
import ctypes, json, os, random, sys

lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
lib.seccomp_init.restype = ctypes.c_void_p
lib.seccomp_init.argtypes = [ctypes.c_uint32]


class Cmp(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


lib.seccomp_rule_add_array.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Cmp)]
lib.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
lib.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
lib.seccomp_release.argtypes = [ctypes.c_void_p]
X86_64 = 0xC000003E
OPS = dict(NE=1, LT=2, LE=3, EQ=4, GE=5, GT=6, MASKED_EQ=7)
ACTIONS = dict(KILL=0, KILL_THREAD=0, KILL_PROCESS=0x80000000, TRAP=0x30000, ERRNO=0x50000, TRACE=0x7FF00000,
               LOG=0x7FFC0000, NOTIFY=0x7FC00000, ALLOW=0x7FFF0000)


def action(name, errno):
    act = ACTIONS[name[len("SCMP_ACT_"):]]
    return act | (1 if errno is None else errno) & 0xFFFF if name.endswith(("ERRNO", "TRACE")) else act


def applies(call):
    ex, inc = call.get("excludes") or {}, call.get("includes") or {}
    return not ("amd64" in (ex.get("arches") or []) or ex.get("minKernel")
                or inc.get("arches") and "amd64" not in inc["arches"] or inc.get("caps"))


def program(profile):
    default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    ctx, largest = lib.seccomp_init(default), 0
    for call in profile["syscalls"]:
        if not applies(call):
            continue
        act = action(call["action"], call.get("errnoRet"))
        args = [Cmp(a["index"], OPS[a["op"][len("SCMP_CMP_"):]], a["value"], a.get("valueTwo", 0)) for a in call.get("args") or []]
        sets = [args]
        if len({a.arg for a in args}) < len(args):
            sets = [[a] for a in args]
        for name in call["names"]:
            nr = lib.seccomp_syscall_resolve_name_arch(X86_64, name.encode())
            if nr >= 0:
                largest = max(largest, nr)
            real = lib.seccomp_syscall_resolve_name(name.encode())
            if act == default or real == -1:
                continue
            for s in sets:
                rc = lib.seccomp_rule_add_array(ctx, act, real, len(s), (Cmp * len(s))(*s))
                if rc != 0:
                    lib.seccomp_release(ctx)
                    return largest, os.strerror(-rc)
    r, w = os.pipe()
    lib.seccomp_export_bpf(ctx, w)
    os.close(w)
    lib.seccomp_release(ctx)
    with os.fdopen(r, "rb") as f:
        return largest, f.read()


def draw(rng):
    """A profile whose calls have one rule or more, with the values that make trouble."""
    acts = ["ALLOW", "ERRNO", "KILL_PROCESS", "LOG", "TRAP", "NOTIFY", "KILL", "ALLOW"]
    values = [0, 1, 2, 7, 8, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, (1 << 32) + 7, 1 << 63, (1 << 64) - 1]
    names = ["read", "openat", "socket", "clone", "mmap", "ioctl", "prctl", "kill"]

    def arg(index):
        a = dict(index=index, op="SCMP_CMP_" + rng.choice(list(OPS)), value=rng.choice(values))
        if a["op"] == "SCMP_CMP_MASKED_EQ":
            a["valueTwo"] = rng.choice(values + [a["value"]])
        return a

    def rule(name, act):
        r = dict(names=[name], action="SCMP_ACT_" + act)
        if act == "ERRNO":
            r["errnoRet"] = rng.choice([1, 13, 38, 4094])
        n = rng.choice([0, 1, 1, 1, 2, 2, 3])
        if n:
            r["args"] = [arg(i) for i in sorted(rng.sample(range(4), n))]
            if rng.random() < 0.1:
                r["args"].append(arg(r["args"][0]["index"]))
        return r

    rules = []
    for name in names:
        act = rng.choice(acts)
        for _ in range(rng.choice([1, 1, 2, 3])):
            # Mostly one action for a call: what libseccomp does with more is its own.
            rules.append(rule(name, act if rng.random() < 0.9 else rng.choice(acts)))
    return dict(defaultAction="SCMP_ACT_" + rng.choice(["ERRNO", "KILL_PROCESS", "ALLOW", "LOG"]), syscalls=rules)


def main(args):
    rng, profiles = random.Random(1), []
    if args[0] == "--random":
        profiles = [("random%d.json" % i, json.dumps(draw(rng))) for i in range(int(args[1]))]
        args = args[2:]
    profiles += [(os.path.basename(a), None) for a in args]
    for (name, text), path in zip(profiles, [None] * (len(profiles) - len(args)) + args):
        if text:
            print("profile", text)
        largest, prog = program(json.loads(text or open(path).read()))
        if isinstance(prog, str):
            print("refused", name, largest, prog)
            continue
        print("program", name, largest)
        for i in range(0, len(prog), 48):
            print(prog[i:i + 48].hex())


main(sys.argv[1:])
