"""A scripted upstream: it answers what the test tells it to, piece by piece, holding at gates until released, and keeps
every byte that it was sent.

    upstream.reply(sse, event('A'), hold('g'), event('B'))     one answer, for the next request
    upstream.always(whole, b'...')                             for every request without one of its own
    upstream.held('g'); upstream.release('g')                  the test decides the order, no clock does
    upstream.saw(1)                                            exactly one request came

Without a script it answers as the API in question would (answers.py), differently each time it is asked.
"""

import contextlib
import dataclasses
import email.utils
import gzip as gzip_module
import os
import select
import socket
import struct
import threading
import time

from . import answers
from .http1 import BodyReader, Unsound, framing_of, parse_fields, split_head

PATIENCE_S = 30


# What an answer is made of, beside plain bytes, which are sent as one piece of the body.


@dataclasses.dataclass(frozen=True)
class hold:
    """Waits here until the test releases the gate; the client's leaving is noticed."""

    gate: str


@dataclasses.dataclass(frozen=True)
class pause:
    """Takes so long, as a model does. For tests that measure time, never to bring things in order."""

    seconds: float


@dataclasses.dataclass(frozen=True)
class wire:
    """These bytes just as they are, outside any framing."""

    data: bytes


class cut:
    """Closes the connection here."""


class reset:
    """Resets the connection here."""


def event(data, name=None):
    """One server-sent event."""
    text = data if isinstance(data, str) else answers.compact(data)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def token(text):
    """One streamed piece of a chat answer."""
    return event({"id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1751360400,
                  "model": "gpt-4o-mini", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})


def chat_answer(text):
    """A whole chat answer."""
    return answers.compact({"id": "chatcmpl-scripted", "object": "chat.completion", "created": 1751360400,
                            "model": "gpt-4o-mini", "usage": answers.USAGE,
                            "choices": [{"index": 0, "message": {"role": "assistant", "content": text},
                                         "logprobs": None, "finish_reason": "stop"}]}).encode()


@dataclasses.dataclass
class Reply:
    kind: object
    parts: tuple
    status: int = 200
    headers: dict = None
    content_type: str = None
    trailers: tuple = ()
    interim: tuple = ()  # (status, headers) of 1xx to send first
    early: bool = False  # answer as soon as the request's head is there
    before: object = None  # a hold or pause before the head
    when: object = None  # a predicate on the request

    def send(self, out, request):
        for status, headers in self.interim:
            out.write(head_bytes(status, headers))
        if self.before is not None:
            out.play(self.before)
        self.kind(self, out, request)


def fields_of(reply, *own):
    """The head's fields: @own, the script's in their place or behind them."""
    given = list((reply.headers or {}).items()) if isinstance(reply.headers, (dict, type(None))) else reply.headers
    names = {name.lower() for (name, _) in given}
    fields = [(n, v) for (n, v) in own if v is not None and n.lower() not in names]
    return fields + [(n, v) for (n, v) in given if v is not None]


REASONS = {200: "OK", 204: "No Content", 206: "Partial Content", 304: "Not Modified", 100: "Continue",
           103: "Early Hints", 429: "Too Many Requests", 500: "Internal Server Error"}


def head_bytes(status, fields, version="1.1"):
    lines = [f"HTTP/{version} {status} {REASONS.get(status, 'Status')}"] + [f"{n}: {v}" for (n, v) in fields]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def date():
    """Of an answer: now."""
    return email.utils.formatdate(usegmt=True)


def body_of(reply):
    return b"".join(part for part in reply.parts if isinstance(part, bytes))


def whole(reply, out, request):
    """A body with its Content-Length, the head first; holds and cuts among its parts work."""
    fields = fields_of(reply, ("Content-Type", reply.content_type or "application/json"),
                       ("Content-Length", len(body_of(reply))), ("Date", date()))
    out.write(head_bytes(reply.status, fields))
    if request.method != "HEAD":
        out.play(*reply.parts)


def bodiless(reply, out, request):
    """A head that ends the message: 204, 304, or the answer to HEAD."""
    out.write(head_bytes(reply.status, fields_of(reply, ("Date", date()))))
    out.play(*reply.parts)


def chunked(reply, out, request):
    """A chunk a part."""
    fields = fields_of(reply, ("Content-Type", reply.content_type or "application/json"),
                       ("Transfer-Encoding", "chunked"), ("Date", date()))
    out.write(head_bytes(reply.status, fields))
    if request.method == "HEAD":
        return
    out.chunks = True
    out.play(*reply.parts)
    out.chunks = False
    out.write(b"0\r\n" + b"".join(f"{n}: {v}\r\n".encode() for (n, v) in reply.trailers) + b"\r\n")


def sse(reply, out, request):
    """An event stream, an event a part, ended as this request's API ends it."""
    reply.content_type = reply.content_type or "text/event-stream; charset=utf-8"
    reply.headers = {"Cache-Control": "no-cache", **(reply.headers or {})}
    reply.parts = (*reply.parts, *answers.stream_end(request))
    chunked(reply, out, request)


def sse_unended(reply, out, request):
    """An event stream without its API's last event, but ended cleanly on the wire."""
    reply.content_type = reply.content_type or "text/event-stream; charset=utf-8"
    chunked(reply, out, request)


def until_close(reply, out, request):
    """HTTP/1.0 manners: the end of the connection ends the body."""
    fields = fields_of(reply, ("Content-Type", reply.content_type or "application/json"), ("Date", date()))
    out.write(head_bytes(reply.status, fields, version="1.0"))
    out.play(*reply.parts, cut)


def raw(reply, out, request):
    """Nothing but what the script says."""
    out.play(*reply.parts)


class Request:
    """What came, byte for byte."""

    def __init__(self, number, connection):
        self.number = number  # 1 for the first
        self.connection = connection  # which connection it came on, 1 for the first
        self.head_bytes = b""
        self.method = self.target = self.version = None
        self.headers = None
        self.reader = None
        self.came_at = time.monotonic()
        self.abandoned = False  # Refrain closed the connection before the answer was over
        self.answered = False

    @property
    def body(self):
        return bytes(self.reader.body)

    @property
    def body_so_far(self):
        return len(self.reader.body)

    @property
    def complete(self):
        return self.reader.finished

    def header(self, name):
        return self.headers.get(name)

    def __repr__(self):
        return f"<Request {self.number} {self.head_bytes!r} body of {self.body_so_far}>"


class ClientGone(Exception):
    pass


def readable(watched, timeout_s):
    """Those of @watched that can be read; descriptors may be many, so not by select()."""
    poll = select.poll()
    by_number = {each if isinstance(each, int) else each.fileno(): each for each in watched}
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(None if timeout_s is None else max(timeout_s, 0) * 1000)]


class Out:
    """The answering end of one connection; a script plays on it."""

    def __init__(self, upstream, sock):
        self.upstream, self.sock = upstream, sock
        self.chunks = False
        self.closed = False

    def write(self, data):
        if self.closed:
            return
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise ClientGone from e

    def play(self, *parts):
        for part in parts:
            if self.closed:
                return
            if isinstance(part, bytes):
                if part:
                    self.write(b"%x\r\n%b\r\n" % (len(part), part) if self.chunks else part)
            elif isinstance(part, hold):
                self._watch(self.upstream.gate(part.gate), None)
            elif isinstance(part, pause):
                self._watch(None, time.monotonic() + part.seconds)
            elif isinstance(part, wire):
                self.write(part.data)
            elif part is cut or part is reset:
                self._end(part)
            else:
                raise TypeError(f"not a part of an answer: {part!r}")

    def _end(self, how):
        if how is reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_WR)
        self.closed = True

    def _watch(self, gate, until):
        """Waits for the gate or the time, and for the client to go away meanwhile."""
        watched = [] if self.upstream.tls else [self.sock]  # TLS has bytes of its own to say
        if gate:
            watched.append(gate.read_end)
            gate.arrive()
        while True:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return
            ready = readable(watched, left)
            if gate and gate.read_end in ready:
                return
            if self.sock in ready:
                self._peek(watched)

    def _peek(self, watched):
        try:
            if not self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                raise ClientGone
        except BlockingIOError:
            return  # the reader of an early answer's request was quicker
        except OSError as e:
            raise ClientGone from e
        watched.remove(self.sock)  # more of the request: its reader takes it


class Gate:
    """Closed until released, then open for ever."""

    def __init__(self, condition):
        self.read_end, self._write_end = os.pipe()
        self.condition = condition
        self.arrived = 0

    def arrive(self):
        with self.condition:
            self.arrived += 1
            self.condition.notify_all()

    def release(self):
        if self._write_end is not None:
            os.close(self._write_end)
            self._write_end = None

    def close(self):
        self.release()
        os.close(self.read_end)


class Upstream:
    """@tls: an ssl.SSLContext to serve with."""

    def __init__(self, tls=None):
        self.tls = tls
        self.condition = threading.Condition()
        self.requests = []
        self.connections = 0
        self.faults = []  # what Refrain sent that it must not
        self.gzip = False  # compress the default answers when asked to
        self._queue, self._default = [], None
        self._gates, self._live = {}, set()
        self._listener = None
        self.address = self._listen(("127.0.0.1", 0))
        self.host = f"{self.address[0]}:{self.address[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"

    # What the test says.

    def reply(self, kind, *parts, **how):
        """Answers the next request that has no answer yet (with `when`: the next that it is true of)."""
        if (gate := how.pop("hold", None)) is not None:
            parts = (*parts, hold(gate))
        with self.condition:
            self._queue.append(Reply(kind, parts, **how))

    def always(self, kind, *parts, **how):
        self._default = (kind, parts, how)

    def gate(self, name):
        with self.condition:
            if name not in self._gates:
                self._gates[name] = Gate(self.condition)
            return self._gates[name]

    def release(self, name):
        self.gate(name).release()

    def release_all(self):
        with self.condition:
            gates = list(self._gates.values())
        for gate in gates:
            gate.release()

    def held(self, name, times=1):
        """Waits until @times answers wait at the gate."""
        gate = self.gate(name)
        self.wait(lambda: gate.arrived >= times, f"{times} answer(s) holding at gate {name!r}")

    def wait(self, ready, what):
        with self.condition:
            if not self.condition.wait_for(ready, PATIENCE_S):
                raise AssertionError(f"expected {what}; upstream has seen {self.requests!r}")

    def saw(self, count):
        """Waits for @count requests; there must be no more. Returns the last."""
        self.wait(lambda: len(self.requests) >= count, f"{count} request(s) upstream")
        assert len(self.requests) == count, f"expected {count} request(s) upstream, it saw {self.requests!r}"
        return self.requests[-1] if count else None

    def saw_nothing(self):
        """Not even a connection."""
        assert self.connections == 0, f"expected silence upstream, it saw {self.requests!r}"

    def lost(self, number=1):
        """Waits until Refrain has given up request @number."""
        self.wait(lambda: len(self.requests) >= number and self.requests[number - 1].abandoned,
                  f"request {number} to be given up")

    def down(self):
        """From here on connections are refused."""
        self._stop_listening()
        self._placeholder = self._bind(self.address)  # keeps the port without listening on it

    def up(self):
        self._placeholder.close()
        self._listen(self.address)

    def close(self):
        self.release_all()
        self._stop_listening()
        self.wait(lambda: not self._live, "its connections to end")
        for gate in self._gates.values():
            gate.close()

    # How it works.

    @staticmethod
    def _bind(address):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        return sock

    def _listen(self, address):
        self._listener = self._bind(address)
        self._listener.listen(4096)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self._listener.getsockname()

    def _stop_listening(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self.condition:
            live = list(self._live)
        for sock in live:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.condition:
                self.connections += 1
                self._live.add(sock)
                number = self.connections
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _secured(self, sock):
        """The TLS end of a connection; its handshake may fail, which is a connection without requests."""
        secured = self.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        with self.condition:
            self._live.discard(sock)
            self._live.add(secured)
        return secured

    def _serve(self, sock, number):
        buffer = bytearray()
        try:
            if self.tls:
                sock = self._secured(sock)
                sock.do_handshake()
            while self._exchange(sock, number, buffer):
                pass
        except Unsound as e:
            with self.condition:
                self.faults.append(str(e))
        except (ClientGone, OSError):
            pass
        finally:
            with self.condition:
                self._live.discard(sock)
                self.condition.notify_all()
            sock.close()

    def _exchange(self, sock, number, buffer):
        """One request and its answer; False when the connection is over."""
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            data = sock.recv(65536)
            if not data:
                if buffer:
                    raise Unsound(f"a head that ends in the middle: {bytes(buffer[:200])!r}")
                return False
            buffer += data
        request = self._take_head(number, buffer, end + 4)
        reply = self._choose(request)
        out = Out(self, sock)
        try:
            if reply.early:
                return self._answer_early(sock, buffer, request, reply, out)
            self._read_body(sock, buffer, request)
            reply.send(out, request)
        except ClientGone:
            with self.condition:
                request.abandoned = True
                self.condition.notify_all()
            return False
        finally:
            with self.condition:
                request.answered = not request.abandoned
                self.condition.notify_all()
        if out.closed:
            self._drain(sock)
        return not out.closed

    def _answer_early(self, sock, buffer, request, reply, out):
        """Answers while the request's body still comes."""
        reading = threading.Thread(target=self._read_quietly, args=(sock, buffer, request), daemon=True)
        reading.start()
        reply.send(out, request)
        reading.join(PATIENCE_S)
        return not out.closed and request.complete

    def _read_quietly(self, sock, buffer, request):
        with contextlib.suppress(ClientGone, OSError):
            self._read_body(sock, buffer, request)

    def _read_body(self, sock, buffer, request):
        while True:
            with self.condition:
                request.reader.feed(buffer)
                self.condition.notify_all()
                if request.reader.finished:
                    return
            data = sock.recv(1 << 18)
            if not data:
                raise ClientGone
            buffer += data

    @staticmethod
    def _drain(sock):
        """Reads on after a cut, so that closing does not turn it into a reset."""
        sock.settimeout(1)
        with contextlib.suppress(OSError):
            while sock.recv(65536):
                pass

    def _take_head(self, number, buffer, size):
        head = bytes(buffer[:size])
        del buffer[:size]
        lines = split_head(head)
        method, target, version = lines[0].decode("latin-1").split(" ")
        fields = parse_fields(lines[1:])
        framing, length = framing_of(fields)
        if version != "HTTP/1.1" or len(fields.all("host")) != 1:
            raise Unsound(f"expected HTTP/1.1 and one Host: {head!r}")
        with self.condition:
            request = Request(len(self.requests) + 1, number)
            request.head_bytes = head
            request.method, request.target, request.version = method, target, version
            request.headers = fields
            request.reader = BodyReader(framing or "none", length)
            self.requests.append(request)
            self.condition.notify_all()
        return request

    def _choose(self, request):
        with self.condition:
            for reply in self._queue:
                if reply.when is None or reply.when(request):
                    self._queue.remove(reply)
                    return reply
        if self._default:
            kind, parts, how = self._default
            return Reply(kind, parts, **how)
        return Reply(self.as_the_api_would, ())

    def as_the_api_would(self, reply, out, request):
        if request.method == "HEAD":
            reply.headers = {"Content-Length": "0", "Content-Type": "text/plain"}
            return bodiless(reply, out, request)
        status, content_type, pieces, streamed = answers.answer(request)
        headers = {"x-request-id": f"req_upstream_{request.number}", "openai-organization": "org-upstream",
                   "x-ratelimit-remaining-requests": str(1000 - request.number), "openai-version": "2020-10-01"}
        if self.gzip and not streamed and "gzip" in (request.header("accept-encoding") or ""):
            pieces = [gzip_module.compress(b"".join(pieces), mtime=0)]
            headers["Content-Encoding"] = "gzip"
        scripted = Reply(chunked if streamed else whole, tuple(pieces), status=status, headers=headers,
                         content_type=content_type)
        return scripted.send(out, request)
