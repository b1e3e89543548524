"""Many connections at once on one thread: a crowd of readers of one stream, or a barrage of raw bytes."""

import selectors
import socket
import time

from .client import PATIENCE_S
from .http1 import ResponseReader
from .process import wait_until


class Member:
    """One connection of a crowd."""

    def __init__(self, crowd, address, source, method):
        self.crowd = crowd
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.port = self.sock.getsockname()[1]
        self.reader = ResponseReader(method) if method else None
        self.data = bytearray()
        self.at = None  # where its request was split
        self.gone = None  # 'fin' or 'reset', once the peer has closed
        self.began_at = self.head_at = self.ended_at = None

    def send(self, data):
        """Sends what fits a socket's buffer; a peer that has closed already is no failure here."""
        self.began_at = self.began_at or time.monotonic()
        try:
            sent = self.sock.send(data)
            assert sent == len(data), "a crowd sends small requests only"
        except (BrokenPipeError, ConnectionResetError):
            pass

    def readable(self):
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except ConnectionResetError:
            self._close("reset")
            return
        if not data:
            self._close("fin")
            return
        if self.reader is None:
            self.data += data
            return
        self.reader.feed(data)
        if self.reader.headers is not None and self.head_at is None:
            self.head_at = time.monotonic()
        if self.reader.ended and self.ended_at is None:
            self.ended_at = time.monotonic()

    def _close(self, how):
        self.gone = how
        if self.reader:
            self.reader.eof(reset=how == "reset")
        self.ended_at = self.ended_at or time.monotonic()
        self.crowd.forget(self)

    @property
    def over(self):
        return self.gone is not None or (self.reader is not None and self.reader.ended is not None)


class Crowd:
    def __init__(self, address):
        self.address = address
        self.members = []
        self.selector = selectors.DefaultSelector()

    def join(self, request=None, method="POST", source=None):
        """One more connection, sending @request if given; @method None keeps raw bytes instead of parsing."""
        member = Member(self, self.address, source, method)
        self.selector.register(member.sock, selectors.EVENT_READ, member)
        self.members.append(member)
        if request is not None:
            member.send(request)
        return member

    def forget(self, member):
        self.selector.unregister(member.sock)
        member.sock.close()

    def look(self, timeout=0):
        """Reads what is there, waiting at most @timeout for something to be."""
        for key, _ in self.selector.select(timeout):
            key.data.readable()

    def settle(self):
        """Reads until every member has been closed on, or has its answer and is left open."""
        waiting = set(self.members)

        def nobody_left():
            waiting.difference_update([m for m in waiting if m.gone or is_answered(m.data)])
            return not waiting

        self.read_until(nobody_left, f"{len(waiting)} connections to be answered or closed")
        self.look()

    def read_until(self, ready, what):
        deadline = time.monotonic() + PATIENCE_S
        while not ready():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited too long for {what}")
            self.look(0.05)

    def finish(self, members=None):
        """Reads until every member is over."""
        waiting = set(self.members if members is None else members)

        def nobody_left():
            waiting.difference_update([member for member in waiting if member.over])
            return not waiting

        self.read_until(nobody_left, f"{len(waiting)} connections to end")

    def close(self):
        for member in self.members:
            member.sock.close()
        self.selector.close()


def is_answered(data):
    """Whether these bytes hold a whole response."""
    reader = ResponseReader()
    reader.feed(data)
    return reader.ended is not None


def taken_in(server_port, client_ports):
    """Waits until the server's process has read everything that these clients have sent it so far: the kernel's table
    shows nothing unread on the server's side. This is what keeps two segments two."""
    def nothing_unread():
        unread = 0
        with open("/proc/net/tcp", encoding="ascii") as table:
            next(table)
            for line in table:
                columns = line.split()
                local, remote = columns[1], columns[2]
                if int(local[9:], 16) == server_port and int(remote[9:], 16) in client_ports:
                    unread += int(columns[4][9:], 16)
        return unread == 0

    wait_until(nothing_unread, "the server to read what it was sent")
