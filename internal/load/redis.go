package load

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
)

func redis() Program {
	return Program{Name: "redis", Command: "redis-server", Package: "redis-server", play: playRedis, intrude: intrudeRedis}
}

// startRedis starts a server, and gives a connection to it.
func startRedis(s *session, args ...string) (*redisClient, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	args = append([]string{
		"--port", ports[0], "--bind", "127.0.0.1", "--unixsocket", s.file("sock"), "--dir", s.dir, "--save", "3600 1",
		"--enable-debug-command", "yes",
	}, args...)
	if err := s.run(args...); err != nil {
		return nil, err
	}
	if err := s.await("ready to accept connections at"); err != nil {
		return nil, err
	}
	if s.rand.Intn(2) == 0 {
		return dialRedis("unix", s.file("sock"))
	}
	return dialRedis("tcp", "127.0.0.1:"+ports[0])
}

func playRedis(s *session) error {
	args := []string{"--appendonly", s.either("yes", "no"), "--io-threads", s.either("1", "2")}
	args = append(args, strings.Fields(s.extra("--appendfsync always", "--io-threads-do-reads yes", "--lazyfree-lazy-user-del yes",
		"--maxmemory-policy allkeys-lfu", "--rdbcompression no", "--tcp-keepalive 1", "--timeout 60", "--hz 50", "--maxclients 100", "--databases 2",
		"--aof-use-rdb-preamble no", "--tcp-backlog 16", "--loglevel verbose", "--latency-tracking no", "--notify-keyspace-events KEA", "--rdbchecksum no",
		"--crash-memcheck-enabled no", "--disable-thp no", "--oom-score-adj yes", "--jemalloc-bg-thread no", "--set-proc-title no"))...)
	c, err := startRedis(s, args...)
	if err != nil {
		return err
	}
	defer c.Close()
	closed, err := freePorts(1)
	if err != nil {
		return err
	}
	for round := 0; round < 2; round++ {
		if err := s.rounds(redisSteps(s, c, closed[0]), redisMore(s, c)); err != nil {
			return err
		}
	}
	if s.rand.Intn(2) == 0 {
		fmt.Fprintf(c, "SHUTDOWN %s\r\n", s.either("SAVE", "NOSAVE"))
		return s.end()
	}
	return s.stop([]syscall.Signal{syscall.SIGTERM, syscall.SIGINT}[s.rand.Intn(2)])
}

func redisSteps(s *session, c *redisClient, closed string) []step {
	n := s.rand.Intn(1000)
	big := strings.Repeat("x", 1+s.rand.Intn(200000))
	return []step{
		c.want("+OK", "SET", fmt.Sprint("k", n), "v"),
		c.want("+OK", "SET", "big", big),
		c.want("$-1", "GET", "none"),
		c.want(":", "INCRBY", "n", fmt.Sprint(n)),
		c.want(":", "RPUSH", "l", "a", "b", "c"),
		c.want("*", "LRANGE", "l", "0", "-1"),
		c.want(":", "HSET", "h", "f", big),
		c.want("-ERR", "NOTHING"),
		c.want("-WRONGTYPE", "EVAL", "redis.call('SET', 's', 1); return redis.call('LPUSH', 's', 1)", "0"),
		c.want(":500500", "EVAL", "local s = 0; for i = 1, 1000 do s = s + i end; return s", "0"),
		c.want("-ERR", "EVAL", "return nothing.at.all", "0"),
		c.want("$", "INFO"),
		c.want("$", "CLIENT", "LIST"),
		c.want("+", "DEBUG", "SLEEP", "0"),
		c.want("+OK", "CONFIG", "SET", "maxmemory", fmt.Sprint(100+n, "mb")),
		c.want(":", "EXPIRE", fmt.Sprint("k", n), "1"),
		{"REPLICAOF", func() error {
			return inTurn(c.want("+OK", "REPLICAOF", "127.0.0.1", closed), c.want("+OK", "REPLICAOF", "NO", "ONE"))
		}},
		{"SAVE", func() error { return first(c.saved, c.want("+OK", "SAVE").do) }},
		{"BGSAVE", func() error { return first(c.saved, c.want("+Background", "BGSAVE").do, c.saved) }},
		{"BGREWRITEAOF", func() error { return first(c.saved, c.want("+Background", "BGREWRITEAOF").do, c.saved) }},
		{"garbage", func() error { _, err := talk("unix", s.file("sock"), "*1\r\n$99999999999\r\n"); return err }},
	}
}

// redisMore are further steps of a varied load.
func redisMore(s *session, c *redisClient) []step {
	key, clients := fmt.Sprint("m", s.rand.Intn(100)), 2+s.rand.Intn(6)
	any := func(words ...string) step {
		return step{words[0], func() error { _, err := c.ask(words...); return err }}
	}
	return []step{
		{"a crowd", func() error { return together(clients, func(i int) error { return redisCrowd(s, c, i) }) }},
		{"MULTI", func() error { return inTurn(any("MULTI"), any("INCR", "n"), any("GET", "n"), any("EXEC")) }},
		any("LPUSH", "q", "1"), any("BLPOP", "q", "0.01"), any("SADD", "s1", "a", "b"), any("ZADD", "z", "1", "a"), any("XADD", "x", "*", "f", "v"),
		any("XREAD", "COUNT", "2", "STREAMS", "x", "0"), any("PFADD", "hll", "a"), any("GEOADD", "g", "13", "38", "p"), any("SETRANGE", key, "100000", "x"),
		any("PUBLISH", "ch", "m"), any("SCAN", "0"), any("OBJECT", "ENCODING", "n"), any("MEMORY", "DOCTOR"), any("MEMORY", "PURGE"),
		any("LATENCY", "DOCTOR"), any("SLOWLOG", "GET"), any("CONFIG", "GET", "*"), any("CONFIG", "RESETSTAT"), any("CONFIG", "REWRITE"), any("FLUSHDB", "ASYNC"),
		any("UNLINK", key), any("RENAME", "n", "n2"), any("COPY", "n2", "n"), any("DUMP", "n"), any("SORT", "l"), any("TIME"), any("WAIT", "0", "1"), any("FLUSHALL"),
		any("FUNCTION", "LIST"), any("SCRIPT", "FLUSH"), any("ACL", "WHOAMI"), any("ACL", "LOG"), any("CLIENT", "NO-EVICT", "on"), any("DEBUG", "RELOAD"), any("DEBUG", "OBJECT", "n"),
		any("DEBUG", "JMAP"), any("COMMAND", "COUNT"), any("LOLWUT"), any("CONFIG", "SET", "save", "1 1"), any("EVAL", "return redis.call('TIME')", "0"),
		{"appendonly", func() error {
			return first(c.saved, c.want("+OK", "CONFIG", "SET", "appendonly", s.either("yes", "no")).do, c.saved)
		}},
	}
}

// redisCrowd is one of some clients that set and get at the same time, and the last of which
// listens to what is published.
func redisCrowd(s *session, at *redisClient, i int) error {
	c, err := dialRedis(at.RemoteAddr().Network(), at.RemoteAddr().String())
	if err != nil {
		return err
	}
	defer c.Close()
	for k := 0; k < 50; k++ {
		if _, err := c.ask("SET", fmt.Sprint("c", i, "-", k%7), strings.Repeat("y", k*k)); err != nil {
			return err
		}
		if _, err := c.ask("GET", fmt.Sprint("c", k%3, "-", k%7)); err != nil {
			return err
		}
	}
	_, err = c.ask("SUBSCRIBE", "ch")
	return err
}

// intrudeRedis has the server execute itself again, as who can call execve would another
// program.
func intrudeRedis(s *session) (bool, error) {
	c, err := startRedis(s, "--appendonly", "no")
	if err != nil {
		return false, err
	}
	defer c.Close()
	// An error is a refusal before the server gives up what it has, and the end of the
	// connection tells nothing yet.
	if got, err := c.ask("DEBUG", "CRASH-AND-RECOVER"); err == nil {
		return false, first(func() error { return refusal(got) }, func() error { return s.stop(syscall.SIGTERM) })
	}
	err = s.await("ready to accept connections at")
	if errors.As(err, new(*silentError)) {
		return false, nil // it has given up, which is a failure of its own kind
	}
	return err == nil, first(func() error { return err }, func() error { return s.stop(syscall.SIGTERM) })
}

func refusal(answer string) error {
	if !strings.HasPrefix(answer, "-ERR") {
		return fmt.Errorf("expected an error or nothing, found %q", answer)
	}
	return nil
}

// redisClient is a connection.
type redisClient struct {
	net.Conn
	answers *bufio.Reader
}

func dialRedis(network, address string) (*redisClient, error) {
	c, err := dial(network, address)
	if err != nil {
		return nil, err
	}
	return &redisClient{c, bufio.NewReaderSize(c, 1<<16)}, nil
}

// want is a step that gives a command, whose answer has to begin with a text.
func (c *redisClient) want(text string, words ...string) step {
	return step{words[0], func() error {
		got, err := c.ask(words...)
		if err == nil && !strings.HasPrefix(got, text) {
			err = fmt.Errorf("%.60q: expected %q, found %.200q", words, text, got)
		}
		return err
	}}
}

func (c *redisClient) ask(words ...string) (string, error) {
	text := fmt.Sprintf("*%d\r\n", len(words))
	for _, w := range words {
		text += fmt.Sprintf("$%d\r\n%s\r\n", len(w), w)
	}
	if _, err := c.Write([]byte(text)); err != nil {
		return "", err
	}
	return c.answer()
}

// answer is one of RESP: a line, with a body or further answers behind it where it says so.
func (c *redisClient) answer() (string, error) {
	var text strings.Builder
	for left := 1; left > 0; left-- {
		more, err := c.part(&text)
		if err != nil {
			return "", err
		}
		left += more
	}
	return text.String(), nil
}

// part is a line with its body, behind which there are more parts.
func (c *redisClient) part(text *strings.Builder) (more int, err error) {
	line, err := c.answers.ReadSlice('\n') // of which none is as long as the buffer
	if err != nil {
		return 0, err
	}
	text.Write(line)
	n, kind := 0, line[0]
	if kind == '*' || kind == '$' {
		if n, err = strconv.Atoi(strings.TrimSpace(string(line[1:]))); err != nil {
			return 0, fmt.Errorf("expected a length, found %.40q", line)
		}
	}
	if n > maxAnswer-text.Len() {
		return 0, fmt.Errorf("expected an answer of at most %d bytes, found %.40q behind %d", maxAnswer, line, text.Len())
	}
	if kind == '$' && n >= 0 {
		_, err = io.CopyN(text, c.answers, int64(n)+int64(len("\r\n")))
		return 0, err
	}
	return max(n, 0), err // -1 is that there is nothing
}

// saved asks until no child of the server is saving.
func (c *redisClient) saved() error {
	for {
		got, err := c.ask("INFO", "persistence")
		if err != nil {
			return err
		}
		if strings.Contains(got, "rdb_bgsave_in_progress:0") && strings.Contains(got, "aof_rewrite_in_progress:0") &&
			strings.Contains(got, "aof_rewrite_scheduled:0") {
			return nil
		}
	}
}
