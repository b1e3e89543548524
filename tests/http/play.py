"""Plays a case: scripts upstream, makes the requests in order, and holds each answer to what the case expects, and to
what holds of every answer."""

import contextlib
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))

from harness.client import PATIENCE_S, Client  # noqa: E402
from harness.process import Refrain  # noqa: E402
from harness.upstream import Reply, Upstream, bodiless, chunked, cut, hold, pause, raw, whole  # noqa: E402

import sf  # noqa: E402
from table import At  # noqa: E402

FORWARDED = ("MISS", "COALESCED", "BYPASS", "REVALIDATED")
FWD_REASONS = {"bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"}


def configuration(folder, upstream_url):
    return {
        "listen": {"address": "127.0.0.1:0", "workers": 2},
        "admin": {"address": "127.0.0.1:0"},
        "upstreams": {"default": {"url": upstream_url}},
        "cache": {"state_dir": str(folder / "state")},
        "tiers": {"memory": {"max_bytes": "64MiB"}},
        "log": {"requests": False},
        "routes": [{"path": "/heuristic/", "heuristic": True}, {"path": "/timed/", "ttl": "1h"}, {"path": "/"}],
    }


class Script:
    """What upstream says in one case, and what it was asked."""

    def __init__(self, answers, fill):
        self.answers, self.fill = list(answers), fill
        self.requests = []


class Stage:
    """One upstream and one Refrain for all cases, told apart by their paths."""

    def __init__(self, folder):
        self.scripts, self.lock = {}, threading.Lock()
        self.upstream = Upstream()
        self.upstream.always(self._answer)
        self.refrain = Refrain(folder, configuration(folder, self.upstream.url)).listening()
        self.client = Client(self.refrain.proxy, credential=None)

    def close(self):
        self.client.close()
        try:
            self.refrain.stop()
        finally:
            self.upstream.close()
        assert not self.upstream.faults, f"upstream was sent what it must never see: {self.upstream.faults}"

    def _answer(self, reply, out, request):
        base = "/" + "/".join(request.target.split("?")[0].split("/")[1:3]) + "/"
        if base not in self.scripts:
            self.upstream.as_the_api_would(reply, out, request)
            return
        with self.lock:
            script = self.scripts[base]
            script.requests.append(request)
            number = len(script.requests)
            said = script.answers[min(number, len(script.answers)) - 1]
        kind, parts = self._manner(said, said.body if said.body is not None else b"answer %d" % number)
        fields = [("Date", At(0)), *said.fields]
        if "date" in [name.lower() for (name, _) in said.fields]:
            fields = fields[1:]
        fields = [(name, script.fill(value)) for (name, value) in fields if value is not None]
        if not any(name.lower() == "date" for (name, _) in fields):
            fields.append(("Date", None))
        headers = Fields(fields)
        Reply(kind, parts, status=said.status, headers=headers, content_type="text/plain",
              trailers=said.trailers, interim=said.interim,
              before=hold(said.hold) if said.hold else pause(said.pause_s) if said.pause_s else None).send(out, request)

    @staticmethod
    def _manner(said, body):
        return {"whole": (whole, (body,)), "bodiless": (bodiless, ()), "chunked": (chunked, (body,)),
                "cut": (chunked, (body, cut)), "silent": (raw, (cut,))}[said.manner]

    @contextlib.contextmanager
    def script(self, case):
        base = f"/{case.where}/{case.name}/"

        def fill(value):
            text = value.text() if isinstance(value, At) else value
            return (text.replace("{base}", base).replace("{here}", f"http://{self.client.host}")
                    .replace("{there}", self.upstream.url).replace("{there_host}", self.upstream.host))

        script = self.scripts[base] = Script(case.answers, fill)
        script.base = base
        yield script


class Fields(list):
    """Pairs that upstream's harness takes for a script's own."""

    def items(self):
        return self


def play(stage, case):
    with stage.script(case) as script:
        for number, ask in enumerate(case.asks, 1):
            try:
                step(stage, script, ask)
            except AssertionError as fault:
                raise AssertionError(f"{case.section} {case.name}: {case.why}\nrequest {number}, {ask.method}"
                                     f" {dict(ask.fields)}: {fault}") from None


def step(stage, script, ask):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        before = len(script.requests)
        with stage.client.connect() as connection:
            answer = make(stage, script, ask, connection)
        if not ask.eventually or fits(ask, answer) or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    judge(script, ask, answer, before)


def make(stage, script, ask, connection):
    fields = [(name, script.fill(value)) for (name, value) in ask.fields]
    wire = stage.client.wire(ask.method, script.base + ask.at, fields, ask.body)
    answer = connection.ask(wire, ask.method)
    answer.whole()
    return answer


def wanted_body(ask):
    if ask.text is not None:
        return ask.text
    if ask.of is not None:
        return b"answer %d" % ask.of if ask.of else b""
    return None


def fits(ask, answer):
    body = wanted_body(ask)
    return answer.header("x-cache") == ask.x_cache and (body is None or answer.body == body)


def judge(script, ask, answer, before):
    body = wanted_body(ask)
    assert answer.status == ask.status, f"expected status {ask.status}: {answer!r}"
    if ask.x_cache is not None:
        assert answer.header("x-cache") == ask.x_cache, f"expected X-Cache {ask.x_cache}: {answer!r}"
    if body is not None and ask.method != "HEAD":
        assert answer.body == body, f"expected the body {body!r}: {answer!r}"
    judge_fields(script, ask, answer)
    judge_upstream(script, ask, before)
    judge_cache_status(ask, answer)
    judge_always(ask, answer)


def judge_fields(script, ask, answer):
    for name, value in ask.has:
        got = answer.headers.all(name)
        wanted = {script.fill(v) for v in value} if isinstance(value, (set, frozenset)) else {script.fill(value)}
        assert ", ".join(got) in wanted, f"expected {name}: {value}, got {got}: {answer!r}"
    for name in ask.lacks:
        assert name not in answer.headers, f"expected no {name}: {answer!r}"
    if ask.age is not None:
        age = answer.headers.all("age")
        assert len(age) == 1 and age[0].isdigit(), f"expected one Age of digits: {answer!r}"
        assert ask.age[0] <= int(age[0]) <= ask.age[1], f"expected an Age of {ask.age}: {answer!r}"


def judge_upstream(script, ask, before):
    asked = len(script.requests)
    if ask.asks is not None:
        assert asked == ask.asks, f"expected upstream to be asked {ask.asks} time(s), not {asked}: {script.requests}"
    elif ask.x_cache in FORWARDED and not ask.eventually:
        assert asked == before + 1, f"expected upstream to be asked once more: {script.requests}"
    elif ask.x_cache == "HIT" and not ask.eventually:
        assert asked == before, f"expected upstream not to be asked: {script.requests}"
    for name, value in ask.sent:
        got = script.requests[-1].headers.all(name)
        if value is None:
            assert not got, f"expected upstream to be sent no {name}, it got {got}"
        else:
            assert ", ".join(got) == script.fill(value), f"expected upstream to be sent {name}: {value}, it got {got}"


def own_status(answer):
    """The parameters of Refrain's own member of Cache-Status, which comes last (RFC 9211 section 2)."""
    members = sf.parse_list(", ".join(answer.headers.all("cache-status")))
    assert members and members[-1][0] == "refrain", f"expected refrain's member last in Cache-Status: {answer!r}"
    assert [name for (name, _) in members].count("refrain") == 1, f"expected one member of refrain's: {answer!r}"
    return members[-1][1]


def judge_cache_status(ask, answer):
    status = own_status(answer)
    for name, value in ask.cache_status:
        assert status.get(name) == value, f"expected {name}={value!r} in Cache-Status: {answer!r}"


def judge_always(ask, answer):
    """What holds of every answer, whatever the case is about."""
    status, x_cache = own_status(answer), answer.header("x-cache")
    for name in status:
        assert name in ("hit", "fwd", "fwd-status", "ttl", "stored", "collapsed", "detail"), f"{name}: {answer!r}"
    assert not {"hit", "fwd"} <= set(status), f"either a hit or forwarded (RFC 9211 section 2): {answer!r}"
    assert {"hit", "fwd", "detail"} & set(status), f"what else would there be to say: {answer!r}"
    if "fwd" in status:
        assert isinstance(status["fwd"], sf.Token) and status["fwd"] in FWD_REASONS, f"fwd of RFC 9211: {answer!r}"
    else:
        assert not {"fwd-status", "stored", "collapsed"} & set(status), f"they go with fwd (RFC 9211): {answer!r}"
    for name in ("hit", "stored", "collapsed"):
        assert status.get(name, True) is True, f"{name} is true or not there: {answer!r}"
    for name in ("ttl", "fwd-status"):
        assert type(status.get(name, 0)) is int, f"{name} is an integer: {answer!r}"
    assert isinstance(status.get("detail", ""), str), f"detail is a token or a string: {answer!r}"
    if x_cache == "HIT":
        assert status.get("hit") and status.get("ttl", 1) > 0, f"a hit is fresh: {answer!r}"
        assert len(answer.headers.all("age")) == 1, f"what comes from the store has an Age (RFC 9111 5.1): {answer!r}"
    if x_cache in ("MISS", "COALESCED", "BYPASS"):
        assert "hit" not in status, f"X-Cache and Cache-Status say the same: {answer!r}"
    assert len(answer.headers.all("date")) == 1, f"one Date (RFC 9110 section 6.6.1): {answer!r}"
    if answer.status in (204, 304):
        assert answer.body == b"" and "transfer-encoding" not in answer.headers, f"it has no body: {answer!r}"
    if answer.status == 204:
        assert "content-length" not in answer.headers, f"RFC 9110 section 8.6: {answer!r}"
