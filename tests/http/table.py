"""What a case of the conformance suite is made of. A case reads:

    case("9111 5.2.2.10", "s-maxage-first", "a shared cache goes by s-maxage, whatever max-age says",
         [says("max-age=0, s-maxage=60")], [get("MISS"), get("HIT", of=1)])

Upstream answers with the list's answers in turn, the last of them again and again, each with a body that tells its number.
Every case has a path of its own; `{base}` in a value becomes it, `{here}` the origin that the client sees, `{there}`
upstream's.
"""

import dataclasses
import email.utils
import time

CASES = []
DEVIATIONS = []
TESTS = []  # what is shown by a test of its own, where order matters within one request


def date(offset_s=0):
    """A date so many seconds from when it is sent."""
    return At(offset_s)


@dataclasses.dataclass(frozen=True)
class At:
    offset_s: float
    form: str = "{}"  # for fields in which the date is only a part

    def text(self):
        return self.form.format(email.utils.formatdate(time.time() + self.offset_s, usegmt=True))


@dataclasses.dataclass(frozen=True)
class Says:
    """One answer of upstream's."""

    fields: tuple
    status: int = 200
    body: bytes = None  # else one that tells the answer's number
    manner: str = "whole"  # "bodiless", "chunked", "cut", "silent" (the connection closes without a word)
    interim: tuple = ()
    trailers: tuple = ()
    hold: str = None  # a gate to wait at before the head
    pause_s: float = 0  # a time to take before the head


def says(cache_control=None, *fields, **how):
    """An answer with this Cache-Control (None: without one), and more fields as (name, value)."""
    own = (("Cache-Control", cache_control),) if cache_control is not None else ()
    return Says(own + fields, **how)


def unchanged(cache_control=None, *fields):
    """A 304."""
    return says(cache_control, *fields, status=304, manner="bodiless")


@dataclasses.dataclass(frozen=True)
class Ask:
    """One request, and what is expected of its answer."""

    method: str
    x_cache: str  # what X-Cache must say; None: anything
    fields: tuple = ()
    at: str = ""  # behind the case's path
    body: bytes = None
    status: int = 200
    of: int = None  # whose body comes: that of upstream's answer with this number; 0: none at all
    text: bytes = None  # or just these bytes
    age: tuple = None  # least and most
    has: tuple = ()  # (name, value) the answer must carry; a value may be a set of alternatives
    lacks: tuple = ()  # names it must not carry
    asks: int = None  # how often upstream was asked in this case, after this request; None: as X-Cache implies
    sent: tuple = ()  # (name, value) that upstream saw in its last request; None: it must be absent
    cache_status: tuple = ()  # (parameter, value) of refrain's own member; None: it must be absent
    eventually: bool = False  # ask again until X-Cache and body are so: something is under way in the background


def asking(method):
    def ask(x_cache=None, *fields, **expected):
        return Ask(method, x_cache, fields, **expected)
    return ask


get, head, post, put, delete, options = map(asking, ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"))


@dataclasses.dataclass(frozen=True)
class Case:
    section: str  # "9111 4.2.1"
    name: str  # unique, also its path
    why: str
    answers: list
    asks: list
    where: str = "c"  # the route: "c" plain, "heuristic", "timed" (a TTL of its own)


def case(section, name, why, answers, asks, where="c"):
    CASES.append(Case(section, name, why, answers, asks, where))


def stored(section, name, why, *answer, **how):
    """Asked twice, upstream answers once."""
    case(section, name, why, [says(*answer, **how)], [get("MISS", of=1, status=how.get("status", 200)),
                                                      get("HIT", of=1, status=how.get("status", 200))])


def not_stored(section, name, why, *answer, **how):
    """Asked twice, upstream answers twice."""
    status = how.get("status", 200)
    case(section, name, why, [says(*answer, **how)], [get("MISS", of=1, status=status),
                                                      get("MISS", of=2, status=status)])


@dataclasses.dataclass(frozen=True)
class Deviation:
    section: str
    what: str  # what the RFC allows, suggests or asks for
    instead: str  # what Refrain does, and why
    shown_by: tuple  # names of the cases that hold it to this
    decision: str = None  # docs/decisions/NNNN-title.md


def deviates(section, what, instead, *shown_by, decision=None):
    DEVIATIONS.append(Deviation(section, what, instead, shown_by, decision))


@dataclasses.dataclass(frozen=True)
class Shown:
    section: str
    name: str
    why: str


def shows(section, why):
    """Lists a test among what is followed, by its name."""
    def listed(test):
        TESTS.append(Shown(section, test.__name__.removeprefix("test_").replace("_", "-"), why))
        return test
    return listed
