"""A server of HTTP that does a little of everything, and one thing that it should not."""
import base64, gzip, hashlib, io, json, os, random, signal, sqlite3, socket, sys, tempfile, threading, time, urllib.parse
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

POOL = ThreadPoolExecutor(2)


def listed(q):
    return json.dumps(sorted(os.listdir(".")))


def hashed(q):
    return hashlib.sha256(q.get("text", "").encode()).hexdigest()


def stored(q):
    with sqlite3.connect("data.db") as db:
        db.execute("create table if not exists t (v text)")
        db.execute("insert into t values (?)", (q.get("text", ""),))
        return str(db.execute("select count(*) from t").fetchone()[0])


def written(q):
    with tempfile.NamedTemporaryFile("w", dir=".", delete=False) as f:
        f.write(q.get("text", ""))
    os.replace(f.name, "written")
    size = os.stat("written").st_size
    os.mkdir("d"), os.rename("written", "d/w"), os.unlink("d/w"), os.rmdir("d")
    return str(size)


def zipped(q):
    return base64.b64encode(gzip.compress(q.get("text", "").encode())).decode()


def pooled(q):
    return str(POOL.submit(sum, range(int(q.get("n", "10")))).result(60))


def resolved(q):
    return str(socket.getaddrinfo("127.0.0.1", 80)[0][4][0])


def asked(q):
    """Asks another server, which may not be there."""
    try:
        with socket.create_connection(("127.0.0.1", int(q["port"])), 60) as s:
            s.sendall(b"GET /hash HTTP/1.0\r\n\r\n")
            return s.makefile().readline()
    except OSError as e:
        return type(e).__name__


def imported(q):
    import decimal, fractions, statistics
    return str(statistics.mean([1, 2, 3])) + str(decimal.Decimal(1)) + time.strftime("%Y", time.localtime(0))


def failing(q):
    raise ValueError(q.get("text"))


def greeted(q):
    """The hole: the name becomes part of a command. Without one no command is needed."""
    if "name" not in q:
        return "hello\n"
    return str(os.system("echo hello " + q["name"] + " >greeting"))


PAGES = {
    "/list": listed, "/hash": hashed, "/store": stored, "/write": written, "/zip": zipped, "/pool": pooled,
    "/resolve": resolved, "/ask": asked, "/import": imported, "/fail": failing, "/greet": greeted,
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self, body=""):
        url = urllib.parse.urlsplit(self.path)
        q = dict(urllib.parse.parse_qsl(url.query + body, keep_blank_values=True))
        if url.path not in PAGES:
            return self.send_error(404)
        try:
            text = PAGES[url.path](q).encode()
        except ValueError:
            return self.send_error(500)
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self):
        self.do_GET("&text=" + self.rfile.read(int(self.headers["Content-Length"])).decode())


def main():
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    stop = lambda *_: threading.Thread(target=server.shutdown).start()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print("serving", flush=True)
    server.serve_forever()
    print("done", flush=True)


main()
