"""Every API, whole and streamed, answering well and in every bad way: what is stored, and why the rest is not.
SPEC section 5. Clients always get upstream's bytes. The table prints at the end of the run."""

import collections
import gzip

import pytest

from harness.answers import compact
from harness.samples import APIS, FILTERED, GOOD, LENGTH, OWN_OPERATIONS, REFUSED
from harness.upstream import chunked, cut, whole

GOOD_ARGUMENTS, BAD_ARGUMENTS = '{"city":"Oslo","days":2}', '{"city":"Oslo","da'
STORED = "stored"

Cell = collections.namedtuple("Cell", "case want parts how asks", defaults=({}, {}))
"""One answer: `parts` of its body as upstream sends them, `how` it sends them, what the request `asks` for besides."""


def body_of(value):
    return compact(value).encode()


def damaged(coded):
    return coded[:-12] + bytes(byte ^ 0x55 for byte in coded[-12:])


def gzipped(plain):
    """(case, why not, bytes) of a gzip-coded body, intact and not."""
    coded = gzip.compress(plain, mtime=0)
    return [("gzip", STORED, coded), ("gzip damaged", "incomplete", damaged(coded)),
            ("gzip cut", "incomplete", coded[:-9]), ("bytes behind gzip", "incomplete", coded + b"junk")]


def endings(api, make):
    """Each way this API's answers end, by @make(ends)."""
    wants = {GOOD: STORED, LENGTH: "finish_reason", FILTERED: "finish_reason", REFUSED: "finish_reason"}
    return [(ends, wants[ends], make(ends)) for ends in api.ends]


def whole_cells(api):
    good = body_of(api.whole())
    coded = {"headers": {"Content-Encoding": "gzip"}}
    yield from (Cell(case, want, [body_of(value)]) for (case, want, value) in endings(api, lambda e: api.whole(ends=e)))
    yield Cell("no payload", "payload", [body_of(api.no_payload())])
    if api.can_be_silent:
        yield Cell("says nothing", "empty", [body_of(api.whole(text=""))])
    yield Cell("empty body", "json", [b""])
    yield Cell("half a JSON", "json", [good[: len(good) // 2]])
    yield Cell("error inside", "error_inside", [body_of(api.error())])
    yield Cell("no object", "payload", [b"[]"])
    if api.can_call:
        yield Cell("good arguments", STORED, [body_of(api.whole(arguments=GOOD_ARGUMENTS))])
        if bad := api.whole(arguments=BAD_ARGUMENTS):
            yield Cell("bad arguments", "tool_arguments", [body_of(bad)])
            yield Cell("no arguments", STORED, [body_of(api.whole(arguments=""))])
    if api.can_ask_json:
        yield Cell("wanted JSON", STORED, [body_of(api.whole(text='{"a":[1]}'))], {}, api.asking_json())
        yield Cell("prose for JSON", "wanted_json", [body_of(api.whole())], {}, api.asking_json())
    yield Cell("wrong type", "content_type", [good], {"content_type": "text/html"})
    yield Cell("type with charset", STORED, [good], {"content_type": f"{api.whole_type}; charset=utf-8"})
    yield from (Cell(case, want, [data], coded) for (case, want, data) in gzipped(good))
    yield Cell("unknown coding", "coding", [good], {"headers": {"Content-Encoding": "br"}})
    yield Cell("206", "status", [good], {"status": 206})
    yield Cell("an error", "status", [body_of(api.error())], {"status": 500})
    yield Cell("length short", "incomplete", [good, cut], {"headers": {"Content-Length": str(len(good) + 9)}})
    yield Cell("chunks unended", "incomplete", [good, cut], {"kind": chunked})


def stream_cells(api):
    good = api.frames()
    joined = b"".join(good)
    coded = {"headers": {"Content-Encoding": "gzip"}}
    yield from (Cell(case, want, frames) for (case, want, frames) in endings(api, lambda e: api.frames(ends=e)))
    yield from (Cell(f"cut after {n} of {len(good)}", "incomplete", good[:n]) for n in range(len(good)))
    yield Cell("cut in last event", "incomplete", [*good[:-1], good[-1][:-1]])
    yield Cell("goes on after its end", "incomplete", [*good, good[0]])
    yield Cell("no payload", "payload", api.no_payload_frames())
    if api.can_be_silent:
        yield Cell("says nothing", "empty", api.frames(text=""))
    yield from (Cell(f"error after {n}", "error_inside", [*good[:n], api.error_frame(n)]) for n in range(len(good)))
    yield Cell("error, then its end", "error_inside", [*good[:1], api.error_frame(1), *good[1:]])
    if api.can_call:
        yield Cell("good arguments", STORED, api.frames(arguments=GOOD_ARGUMENTS))
        yield Cell("bad arguments", "tool_arguments", api.frames(arguments=BAD_ARGUMENTS))
        yield Cell("no arguments", STORED, api.frames(arguments=""))
    if api.can_ask_json:
        yield Cell("wanted JSON", STORED, api.frames(text='{"a":[1]}'), {}, api.asking_json())
        yield Cell("prose for JSON", "wanted_json", good, {}, api.asking_json())
    yield Cell("wrong type", "content_type", good, {"content_type": "text/html"})
    yield Cell("type with charset", STORED, good, {"content_type": f"{api.stream_type}; charset=utf-8"})
    yield Cell("a byte a chunk", STORED, [joined[n:n + 1] for n in range(len(joined))])
    yield from (Cell(case, want, [data], coded) for (case, want, data) in gzipped(joined))
    yield Cell("length short", "incomplete", [joined, cut],
               {"kind": whole, "headers": {"Content-Length": str(len(joined) + 9)}})
    yield from (Cell(f"torn after {n}", "incomplete", [*good[:n], cut]) for n in range(len(good) + 1))


def sound_cells(api):
    good = api.frames()
    joined = b"".join(good)
    coded = {"headers": {"Content-Encoding": "gzip"}}
    yield Cell("good", STORED, good)
    yield Cell("nothing", "incomplete", [])
    yield Cell("wrong type", "content_type", good, {"content_type": "text/html"})
    yield from (Cell(case, want, [data], coded) for (case, want, data) in gzipped(joined))
    yield Cell("an error", "status", [body_of(api.error())], {"status": 500, "content_type": "application/json"})
    yield Cell("length short", "incomplete", [joined, cut],
               {"kind": whole, "headers": {"Content-Length": str(len(joined) + 9)}})
    yield from (Cell(f"chunks cut after {n}", "incomplete", [*good[:n], cut]) for n in range(len(good) + 1))


CELLS = {"whole": whole_cells, "streamed": stream_cells, "sound": sound_cells}


class Asker:
    """Has every cell asked, and compares what came of it with what the table says."""

    def __init__(self, refrain, client, upstream):
        self.refrain, self.client, self.upstream = refrain, client, upstream
        self.asked = 0
        self.faults = []
        self.cases = collections.defaultdict(list)  # by API, form and verdict
        self.reasons = collections.Counter()

    def run(self, api, form, cells):
        for cell in cells:
            self.asked += 1
            cell = cell._replace(want=api.wants.get((form, cell.case), cell.want))
            fault = self._ask(api, form != "whole", cell)
            self.cases[api.name, form, fault or cell.want].append(cell.case)
            if fault:
                self.faults.append(f"{api.name} {form}, {cell.case}: {fault}")

    def rows(self):
        for (api, form, verdict), cases in self.cases.items():
            yield f"{api:<13} {form:<9} {verdict:<15} {', '.join(cases)}"

    def _ask(self, api, streamed, cell):
        ask = api.ask(self.asked, streamed, **cell.asks)
        how = {"kind": chunked if streamed else whole,
               "content_type": api.stream_type if streamed else api.whole_type, **cell.how}
        self.upstream.reply(how.pop("kind"), *cell.parts, **how)
        answer = self.client.post(ask, {"Accept-Encoding": "gzip", "TE": "trailers"})
        ended = answer.ends()
        self.reasons[cell.want] += 1
        sent = b"".join(part for part in cell.parts if isinstance(part, bytes))
        if cut in cell.parts:
            fault = self._cut_fault(answer, ended, streamed, sent)
        elif ended != "clean" or answer.body != sent:
            fault = f"the client was not sent upstream's bytes: {answer!r}"
        else:
            fault = None if (got := self._verdict(answer)) == cell.want else f"{got}, not {cell.want}"
        return fault or self._kept_fault(ask, cell, sent)

    @staticmethod
    def _verdict(answer):
        told = answer.trailers.get("cache-status") or answer.header("cache-status")
        return STORED if told.endswith("; stored") else told.partition("not-stored:")[2]

    @staticmethod
    def _cut_fault(answer, ended, streamed, sent):
        """Half an answer: a stream is cut where upstream's was, in place of a whole one comes an error of ours."""
        if streamed:
            return None if ended == "cut" and answer.body == sent else f"neither cut nor all of it: {answer!r}"
        return None if answer.status == 502 else f"not 502: {answer!r}"

    def _kept_fault(self, ask, cell, sent):
        """What is stored is upstream's bytes, and what is not stored is not there."""
        again = self.client.post(ask, {"Accept-Encoding": "gzip", "Cache-Control": "only-if-cached"})
        again.whole()
        if cell.want != STORED:
            return None if again.status == 504 else f"it can be had: {again!r}"
        return None if again.header("x-cache") == "HIT" and again.body == sent else f"not a hit: {again!r}"


# So many broken answers would open the upstream's breaker, and then that would be the reason.
@pytest.mark.refrain(breaker={"validation": {"failures": 1000000}}, operations=OWN_OPERATIONS)
def test_every_api_whole_and_streamed_is_stored_when_it_is_good_and_never_when_it_is_not(refrain, client, upstream,
                                                                                         table):
    asker = Asker(refrain, client, upstream)
    for api in APIS:
        for form in api.forms:
            asker.run(api, form, CELLS[form](api))
    table(f"the store gate: {asker.asked} answers", asker.rows())
    assert not asker.faults, "\n".join(asker.faults)
    upstream.saw(asker.asked)
    for reason, times in asker.reasons.items():
        if reason != STORED:
            assert refrain.metric("not_stored_total", reason=reason) == times, f"not_stored_total of {reason}"
    assert refrain.metric("entries", tier="memory") == asker.reasons[STORED]
