// SPDX-License-Identifier: Apache-2.0
// The cases of calls on memory and the system, for pinned.c.

// ---- memory -----------------------------------------------------------------------------------

static void memory_policies(void)
{
	CASE(mbind, "preferred", (long)ARENA + 40 * page, 4 * page, 1, THE(long, 1), 64, 0);
	CASE(mbind, "no node", (long)ARENA + 40 * page, 4 * page, 1, THE(long, 1L << 40), 64, 0);
	CASE(mbind, "badly", (long)ARENA + 1, page, 1, THE(long, 1), 64, 0);
	CASE(set_mempolicy, "preferred", 1, THE(long, 1), 64);
	CASE(set_mempolicy, "many nodes", 1, bytes((long[64]){ 1 }, 512), 4000);
	CASE(set_mempolicy, "none", 0, 0, 0);
	CASE(migrate_pages, "itself", 0, 64, THE(long, 1), THE(long, 1));
	CASE(migrate_pages, "nobody", 0x7ffffff0, 64, THE(long, 1), THE(long, 1));
	CASE(move_pages, "one", 0, 1, ARRAY(long, (long)ARENA), THE(int, 0), out(4), 2);
	CASE(move_pages, "a question", 0, 1, ARRAY(long, (long)ARENA), 0, out(4), 2);
	CASE(move_pages, "no node", 0, 1, ARRAY(long, (long)ARENA), THE(int, 99), out(4), 2);
}

// ---- what takes privilege, which is not there ---------------------------------------------------

static void privileged(void)
{
	CASE(pivot_root, "here", text("."), text("."));
	CASE(acct, "a file", text(file("file")));
	CASE(mount, "nothing", text("none"), text("."), text("tmpfs"), 0, text("size=1M"));
	CASE(umount2, "here", text("."), 0);
	CASE(swapon, "a file", text(file("file")), 0);
	CASE(swapoff, "a file", text(file("file")));
	CASE(reboot, "badly", 0, 0, 0xa1b2c3d4, text("never"));
	CASE(sethostname, "a name", text("name"), 4);
	CASE(setdomainname, "a name", text("name"), 4);
	CASE(init_module, "nothing", text("no module"), 9, text("a=b"));
	CASE(delete_module, "none", text("no_such_module"), O_NONBLOCK);
	CASE(finit_module, "a file", opened(file("file"), O_RDONLY), text("a=b"), 0);
	CASE(kexec_load, "nothing", 0, 1, bytes((char[32]){ 0 }, 32), 0);
	CASE(kexec_file_load, "no file", -1, -1, 5, text("text"), 0);
	CASE(quotactl, "on", 0x800002 << 8, text("none"), 0, text("file"));
	CASE(quotactl, "set", 0x800008 << 8, text("none"), 0, bytes((char[72]){ 0 }, 72));
	CASE(quotactl, "synchronise", 0x800001 << 8, 0, 0, 0);
	CASE(quotactl_fd, "on", place(), 0x800002 << 8, 0, text("file"));
	CASE(quotactl_fd, "set", place(), 0x800008 << 8, 0, bytes((char[72]){ 0 }, 72));
	CASE(open_tree, "here", AT_FDCWD, text("."), 0);
	CASE(open_tree, "a copy", AT_FDCWD, text("."), 1);
	CASE(open_tree_attr, "here", AT_FDCWD, text("."), 1, bytes((char[32]){ 0 }, 32), 32);
	CASE(move_mount, "here", AT_FDCWD, text("."), AT_FDCWD, text("."), 0);
	CASE(mount_setattr, "here", AT_FDCWD, text("."), 0, bytes((char[32]){ 1 }, 32), 32);
	CASE(fsopen, "one", text("tmpfs"), 0);
	CASE(fsconfig, "nothing", 77, 1, text("size"), text("1M"), 0);
	CASE(fsconfig, "a file", place(), 2, text("data"), text("1M"), 2);
	CASE(fspick, "here", AT_FDCWD, text("."), 0);
	CASE(lsm_set_self_attr, "badly", 100, bytes((long[4]){ 101, 0, 32, 0 }, 32), 32, 0);
	CASE(landlock_create_ruleset, "one", THE(long, 1), 8, 0);
	CASE(landlock_create_ruleset, "the version", 0, 0, 1);
	CASE(landlock_add_rule, "nothing", 77, 1, bytes((char[12]){ 1 }, 12), 0);
	CASE(landlock_add_rule, "a port", syscall(NR_landlock_create_ruleset, ARRAY(long, 0, 1), 16, 0), 2, ARRAY(long, 1, 80), 0);
}

// ---- keys -----------------------------------------------------------------------------------

enum { process_keyring = -2 };

static int a_key(void)
{
	return MUST(syscall(SYS_add_key, "user", "desc", "text", 4, process_keyring));
}

static int a_ring(void)
{
	return MUST(syscall(SYS_add_key, "keyring", "ring", 0, 0, process_keyring));
}

static void keys(void)
{
	CASE_AS(NOVALUE, add_key, "one", text("user"), text("desc"), text("text"), 4, process_keyring);
	CASE_AS(NOVALUE, add_key, "a ring", text("keyring"), text("ring"), 0, 0, process_keyring);
	CASE(add_key, "of no type", text("none at all"), text("desc"), text("text"), 4, process_keyring);
	CASE_AS(NOVALUE, request_key, "one", (a_key(), text("user")), text("desc"), 0, process_keyring);
	CASE(request_key, "none", text("user"), text("none"), 0, process_keyring);
	CASE_AS(NOVALUE, keyctl, "join", 1, text("pinned"));
	CASE(keyctl, "update", 2, a_key(), text("texts"), 5);
	CASE_AS(NOVALUE, keyctl, "search", 10, process_keyring, (a_key(), text("user")), text("desc"), 0);
	CASE(keyctl, "instantiate", 12, a_key(), text("text"), 4, 0);
	CASE(keyctl, "instantiate with buffers", 20, a_key(), IOV(vec("text")), 1, 0);
	CASE(keyctl, "compute", 23, ARRAY(int, 1, 2, 3), out(8), 8, 0);
	CASE(keyctl, "a question", 24, a_key(), 0, text("enc=raw"), out(64));
	CASE(keyctl, "encrypt", 25, ARRAY(int, 1, 4, 4, 0, 0, 0, 0, 0, 0, 0), text("enc=raw"), text("text"), out(8));
	CASE(keyctl, "restrict", 29, a_ring(), text("asymmetric"), text("builtin_trusted"));
	CASE(keyctl, "restrict all", 29, a_ring(), 0, 0);
}

// ---- with privilege over namespaces of its own ---------------------------------------------------

// A user namespace without a map: whoever has one keeps all identities, and has every
// capability over what else is new.
static int own(int namespaces)
{
	if (unshare(CLONE_NEWUSER | namespaces))
		must_say("%s, %s: no namespaces: %s", row_name, row_label, strerrorname_np(errno));
	return 0;
}

static long mounted(const char *name)
{
	MUST(syscall(SYS_mount, "none", directory(name), "tmpfs", 0, 0));
	return text(name);
}

static int configured(void)
{
	return MUST(syscall(NR_fsopen, "tmpfs", 0));
}

static void show_hostname(void)
{
	char name[65];

	MUST(gethostname(name, sizeof(name)));
	say(" host %s", name);
}

static void namespaces(void)
{
	keys();
	CASE_AS(PLAIN, mount, "a file system", (own(CLONE_NEWNS), text("none")), text(directory("dir")), text("tmpfs"), 0, text("size=64k"));
	CASE_AS(PLAIN, mount, "no file system", (own(CLONE_NEWNS), text("none")), text(directory("dir")), text("nonefs"), 0, 0);
	CASE_AS(PLAIN, mount, "bad data", (own(CLONE_NEWNS), text("none")), text(directory("dir")), text("tmpfs"), 0, text("nonsense=1"));
	CASE_AS(PLAIN, mount, "once more", (own(CLONE_NEWNS), text(directory("dir"))), text("dir"), 0, 4096, 0);
	CASE_AS(PLAIN, umount2, "one", (own(CLONE_NEWNS), mounted("dir")), 0);
	CASE_AS(PLAIN, umount2, "none", (own(CLONE_NEWNS), text(directory("dir"))), 0);
	CASE(sethostname, "its own", (own(CLONE_NEWUTS), also = show_hostname, text("some name")), 9);
	CASE(setdomainname, "its own", (own(CLONE_NEWUTS), text("some name")), 9);
	CASE(setgroups, "denied", (own(0), 2), ARRAY(int, 7, 8));
	CASE_AS(PLAIN, chroot, "a directory of its own", (own(CLONE_NEWNS), text(directory("dir"))));
	CASE_AS(PLAIN, pivot_root, "a mount", (own(CLONE_NEWNS), mounted("dir")), text("dir"));
	CASE_AS(PLAIN, open_tree, "a clone", (own(CLONE_NEWNS), AT_FDCWD), text("."), 1);
	CASE_AS(PLAIN, move_mount, "a clone", (own(CLONE_NEWNS), mounted("dir"), AT_FDCWD), text("dir"), AT_FDCWD, text(directory("to")), 0);
	CASE_AS(PLAIN, mount_setattr, "read-only", (own(CLONE_NEWNS), AT_FDCWD), mounted("dir"), 0, ARRAY(long, 1, 0, 0, 0), 32);
	CASE_AS(PLAIN, open_tree_attr, "read-only", (own(CLONE_NEWNS), AT_FDCWD), mounted("dir"), 1, ARRAY(long, 1, 0, 0, 0), 32);
	CASE_AS(PLAIN, fsopen, "a kind", (own(CLONE_NEWNS), text("tmpfs")), 0);
	CASE_AS(PLAIN, fsopen, "no kind", (own(CLONE_NEWNS), text("nonefs")), 0);
	CASE_AS(PLAIN, fsconfig, "a string", (own(CLONE_NEWNS), configured()), 1, text("size"), text("64k"), 0);
	CASE_AS(PLAIN, fsconfig, "no such", (own(CLONE_NEWNS), configured()), 1, text("nonsense"), text("64k"), 0);
	CASE_AS(PLAIN, fsconfig, "a flag", (own(CLONE_NEWNS), configured()), 0, text("ro"), 0, 0);
	CASE_AS(PLAIN, fsconfig, "bytes", (own(CLONE_NEWNS), configured()), 2, text("size"), text("64k"), 3);
	CASE_AS(PLAIN, fsconfig, "a path", (own(CLONE_NEWNS), configured()), 3, text("size"), text("."), AT_FDCWD);
	CASE_AS(PLAIN, fsconfig, "create", (own(CLONE_NEWNS), configured()), 6, 0, 0, 0);
	CASE_AS(PLAIN, fspick, "a mount", (own(CLONE_NEWNS), AT_FDCWD), mounted("dir"), 0);
}

// ---- calls of late, and those that a guard keeps from filters ------------------------------------

static void newest(void)
{
	struct {
		uint32_t size, spare;
		uint64_t id, param;
	} root = { 24, 0, -1, 0 };
	struct statx st;

	MUST(syscall(SYS_statx, AT_FDCWD, ".", 0, 0x4000, &st));
	CASE_AS(NOVALUE, listmount, "of all", bytes(&root, sizeof(root)), hidden(800), 100, 0);
	CASE(listmount, "badly", bytes(&root, sizeof(root)), hidden(800), 100, 8);
	root.id = *(uint64_t *)((char *)&st + 0x90);
	root.param = 2;
	CASE(statmount, "here", bytes(&root, sizeof(root)), hidden(1000), 1000, 0);
	root.id = 1;
	CASE(statmount, "none", bytes(&root, sizeof(root)), hidden(1000), 1000, 0);
	CASE(listns, "all", bytes(&root, sizeof(root)), hidden(800), 100, 0);
	CASE(file_getattr, "a file", AT_FDCWD, text(file("file")), out(24), 24, 0);
	CASE(file_getattr, "itself", opened(file("file"), O_RDONLY), 0, out(24), 24, AT_EMPTY_PATH);
	CASE(file_setattr, "a file", AT_FDCWD, text(file("file")), bytes((char[24]){ 0 }, 24), 24, 0);
	CASE(file_setattr, "no file", AT_FDCWD, text("none"), bytes((char[24]){ 0 }, 24), 24, 0);
	CASE(clone3, "badly", bytes((long[11]){ -1 }, 88), 88);
	CASE(io_uring_enter, "no ring", 77, 1, 0, 0, set_of(SIGUSR1), 8);
	CASE(ptrace, "nobody", 13, 0x7ffffff0, 0, ARRAY(long, 0));
}
