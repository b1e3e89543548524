"""Real servers of the tests' own: Redis, or Valkey where only that is there, plain, on a unix socket, behind TLS, with a
password or a user of few rights, and clusters of six. A server that the system runs is never touched.

    server = RedisServer()                     listening when it returns; keeps nothing on disk
    server.cli("SET", "a", "b")                asked over a socket that only the test uses
    server.freeze(); server.thaw(); server.kill(); server.restart()
    server.never("KEYS", "FLUSHALL")           what it was asked since it began, by its own account
    cluster = RedisCluster()                   three masters with a replica each, all of one mind

Servers end with the test program, however that ends. Each has an admin socket in its folder, whatever its public side
looks like, so that a test can look inside a server that lets nobody in.
"""

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from .process import wait_until

PATIENCE_S = 30
ADMIN = ("admin", "the-tests-own")
CERTIFICATE = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"

# What Refrain needs at most, as an operator would grant it: its own names, its own channels, no command that could hurt
# others on the same server. {prefix} is cache.prefix.
LEAST_RIGHTS = ("~{prefix}:* &{prefix}:* -@all +ping +hello +auth +select +client|setname +info +cluster "
                "+asking +get +set +del +unlink +exists +pexpire +pttl +strlen +scan +type +eval +evalsha +publish "
                "+subscribe +unsubscribe +xadd +xrange +xread +xlen +xtrim +xinfo +dbsize +getrange +mget +memory|usage "
                "+xrevrange +hset +hgetall +hlen +hdel +time")


class RedisError(Exception):
    """The server answered with an error."""


# -- asking a server ----------------------------------------------------------------------------------------------------


class Asking:
    """One connection to a server, RESP2, for the test's own questions."""

    def __init__(self, path, patience_s=PATIENCE_S):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(patience_s)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def __call__(self, *words):
        self.send(*words)
        return self.answer()

    def send(self, *words):
        coded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(coded) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in coded))

    def answer(self):
        """bytes, int, list, None; an error is raised. Waits for it."""
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            raise RedisError(rest.decode("utf-8", "replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.answer() for _ in range(int(rest))]
        raise ConnectionError(f"not RESP: {line!r}")

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.close()


# -- one server ---------------------------------------------------------------------------------------------------------


def server_binary():
    """REFRAIN_REDIS_SERVER, or whichever of the two is installed."""
    for name in filter(None, (os.environ.get("REFRAIN_REDIS_SERVER"), "redis-server", "valkey-server")):
        if found := shutil.which(name):
            return found
    raise AssertionError("neither redis-server nor valkey-server is installed: deploy/packages-test.txt")


def free_port(bus=False):
    """A port that nothing has at the moment, below those that the kernel gives away; with @bus, 10000 above it, too."""
    while True:
        port = random.randrange(10100, 22000)
        with contextlib.ExitStack() as held:
            try:
                for wanted in (port, port + 10000) if bus else (port,):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", wanted))
                return port
            except OSError:
                continue


class RedisServer:
    """One server. Its public side: a port of 127.0.0.1, or with unix=True the socket `path`; with certificates=… that
    port speaks TLS only, and wants a client certificate. password=… alone is the default user's; user=… and
    password=… a user with LEAST_RIGHTS, beside whom the default user is off.
    """

    def __init__(self, unix=False, password=None, user=None, certificates=None, cluster=False, prefix="refrain",
                 rights=LEAST_RIGHTS, options=()):
        self.folder = tempfile.mkdtemp(prefix="refrain-redis-")
        self.unix, self.password, self.user, self.certificates = unix, password, user, certificates
        self.cluster, self.prefix, self.rights, self.options = cluster, prefix, rights, tuple(options)
        self.host, self.port = "127.0.0.1", None
        self.path = f"{self.folder}/public"  # with unix
        self.process = self.asking = None
        self.lines = []
        self._write_users()
        try:
            while True:
                self.port = 0 if unix else free_port(bus=cluster)
                if self._start():
                    break
        except BaseException:
            self.close()
            raise

    # Starting and ending.

    def _write_users(self):
        rows = [f"user {ADMIN[0]} on >{ADMIN[1]} ~* &* +@all"]
        if self.user:
            rows += ["user default off", f"user {self.user} on >{self.password} {self.rights.format(prefix=self.prefix)}"]
        elif self.password:
            rows.append(f"user default on >{self.password} ~* &* +@all")
        with open(f"{self.folder}/users.acl", "w", encoding="ascii") as file:
            file.write("\n".join(rows) + "\n")

    def _words(self):
        port = {"port": self.port}
        if self.certificates:
            files = self.certificates
            port = {"port": 0, "tls-port": self.port, "tls-cert-file": files.file("server.pem"),
                    "tls-key-file": files.file("server.key"), "tls-ca-cert-file": files.file("ca.pem"),
                    "tls-auth-clients": "yes"}
            if self.cluster:
                port |= {"tls-cluster": "yes", "tls-replication": "yes"}
        settings = {"bind": self.host, **port, "dir": self.folder, "save": "", "appendonly": "no",
                    "unixsocket": self.path if self.unix else f"{self.folder}/admin", "aclfile": f"{self.folder}/users.acl",
                    "daemonize": "no", "repl-diskless-sync-delay": "0",
                    **({"cluster-enabled": "yes", "cluster-config-file": "nodes.conf", "masteruser": ADMIN[0],
                        "masterauth": ADMIN[1]} if self.cluster else {})}
        settings |= dict(self.options)
        return [word for name, value in settings.items() for word in (f"--{name}", str(value))]

    def _start(self):
        """True once it answers; false where somebody else has just taken the port."""
        self.lines = []
        # setpriv: the kernel ends the server when the thread that started it has ended, in whatever way.
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", server_binary(), *self._words()],
                                        cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        ready = threading.Event()
        threading.Thread(target=self._read_log, args=(self.process.stdout, ready), daemon=True).start()
        assert ready.wait(PATIENCE_S), f"the server does not come up:\n{self.log()}"
        if self.process.poll() is None and any("eady to accept connections" in line for line in self.lines):
            assert self.cli("PING") == b"PONG"
            return True
        self.process.kill()
        self.process.wait()
        assert re.search("Address already in use|Failed listening", self.log()), f"the server failed:\n{self.log()}"
        return False

    def _read_log(self, stream, ready):
        for line in stream:
            self.lines.append(line.decode("utf-8", "replace").rstrip())
            if "eady to accept connections" in self.lines[-1]:
                ready.set()
        stream.close()
        ready.set()

    def log(self):
        return "\n".join(self.lines[-40:])

    def freeze(self):
        """It takes no more part in anything; what is sent to it waits. Returns once that is so."""
        self.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: self._state() == "T", "the server to stand still")

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def _state(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0]

    def kill(self):
        """kill -9. What it held is lost; a node of a cluster still knows that it is one."""
        self._hang_up()
        self.process.kill()
        self.process.wait()

    def restart(self):
        """After kill: the same server on the same port, empty."""
        wait_until(self._start, "the server's port to be free again")

    def close(self):
        if self.process and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # How Refrain is told of it.

    @property
    def url(self):
        if self.unix:
            return f"unix://{self.path}"
        return f"{'rediss' if self.certificates else 'redis'}://{self.host}:{self.port}"

    def tier(self, **more):
        """The group `tiers.redis` by which Refrain reaches it; its names begin with `cache.prefix`."""
        group = {"url": self.url}
        if self.user:
            group["username"] = self.user
        if self.password:
            group["password"] = self.password
        if self.certificates:
            group |= {"ca_file": self.certificates.file("ca.pem"), "cert": self.certificates.file("client.pem"),
                      "key": self.certificates.file("client.key")}
        return group | more

    # Looking inside.

    def connection(self):
        """A connection of its own, with every right."""
        asking = Asking(self.path if self.unix else f"{self.folder}/admin")
        assert asking("AUTH", *ADMIN) == b"OK"
        return asking

    def cli(self, *words):
        """Asks it something, with every right."""
        if self.asking is None:
            self.asking = self.connection()
        return self.asking(*words)

    def _hang_up(self):
        if self.asking:
            self.asking.close()
            self.asking = None

    def keys(self, pattern="*"):
        """Names that match, by SCAN, sorted."""
        found, cursor = set(), b"0"
        while True:
            cursor, page = self.cli("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            found |= set(page)
            if cursor == b"0":
                return sorted(name.decode("utf-8", "surrogateescape") for name in found)

    def everything(self):
        """Every byte that it keeps, names included: for whoever looks for what must not be there."""
        read = {b"string": ("GET",), b"stream": ("XRANGE", "-", "+"), b"hash": ("HGETALL",), b"set": ("SMEMBERS",),
                b"list": ("LRANGE", 0, -1), b"zset": ("ZRANGE", 0, -1)}
        pieces = []
        for name in self.keys():
            command, *rest = read.get(self.cli("TYPE", name), ("EXISTS",))  # gone meanwhile
            pieces += [name.encode("utf-8", "surrogateescape"), flat(self.cli(command, name, *rest))]
        return b"\n".join(pieces)

    def info(self, section="all"):
        """{name: text} of INFO."""
        text = self.cli("INFO", section).decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def commands(self):
        """{command in lower case: calls} since it began, or since forget_commands."""
        return {name[len("cmdstat_"):].lower(): int(re.match(r"calls=(\d+)", text)[1])
                for (name, text) in self.info("commandstats").items() if name.startswith("cmdstat_")}

    def forget_commands(self):
        self.cli("CONFIG", "RESETSTAT")

    def never(self, *names):
        """Asserts that none of these commands was ever asked."""
        asked = self.commands()
        used = {name: asked[name.lower()] for name in names if asked.get(name.lower())}
        assert not used, f"the server was asked what it never must be: {used}"


def flat(value):
    if isinstance(value, list):
        return b" ".join(flat(item) for item in value)
    return value if isinstance(value, bytes) else str(value).encode()


class Certificates:
    """ca.pem; server (for localhost, 127.0.0.1 and redis.test) and client signed by it; stranger-ca.pem, which signed
    nothing; other.pem: a server's for other.test alone."""

    SIGNED = {"server": "subjectAltName=DNS:localhost,DNS:redis.test,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth",
              "other": "subjectAltName=DNS:other.test\nextendedKeyUsage=serverAuth,clientAuth",
              "client": "extendedKeyUsage=clientAuth"}

    def __init__(self, folder):
        self.folder = folder
        for name in ("ca", "stranger-ca"):
            self._openssl(f"req -x509 {CERTIFICATE} -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem "
                          "-addext keyUsage=critical,keyCertSign,cRLSign")  # which strict clients ask of an authority
        for name, extensions in self.SIGNED.items():
            (folder / f"{name}.ext").write_text(extensions + "\n")
            self._openssl(f"req {CERTIFICATE} -subj /CN={name} -keyout {name}.key -out {name}.csr")
            self._openssl(f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
                          f"-extfile {name}.ext -out {name}.pem")

    def _openssl(self, words):
        subprocess.run(["openssl", *words.split()], cwd=self.folder, check=True, capture_output=True)

    def file(self, name):
        return str(self.folder / name)


# -- a cluster ----------------------------------------------------------------------------------------------------------

SLOTS = 16384
ELECTION_S = 6  # after that an attempt at an orderly failover has come to nothing


def slot_of(name):
    """The slot of a name, by its hash tag where it has one."""
    coded = name.encode() if isinstance(name, str) else name
    before, brace, rest = coded.partition(b"{")
    tag, closing, _ = rest.partition(b"}")
    if brace and closing and tag:
        coded = tag
    crc = 0
    for byte in coded:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc % SLOTS


class RedisCluster:
    """Six servers on 127.0.0.1. After it is made, nodes[0..2] are masters of a third of the slots each, and nodes[3..5]
    their replicas, in that order; failovers change that, and masters() tells what holds now."""

    def __init__(self, node_timeout_ms=1500, options=(), **kwargs):
        settings = {"cluster-node-timeout": node_timeout_ms, "cluster-replica-validity-factor": 0,
                    "cluster-allow-replica-migration": "no", "repl-ping-replica-period": 1, **dict(options)}
        self.nodes = []
        try:
            for _ in range(6):
                self.nodes.append(RedisServer(cluster=True, options=settings.items(), **kwargs))
            self._join()
        except BaseException:
            self.close()
            raise

    def _join(self):
        for number, node in enumerate(self.nodes):
            node.id = node.cli("CLUSTER", "MYID").decode()
            node.cli("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for number, node in enumerate(self.nodes[:3]):
            node.cli("CLUSTER", "ADDSLOTS", *range(SLOTS * number // 3, SLOTS * (number + 1) // 3))
        for node in self.nodes[1:]:
            self.nodes[0].cli("CLUSTER", "MEET", node.host, node.port)
        wait_until(lambda: all(len(rows := node_rows(node)) == 6 and not any("handshake" in row[2] for row in rows)
                               for node in self.nodes), "the nodes to know each other")
        for master, replica in zip(self.nodes[:3], self.nodes[3:]):
            replica.cli("CLUSTER", "REPLICATE", master.id)
        self.settled()

    def settled(self):
        """Waits until every living node sees every slot served, and every living replica follows its master."""
        def of_one_mind():
            living = self.living()
            views = {tuple(sorted((row[0], row[8:]) for row in map(tuple, node_rows(node)) if "master" in row[2]
                                  and len(row) > 8)) for node in living}
            return len(views) == 1 and all(b"cluster_state:ok" in node.cli("CLUSTER", "INFO") and follows(node)
                                           for node in living)

        wait_until(of_one_mind, "the cluster to be of one mind")
        return self

    def living(self):
        return [node for node in self.nodes if node.process.poll() is None]

    def masters(self):
        """The living nodes that are masters now, by their own account."""
        return [node for node in self.living() if node.cli("ROLE")[0] == b"master"]

    def master_of(self, name):
        """Which node serves this name, or this slot."""
        slot = name if isinstance(name, int) else slot_of(name)
        for first, last, (_, port, *_), *_ in self.living()[0].cli("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return self._at(port)
        raise AssertionError(f"nobody serves slot {slot}")

    def _at(self, port):
        return next(node for node in self.nodes if node.port == port)

    def tag_of(self, master):
        """A hash tag whose names this node serves."""
        return next(tag for tag in map(str, range(SLOTS)) if self.master_of(tag) is master)

    def replica_of(self, master):
        return next(node for node in self.living() if (role := node.cli("ROLE"))[0] == b"slave"
                    and role[2] == master.port)

    def kill_master(self, master):
        """kill -9, once its replica has what it has, and waits until that stands in. Returns the replica."""
        replica = self.replica_of(master)
        self._catches_up(replica, master)
        master.kill()
        wait_until(lambda: replica.cli("ROLE")[0] == b"master", "the replica to stand in")
        self.settled()
        return replica

    @staticmethod
    def _catches_up(replica, master):
        reached = int(master.info("replication")["master_repl_offset"])
        wait_until(lambda: int(replica.info("replication")["slave_repl_offset"]) >= reached, "the replica to have all")

    def failover(self, master):
        """An orderly change of roles: nothing is lost. Returns the new master."""
        replica, asked_at = self.replica_of(master), -ELECTION_S

        def stands_in():
            # Masters that have voted a moment ago do not vote again at once, and the attempt passes: ask again.
            nonlocal asked_at
            if replica.cli("ROLE")[0] == b"master":
                return True
            if time.monotonic() - asked_at >= ELECTION_S:
                asked_at = time.monotonic()
                replica.cli("CLUSTER", "FAILOVER")
            return False

        wait_until(stands_in, "the replica to stand in")
        self.settled()
        return replica

    # Moving a slot, step by step: between begin and end its names answer ASK or TRYAGAIN.

    def move_begin(self, slot, target):
        source = self.master_of(slot)
        target.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        return source

    def move_keys(self, slot, target, count=1000):
        """Moves up to @count names; returns how many."""
        source = self.master_of(slot)
        names = source.cli("CLUSTER", "GETKEYSINSLOT", slot, count)
        if names:
            source.cli("MIGRATE", target.host, target.port, "", 0, 5000, "AUTH2", *ADMIN, "KEYS", *names)
        return len(names)

    def move_end(self, slot, target):
        for node in [target, *(n for n in self.masters() if n is not target)]:
            node.cli("CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def move(self, slot, target):
        self.move_begin(slot, target)
        while self.move_keys(slot, target):
            pass
        self.move_end(slot, target)

    # As of one server.

    @property
    def url(self):
        return self.nodes[0].url

    def tier(self, **more):
        return self.nodes[0].tier(**more)

    def keys(self, pattern="*"):
        return sorted(name for node in self.masters() for name in node.keys(pattern))

    def everything(self):
        return b"\n".join(node.everything() for node in self.masters())

    def never(self, *names):
        for node in self.living():
            node.never(*names)

    def close(self):
        for node in self.nodes:
            node.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def node_rows(node):
    """CLUSTER NODES: id, address, flags, master, ping, pong, epoch, link, slots…"""
    return [line.split(" ") for line in node.cli("CLUSTER", "NODES").decode().splitlines()]


def follows(node):
    role = node.cli("ROLE")
    return role[0] != b"slave" or role[3] == b"connected"
