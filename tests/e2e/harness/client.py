"""A scripted HTTP/1.1 client on a raw socket. Nothing happens behind the test's back: it sends when told to, and reads
only when the test asks what it sees."""

import json
import socket
import struct
import time

from .http1 import ResponseReader

PATIENCE_S = 30  # for what must happen; a test that waits so long has failed


def host_of(address):
    """What Host says of (host, port), or of the path of a unix socket."""
    if isinstance(address, str):
        return "localhost"
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


class Gone(AssertionError):
    """The connection ended before what the test waited for."""


def wire_request(method, target, headers=(), body=None, version="1.1", chunked=False, trailers=()):
    """The bytes of a request, just as told: no header is added but the framing of a body that is given."""
    lines = [f"{method} {target} HTTP/{version}"]
    lines += [f"{name}: {value}" for (name, value) in headers]
    if chunked:
        lines.append("Transfer-Encoding: chunked")
    elif body is not None:
        lines.append(f"Content-Length: {len(body)}")
    wire = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    if not chunked:
        return wire + (body or b"")
    if body:
        wire += chunk(body)
    return wire + last_chunk(trailers)


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers=()):
    return b"0\r\n" + b"".join(f"{n}: {v}\r\n".encode() for (n, v) in trailers) + b"\r\n"


class Answer:
    """What comes back for one request. Reading `status` or `headers` waits for the head."""

    def __init__(self, connection, method):
        self.connection = connection
        self.reader = ResponseReader(method)
        self.asked_at = time.monotonic()
        self.ended_at = None

    def _advance(self, deadline, what):
        """Reads once from the socket."""
        connection = self.connection
        if connection.early:  # bytes that came behind the previous answer
            data, connection.early = bytes(connection.early), bytearray()
        else:
            data = connection.receive(deadline, what)
        if data is None:
            self.reader.eof(reset=connection.was_reset)
        else:
            self.reader.feed(data)
        if self.reader.ended and self.ended_at is None:
            self.ended_at = time.monotonic()
            connection.early += self.reader.rest
            self.reader.rest = bytearray()

    def _until(self, ready, what, patience=PATIENCE_S):
        deadline = time.monotonic() + patience
        while not ready():
            if self.reader.ended:
                raise Gone(f"expected {what}, but the answer ended ({self.reader.ended}): {self!r}")
            self._advance(deadline, what)

    def head(self):
        self._until(lambda: self.reader.headers is not None, "a response head")
        return self

    @property
    def status(self):
        return self.head().reader.status

    @property
    def headers(self):
        return self.head().reader.headers

    def header(self, name):
        return self.headers.get(name)

    @property
    def informational(self):
        return self.reader.informational

    @property
    def body(self):
        """The body as far as it has been read; `whole()` first for all of it."""
        return bytes(self.reader.content.body) if self.reader.content else b""

    @property
    def trailers(self):
        return self.reader.content.trailers

    @property
    def chunks(self):
        return self.reader.content.chunks

    def json(self):
        return json.loads(self.whole().body)

    def sees(self, what):
        """Reads until the body holds @what."""
        what = what.encode() if isinstance(what, str) else what
        self._until(lambda: what in self.body, f"{what[:80]!r} in the body")
        return self

    def reads(self, size):
        """Reads until so many bytes of the body are there."""
        self._until(lambda: len(self.body) >= size, f"{size} bytes of the body")
        return self

    def saw_end(self):
        return self.reader.ended is not None

    def whole(self):
        """Reads to the end, which must be a clean one."""
        assert self.ends() == "clean", f"expected a whole answer, but it was cut: {self!r}"
        return self

    def ends(self):
        """Reads to the end and says how it was: 'clean' or 'cut'."""
        self._until_ended()
        return self.reader.ended

    def _until_ended(self):
        deadline = time.monotonic() + PATIENCE_S
        while not self.reader.ended:
            self._advance(deadline, "the end of the answer")

    def was(self, x_cache, status=200):
        """Reads the whole answer and checks what the cache made of the request."""
        self.whole()
        assert self.status == status, f"expected status {status}: {self!r}"
        assert self.header("x-cache") == x_cache, f"expected X-Cache: {x_cache}: {self!r}"
        return self

    def refused(self, status, code=None):
        """Reads the whole answer, which must be an error of Refrain's own."""
        self.whole()
        assert self.status == status, f"expected status {status}: {self!r}"
        if code is not None:
            assert json.loads(self.body)["error"]["code"] == code, f"expected code {code}: {self!r}"
        return self

    @property
    def took_s(self):
        return self.ended_at - self.asked_at

    def leave(self):
        self.connection.close()

    def __repr__(self):
        reader = self.reader
        if reader.headers is None:
            return f"<Answer without a head yet, ended {reader.ended}, bytes {bytes(reader.rest[:200])!r}>"
        fields = "; ".join(f"{n}: {v}" for (n, v) in reader.headers)
        return f"<Answer {reader.status} [{fields}] {self.body[:300]!r} ended {reader.ended}>"


class Connection:
    """One connection; answers on it are read in the order of their requests."""

    def __init__(self, address, source=None, receive_buffer=None, tls=None):
        unix = isinstance(address, str)
        self.sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.sock.bind((source, 0))
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(address)
        if not unix:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost" if unix else address[0])
        self.host = host_of(address)
        self.early = bytearray()
        self.was_reset = False

    def send(self, data):
        self.sock.sendall(data)
        return self

    def ask(self, wire, method="POST"):
        """Sends these bytes and returns the answer to come."""
        answer = Answer(self, method)
        self.send(wire)
        return answer

    def answer(self, method="POST"):
        """The next answer on this connection, to what was sent by hand."""
        return Answer(self, method)

    def receive(self, deadline, what):
        """Some bytes; None at the end of the connection."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise AssertionError(f"waited too long for {what}")
        self.sock.settimeout(left)
        try:
            return self.sock.recv(1 << 18) or None
        except (ConnectionResetError, BrokenPipeError):
            self.was_reset = True
            return None
        except TimeoutError:
            raise AssertionError(f"waited too long for {what}") from None

    def ends(self):
        """Waits until the peer has closed; returns the bytes that came before."""
        data, deadline = bytearray(self.early), time.monotonic() + PATIENCE_S
        while (more := self.receive(deadline, "the peer to close")) is not None:
            data += more
        return bytes(data)

    def half_close(self):
        socket.socket.shutdown(self.sock, socket.SHUT_WR)  # an SSLSocket's own would forget the session

    def close(self):
        self.sock.close()

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Client:
    """Makes requests as one caller: same credential, same headers, a connection of its own for each unless told."""

    def __init__(self, address, credential="sk-alice", headers=(), tls=None):
        self.address = address
        self.host = host_of(address)
        self.credential = credential
        self.fixed = list(headers)
        self.tls = tls  # an ssl.SSLContext; None: plain
        self.opened = []

    def connect(self, **kwargs):
        connection = Connection(self.address, **{"tls": self.tls, **kwargs})
        self.opened.append(connection)
        return connection

    def with_credential(self, credential):
        return Client(self.address, credential, self.fixed, self.tls)

    def wire(self, method, target, headers=None, body=None, **kwargs):
        """The bytes of a request with the headers an SDK would send; those in @headers replace them, None removes."""
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        elif isinstance(body, str):
            body = body.encode()
        fields = [("Host", self.host), ("Accept", "application/json"), ("User-Agent", "scenario/1.0")]
        if self.credential:
            fields.append(("Authorization", f"Bearer {self.credential}"))
        if body is not None:
            fields.append(("Content-Type", "application/json"))
        fields += self.fixed
        given = list(headers.items()) if isinstance(headers, dict) else list(headers or ())
        replaced = {name.lower() for (name, _) in given}
        fields = [(n, v) for (n, v) in fields if n.lower() not in replaced]
        fields += [(n, v) for (n, v) in given if v is not None]
        return wire_request(method, target, fields, body, **kwargs)

    def ask(self, method, target, headers=None, body=None, on=None, **kwargs):
        connection = on or self.connect()
        return connection.ask(self.wire(method, target, headers, body, **kwargs), method)

    def post(self, request, headers=None, on=None, **kwargs):
        """Posts a prepared Ask (see asks.py)."""
        fields = {**request.headers, **dict(headers or {})}
        return self.ask("POST", request.path, fields, request.wire_body, on, **kwargs)

    def get(self, target, headers=None, on=None, **kwargs):
        return self.ask("GET", target, headers, None, on, **kwargs)

    def close(self):
        for connection in self.opened:
            connection.close()
