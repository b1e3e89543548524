"""HTTP/1.1 messages read strictly and piece by piece: the client reads answers with it, the upstream reads requests.

Strict on purpose. Refrain frames every message anew, so a bare LF, a folded line or two Content-Lengths in what it
sends is a fault of its own, and `Unsound` says which.
"""


class Unsound(AssertionError):
    """The peer sent what RFC 9112 does not allow, or what could be read in two ways."""


TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Headers(list):
    """Fields as (name, value) text pairs in the order they came, duplicates kept."""

    def all(self, name):
        return [value for (field, value) in self if field.lower() == name.lower()]

    def get(self, name, otherwise=None):
        values = self.all(name)
        return values[0] if values else otherwise

    def __contains__(self, name):
        return bool(self.all(name))

    def names(self):
        return [field.lower() for (field, _) in self]


def parse_fields(lines):
    fields = Headers()
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or not TOKEN.issuperset(name):
            raise Unsound(f"not a header line: {line!r}")
        if any(byte < 0x20 and byte != 0x09 or byte == 0x7F for byte in value):
            raise Unsound(f"a control byte in {line!r}")
        fields.append((name.decode("ascii"), value.strip(b" \t").decode("latin-1")))
    return fields


def split_head(head):
    """The lines of a head block, which ends at its empty line; a CR or LF that is not CRLF is refused."""
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    for line in lines:
        if b"\r" in line or b"\n" in line:
            raise Unsound(f"a bare CR or LF in {line!r}")
    return lines


def framing_of(fields):
    """('length', n), ('chunked', None) or (None, None); whatever could be read in two ways is refused."""
    lengths, codings = fields.all("content-length"), fields.all("transfer-encoding")
    if lengths and codings:
        raise Unsound(f"Content-Length {lengths} beside Transfer-Encoding {codings}")
    if len(lengths) > 1 or len(codings) > 1:
        raise Unsound(f"framing given twice: {lengths or codings}")
    if codings:
        if codings[0].lower() != "chunked":
            raise Unsound(f"Transfer-Encoding {codings[0]!r}")
        return "chunked", None
    if lengths:
        if not lengths[0].isascii() or not lengths[0].isdigit():
            raise Unsound(f"Content-Length {lengths[0]!r}")
        return "length", int(lengths[0])
    return None, None


class BodyReader:
    """Takes a body's bytes out of a buffer as they come. `finished` once the framing says so."""

    def __init__(self, framing, length=None):
        self.framing, self.left = framing, length
        self.body = bytearray()
        self.chunks = []  # sizes, as the peer cut them
        self.trailers = Headers()
        self.finished = framing == "none" or (framing == "length" and length == 0)
        self._step = "size"

    def feed(self, buffer):
        """Consumes what it can from the front of @buffer."""
        if self.finished:
            return
        if self.framing == "chunked":
            while not self.finished and self._feed_chunked(buffer):
                pass
            return
        take = len(buffer) if self.framing == "close" else min(self.left, len(buffer))
        self.body += buffer[:take]
        del buffer[:take]
        if self.framing == "length":
            self.left -= take
            self.finished = self.left == 0

    def _feed_chunked(self, buffer):
        if self._step == "data":
            take = min(self.left, len(buffer))
            self.body += buffer[:take]
            del buffer[:take]
            self.left -= take
            if self.left == 0:
                self._step = "data-end"
            return take > 0 or self._step == "data-end"
        if self._step == "data-end":
            if len(buffer) < 2:
                return False
            if buffer[:2] != b"\r\n":
                raise Unsound(f"a chunk ends in {bytes(buffer[:2])!r}")
            del buffer[:2]
            self._step = "size"
            return True
        line = self._line(buffer)
        if line is None:
            return False
        if self._step == "trailer":
            if line:
                self.trailers += parse_fields([line])
            self.finished = not line
            return True
        digits = line.partition(b";")[0].strip(b" \t")
        if not digits or not frozenset(b"0123456789abcdefABCDEF").issuperset(digits):
            raise Unsound(f"a chunk size of {line!r}")
        self.left = int(digits, 16)
        self._step = "data" if self.left else "trailer"
        if self.left:
            self.chunks.append(self.left)
        return True

    @staticmethod
    def _line(buffer):
        end = buffer.find(b"\n")
        if end < 0:
            return None
        line = bytes(buffer[: end + 1])
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise Unsound(f"a line of chunked coding ends in a bare LF or holds a bare CR: {line!r}")
        del buffer[: end + 1]
        return line[:-2]


class ResponseReader:
    """One response, fed byte by byte as it comes; what follows it stays in `rest`."""

    def __init__(self, method="GET"):
        self.method = method
        self.status = None
        self.version = None
        self.headers = None
        self.informational = []  # (status, headers) of each 1xx
        self.content = None  # BodyReader, once the head is there
        self.ended = None  # 'clean' or 'cut'
        self.rest = bytearray()

    def feed(self, data):
        self.rest += data
        while self.headers is None:
            end = self.rest.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self.rest[: end + 4])
            del self.rest[: end + 4]
            self._head(head)
        if not self.ended:
            self.content.feed(self.rest)
            if self.content.finished:
                self.ended = "clean"

    def eof(self, reset=False):
        """The connection is gone."""
        if self.ended:
            return
        closed_by_framing = self.content is not None and self.content.framing == "close" and not reset
        self.ended = "clean" if closed_by_framing else "cut"

    def _head(self, head):
        lines = split_head(head)
        parts = lines[0].split(b" ", 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or len(parts[1]) != 3 or not parts[1].isdigit():
            raise Unsound(f"not a status line: {lines[0]!r}")
        status, fields = int(parts[1]), parse_fields(lines[1:])
        if 100 <= status < 200 and status != 101:
            self.informational.append((status, fields))
            return
        self.version, self.status, self.headers = parts[0].decode(), status, fields
        framing, length = framing_of(fields)
        if self.method == "HEAD" or status in (101, 204, 304):
            framing, length = "none", None
        self.content = BodyReader(framing or "close", length)
        if self.content.finished:
            self.ended = "clean"


def count_responses(data, method="GET"):
    """The statuses of every response in @data, all of it accounted for."""
    statuses, left = [], bytes(data)
    while left:
        reader = ResponseReader(method)
        reader.feed(left)
        if reader.headers is None:
            raise Unsound(f"bytes that are no response: {left[:80]!r}")
        reader.eof()
        statuses.append(reader.status)
        left = bytes(reader.rest)
    return statuses
