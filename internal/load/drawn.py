"""A program that does a drawn choice of what the standard library can do without children, before it
serves a connection and afterwards. Importing is a part of that, so it imports more than it uses."""
import array, asyncio, base64, bz2, collections, concurrent.futures, configparser, contextlib, copy, csv, ctypes, datetime
import decimal, difflib, errno, fcntl, fileinput, filecmp, fractions, functools, getpass, glob, gzip, hashlib, heapq, hmac
import html.parser, http.client, http.server, importlib, io, ipaddress, json, linecache, locale, logging, logging.handlers, lzma
import mmap, os, pathlib, pickle, platform, pwd, queue, random, re, resource, sched, secrets, select, selectors, shelve, shutil, signal
import socket, socketserver, sqlite3, ssl, stat, statistics, string, struct, sys, sysconfig, tarfile, tempfile, threading, time
import tracemalloc, unicodedata, urllib.request, uuid, wave, weakref, xml.etree.ElementTree, zipfile, zlib, zoneinfo

TEXT = "".join(chr(97 + i % 26) for i in range(5000))


def files():
    with tempfile.TemporaryDirectory(dir=".") as d:
        p = pathlib.Path(d, "a")
        p.write_text(TEXT)
        with p.open("r+b", buffering=0) as f:
            f.seek(10), f.write(b"x"), f.truncate(100), os.fsync(f.fileno()), os.fdatasync(f.fileno())
            os.pread(f.fileno(), 5, 1), os.pwrite(f.fileno(), b"y", 2), os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            os.posix_fallocate(f.fileno(), 0, 200)
            with mmap.mmap(f.fileno(), 100) as m:
                m[0:2] = b"zz"
                m.flush()
        p.chmod(0o600), p.touch(), os.utime(p, (1, 2)), p.rename(p.with_name("b")), os.replace(p.with_name("b"), p)
        os.mkdir(p.with_name("d")), [e.stat() for e in os.scandir(d)], list(os.walk(d)), os.access(p, os.R_OK), os.statvfs(d)
        shutil.copy2(p, p.with_name("c")), shutil.copytree(d, d + "2"), shutil.rmtree(d + "2"), filecmp.cmp(p, p.with_name("c"), False)
        shutil.disk_usage(d), glob.glob(d + "/**", recursive=True), os.path.realpath(d), os.getcwd(), shutil.move(p, p.with_name("e"))
        os.ftruncate(fd := os.open(p, os.O_CREAT | os.O_RDWR, 0o644), 10), os.dup2(fd, os.dup(fd)), fcntl.flock(fd, fcntl.LOCK_EX)
        fcntl.lockf(fd, fcntl.LOCK_EX), fcntl.fcntl(fd, fcntl.F_GETFL), os.set_inheritable(fd, True), os.isatty(fd), os.close(fd)


def databases():
    name = tempfile.mktemp(dir=".")
    with contextlib.closing(sqlite3.connect(name)) as db:
        db.execute(random.choice(["pragma journal_mode=wal", "pragma journal_mode=delete", "pragma synchronous=full", "pragma mmap_size=1048576"]))
        db.execute("create table t (a integer primary key, b text)")
        with db:
            db.executemany("insert into t (b) values (?)", [(TEXT[:i],) for i in range(100)])
        with contextlib.suppress(ZeroDivisionError), db:
            db.execute("delete from t"), 1 / 0
        assert db.execute("select count(*) from t").fetchone() == (100,)
        db.execute("vacuum"), db.backup(sqlite3.connect(":memory:"))


def shelves():
    with shelve.open(tempfile.mktemp(dir=".")) as s:
        s["a"] = [1, {2: 3}]
        pickle.loads(pickle.dumps(s["a"]))


def archives():
    name = tempfile.mktemp(dir=".")
    with zipfile.ZipFile(name, "w", random.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])) as z:
        z.writestr("a", TEXT)
    with zipfile.ZipFile(name) as z:
        z.testzip(), z.extractall(name + ".d")
    with tarfile.open(name, random.choice(["w", "w:gz", "w:bz2", "w:xz"])) as t:
        t.add(name + ".d")
    with tarfile.open(name) as t:
        t.extractall(name + ".e")
    for one in (gzip, bz2, lzma):
        one.decompress(one.compress(TEXT.encode()))
    shutil.make_archive(name, "zip", name + ".d"), shutil.rmtree(name + ".d"), shutil.rmtree(name + ".e")


def threads():
    q, lock, done = queue.Queue(), threading.Lock(), threading.Event()
    def work():
        while (n := q.get()) is not None:
            with lock:
                time.sleep(n / 10000)
        done.set()
    ts = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in ts], [q.put(i) for i in range(20)], [q.put(None) for _ in ts], [t.join() for t in ts], done.wait()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: hashlib.sha256(TEXT.encode() * n).hexdigest(), range(20)))
    barrier = threading.Barrier(2)
    t = threading.Timer(0.01, barrier.wait)
    t.start(), barrier.wait(), t.join(), threading.stack_size(1 << 18), threading.stack_size(0)


def sockets():
    a, b = socket.socketpair()
    with a, b:
        a.sendall(b"x"), b.recv(1), a.setblocking(False), a.settimeout(1), a.shutdown(socket.SHUT_WR), b.recv(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
        u.bind(("127.0.0.1", 0)), u.sendto(b"x", u.getsockname()), u.recvfrom(10), u.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        u.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with left, right, open(__file__) as f:
        socket.send_fds(left, [b"x"], [f.fileno()]), [os.close(fd) for fd in socket.recv_fds(right, 1, 1)[1]]
        left.sendfile(open(__file__, "rb"), count=100), right.recv(10)
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", 1), 1)
    with contextlib.suppress(OSError):
        socket.create_connection(("::1", 1), 1)
    socket.gethostname(), socket.getaddrinfo("localhost", 80), socket.if_nameindex()
    with contextlib.suppress(OSError):
        socket.gethostbyaddr("127.0.0.1")


def waiting():
    r, w = os.pipe()
    os.set_blocking(r, False), os.write(w, b"x"), select.select([r], [w], [], 0.1), os.read(r, 1)
    for kind in (selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector):
        with kind() as s:
            s.register(r, selectors.EVENT_READ), s.select(0.001)
    os.close(r), os.close(w)


def asynchronous():
    async def answer(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
    async def main():
        # Over a pair, for no ports are opened once it serves.
        a, b = socket.socketpair()
        ra, wa = await asyncio.open_connection(sock=a)
        rb, wb = await asyncio.open_connection(sock=b)
        wb.write(b"hello\n")
        await asyncio.gather(answer(ra, wa), asyncio.sleep(0.01), asyncio.to_thread(sum, range(1000)))
        assert await rb.readline() == b"hello\n"
        wb.close()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        await asyncio.get_running_loop().getaddrinfo("localhost", 80)
    asyncio.run(main())


def signals():
    if threading.current_thread() is not threading.main_thread():
        return
    came = []
    signal.signal(signal.SIGUSR1, lambda *_: came.append(1))
    os.kill(os.getpid(), signal.SIGUSR1), signal.raise_signal(signal.SIGUSR1), signal.setitimer(signal.ITIMER_REAL, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2]), signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)
    signal.sigpending(), signal.sigtimedwait([signal.SIGUSR2], 1), signal.alarm(0), signal.siginterrupt(signal.SIGUSR1, False)


def texts():
    json.loads(json.dumps({"a": [1, None, TEXT]})), re.findall("a(.*?)z", TEXT), difflib.unified_diff(["a"], ["b"]), csv.writer(io.StringIO()).writerow("ab")
    xml.etree.ElementTree.fromstring("<a><b/></a>"), configparser.ConfigParser().read_string("[a]\nb=c"), html.parser.HTMLParser().feed("<p>")
    decimal.Decimal(1) / 3, fractions.Fraction(1, 3), statistics.stdev([1, 2, 3]), string.Template("$a").substitute(a=1), struct.pack("<Q", 1)
    unicodedata.normalize("NFC", "e\u0301"), base64.b85encode(b"x"), zlib.crc32(b"x"), ipaddress.ip_network("10.0.0.0/8"), copy.deepcopy([[1]])


def secrets_and_time():
    secrets.token_hex(), os.urandom(10), uuid.uuid4(), hmac.digest(b"k", b"m", "sha256"), hashlib.scrypt(b"p", salt=b"s", n=2, r=8, p=1)
    time.time(), time.monotonic(), time.process_time(), time.thread_time(), time.clock_getres(time.CLOCK_REALTIME), time.sleep(0.001), time.localtime()
    datetime.datetime.now(datetime.timezone.utc), zoneinfo.available_timezones() and None, ssl.create_default_context()


def about():
    os.getpid(), os.getppid(), os.getuid(), os.getgroups(), os.uname(), os.cpu_count(), os.sched_getaffinity(0), os.getloadavg()
    resource.getrusage(resource.RUSAGE_SELF), resource.getrlimit(resource.RLIMIT_NOFILE), pwd.getpwuid(os.getuid()), os.times(), os.umask(os.umask(0o22))
    locale.setlocale(locale.LC_ALL, "C"), sysconfig.get_paths(), os.nice(0), os.sched_yield()
    os.getpgid(0), os.getsid(0), os.getpriority(os.PRIO_PROCESS, 0), os.getpgrp(), os.ctermid(), shutil.which("sh"), getpass.getuser()


def logs():
    name = tempfile.mktemp(dir=".")
    log = logging.getLogger(name)
    log.addHandler(logging.handlers.RotatingFileHandler(name, maxBytes=100, backupCount=2))
    with contextlib.suppress(OSError):
        log.addHandler(logging.handlers.SysLogHandler("/dev/log"))
    [log.error(TEXT[:50]) for _ in range(10)]


def memory():
    tracemalloc.start(), [bytearray(1 << 20) for _ in range(20)], tracemalloc.stop(), array.array("q", range(100000)), memoryview(b"x" * 1000000)[1:]
    ctypes.CDLL(None).getpid(), importlib.reload(string), weakref.ref(threads), mmap.mmap(-1, 1 << 20).close()


CHORES = [files, databases, shelves, archives, threads, sockets, waiting, asynchronous, signals, texts, secrets_and_time, about, logs, memory]


def some():
    for chore in random.sample(CHORES, random.randrange(4, 10)):
        print(chore.__name__, flush=True)
        chore()
    together = random.sample(CHORES, 3)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        [f.result() for f in [pool.submit(chore) for chore in together]]


def main():
    random.seed(int(sys.argv[1]))
    some()
    with socket.create_server(("127.0.0.1", int(sys.argv[2]))) as server:
        print("serving", flush=True)
        c, _ = server.accept()
        c.recv(1000)
        some()
        c.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello\n")
        c.close()
    print("done", flush=True)


main()
