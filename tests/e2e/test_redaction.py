"""What was planted in a request, or in what is one caller's of an answer, is found nowhere afterwards: not in what is
stored, in memory's listings or in bytes on disk and in Redis, not in the log, the metrics, the events or what the API
tells. SPEC section 5, line 6.

What is planted is a word that exists once in the world, so it is looked for in bytes, wherever bytes are.
"""

import contextlib
import gzip
import json
import sqlite3
import threading

import pytest

from harness.asks import chat, chat_stream, messages
from harness.events import Listener
from harness.operator import Operator
from harness.process import wait_until
from harness.upstream import chat_answer, hold, raw, reset, sse, token, whole

REQUEST_FIELDS = ["Authorization", "x-api-key", "api-key", "x-goog-api-key", "Cookie", "Proxy-Authorization",
                  "OpenAI-Organization", "OpenAI-Project", "X-Amz-Security-Token", "X-Team", "X-Whatever", "Referer",
                  "User-Agent", "X-Forwarded-For", "Forwarded", "Idempotency-Key", "traceparent", "baggage",
                  "Refrain-Key", "cf-aig-cache-key", "If-None-Match"]  # namespaces and tags are names, and shown
ANSWER_FIELDS = ["Set-Cookie", "Set-Cookie2", "Authorization", "Set-Authorization", "WWW-Authenticate",
                 "Authentication-Info", "Proxy-Authenticate", "X-Auth-Token", "X-Access-Token", "X-Refresh-Token",
                 "X-Session-Token", "X-CSRF-Token", "X-Amz-Security-Token", "x-request-id", "request-id", "x-trace-id",
                 "x-correlation-id", "x-ms-request-id", "x-amzn-requestid", "x-amzn-trace-id", "cf-ray", "traceparent",
                 "openai-organization", "openai-project", "anthropic-organization-id", "x-ratelimit-remaining-tokens",
                 "ratelimit-reset", "anthropic-ratelimit-tokens-remaining", "Retry-After", "X-Internal-Session"]
KEPT = "kept-as-it-came"  # of answers: what must be found, so that finding nothing means something
LONG = f"{KEPT} " * 200


class Planted:
    """Words that exist once, by what they were planted in."""

    def __init__(self):
        self.words = {}

    def word(self, where):
        name = "".join(c for c in where if c.isalnum()).lower()
        word = f"planted{len(self.words):03d}{name}"
        self.words[word] = where
        return word

    def fields(self, names, kind):
        return {name: self.word(f"{kind} {name}") for name in names}

    def found_in(self, data):
        return sorted(where for (word, where) in self.words.items() if word.encode() in data)

    def not_in(self, places):
        leaks = {place: found for (place, data) in places.items() if (found := self.found_in(data))}
        assert not leaks, f"planted, and found: {leaks}"


@pytest.fixture
def planted():
    return Planted()


# -- what is asked ------------------------------------------------------------------------------------------------------


def asked(client, upstream, planted):
    """Every kind of request there is, each with planted words, answered, refused, failed, or let pass."""
    request = planted.fields(REQUEST_FIELDS, "request")
    answer = planted.fields(ANSWER_FIELDS, "answer")
    asks = [chat(planted.word("the prompt"), user=planted.word("user"), metadata={"a": planted.word("metadata")},
                 safety_identifier=planted.word("safety_identifier")),
            chat_stream(planted.word("a stream's prompt")), messages(planted.word("another API's prompt"))]
    by_header = {**request, "Authorization": "Bearer " + request["Authorization"], "Cookie": "a=" + request["Cookie"]}
    upstream.reply(whole, chat_answer(LONG), headers=answer)
    client.post(asks[0], headers=by_header).was("MISS")
    client.post(asks[0], headers=by_header).was("HIT")
    upstream.reply(sse, *(token(f"{KEPT} ") for _ in range(100)), headers=answer)
    client.post(asks[1], headers=by_header).was("MISS").whole()
    client.post(asks[2], headers=by_header).was("MISS")
    varies(client, upstream, planted)
    in_the_target(client, upstream, planted)
    goes_wrong(client, upstream, planted, by_header)


def varies(client, upstream, planted):
    upstream.reply(whole, chat_answer(LONG), headers={"Vary": "X-Tenant, Cookie"})
    client.post(chat("varies"), headers={"X-Tenant": planted.word("what an answer varies by"),
                                         "Cookie": planted.word("a cookie it varies by")}).was("MISS")


def in_the_target(client, upstream, planted):
    """`?key=`, as Google's clients send it; of a GET, too, whose target is known to invalidations."""
    key = planted.word("?key= of a POST")
    gemini = {"contents": [{"parts": [{"text": planted.word("Gemini's prompt")}]}]}
    upstream.always(whole, json.dumps({"candidates": [{"content": {"parts": [{"text": LONG}]}, "finishReason": "STOP"}]}
                                      ).encode())
    client.ask("POST", f"/v1beta/models/gemini-pro:generateContent?key={key}", {"Content-Type": "application/json"},
               json.dumps(gemini).encode()).whole()
    upstream.always(whole, LONG.encode(), headers={"Cache-Control": "public, max-age=600", "ETag": '"e"'})
    client.get(f"/v1/models?key={planted.word('?key= of a GET')}", {"Authorization": None}).whole()
    client.get(f"/v1/models?token={planted.word('a query')}", {"X-Api-Key": planted.word("a key of a GET")}).whole()
    upstream.always(whole, LONG.encode(), headers={"Cache-Control": "public, max-age=600",
                                                   "Set-Cookie": planted.word("a GET's cookie")})
    client.get("/v1/me").whole()


def goes_wrong(client, upstream, planted, by_header):
    """Trouble is told of in the log, and what is told of trouble easily says too much."""
    body = {"error": {"message": planted.word("an error's text"), "code": planted.word("an error's code")}}
    upstream.always(whole, json.dumps(body).encode(), status=401)
    client.post(chat(planted.word("a refused prompt")), headers=by_header).whole()
    upstream.always(whole, json.dumps(body).encode(), status=500)
    client.post(chat(planted.word("a failed prompt")), headers=by_header).whole()
    upstream.reply(raw, reset)
    client.post(chat(planted.word("a prompt cut off")), headers=by_header).whole()
    upstream.always(whole, planted.word("what is no JSON").encode())
    client.post(chat(planted.word("a prompt that is answered badly")), headers=by_header).whole()
    client.ask("POST", f"/v1/files?key={planted.word('?key= of what passes')}", {"Content-Type": "text/plain"},
               planted.word("an upload").encode()).whole()
    client.post(chat(), headers={"Refrain-TTL": planted.word("a bad control")}).whole()
    client.get("/v1/bad", {"Host": planted.word("a bad host") + "@"}, on=client.connect()).whole()


# -- where it might be ----------------------------------------------------------------------------------------------------


def told(refrain, operator, listener):
    """All that the instance says of itself, by place."""
    ask = {"method": "POST", "path": "/v1/chat/completions", "body": {"model": "gpt-4o-mini", "messages": []}}
    places = {path: operator.get(path).whole().body
              for path in ("/breakers", "/entries", "/namespaces", "/stats", "/config", "/popular", "/slow")}
    places["/explain"] = operator.post("/explain", json.dumps(ask).encode(),
                                       {"Content-Type": "application/json"}).whole().body
    places["/metrics"] = "\n".join(f"{name}{sorted(labels)}" for (name, labels) in refrain.scrape()).encode()
    places["events"] = bytes(listener.answer.body)
    places["log"] = "\n".join(refrain.lines).encode()
    return places


def records_in(data):
    """Bodies of the records in @data, decoded, so that gzip hides nothing."""
    out, at = b"", data.find(b"RFRN\1\0")
    while at >= 0:
        meta, size = int.from_bytes(data[at + 40:at + 44], "little"), int.from_bytes(data[at + 48:at + 56], "little")
        body = data[at + 160 + meta:at + 160 + meta + size]
        out += gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        at = data.find(b"RFRN\1\0", at + 160 + meta + size)
    return out


def on_disk(folder):
    """Every byte of every file that the instance has made, and every column of the database, decoded."""
    places = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
              if path.is_file() and path.name != "refrain.yaml"}
    with sqlite3.connect(f"file:{folder}/cache.db?mode=ro", uri=True) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        for name in tables:
            for row in database.execute(f'select * from "{name}"'):
                cells = b" ".join(c if isinstance(c, bytes) else str(c).encode() for c in row)
                places[f"table {name}"] = places.get(f"table {name}", b"") + cells + records_in(cells)
    return places


REDACT = {"redact": {"headers": ["X-Internal-*"]}, "log": {"level": "debug"}}
DISK = {"tiers": {"disk": {"path": "cache.db", "timeout": "10s"}}, **REDACT}


def written_below(refrain, entries, tier="disk"):
    wait_until(lambda: refrain.metric("entries", tier=tier) >= entries, f"{entries} entries in {tier}")


class Overheard:
    """All that a Redis server is asked, by whomever, from now on: what does not stay there is found, too."""

    def __init__(self, server):
        self.lines, self.asking, self.mark = [], server.connection(), server
        assert self.asking("MONITOR") == b"OK"
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with contextlib.suppress(OSError, ValueError):
            for line in self.asking.file:
                self.lines.append(line)

    def so_far(self):
        """Everything up to now; the server tells in order."""
        self.mark.cli("ECHO", "overheard so far")
        wait_until(lambda: any(b"overheard so far" in line for line in self.lines), "the server to tell")
        return b"".join(self.lines)


@pytest.mark.parametrize("compression", [{"level": "off"}, {"threshold": 0}], ids=["as it came", "gzip"])
def test_what_is_planted_is_found_nowhere(start, upstream, planted, compression):
    refrain = start(**DISK, compression=compression)
    client, operator, listener = start.client(refrain), Operator(refrain), Listener(refrain)
    asked(client, upstream, planted)
    written_below(refrain, 6)
    listener.hears("MISS")
    refrain.logged(lambda e: e.get("event") == "request" and e.get("status") == 400, "the refused request", times=2)
    planted.not_in(told(refrain, operator, listener))
    places = on_disk(refrain.folder)
    planted.not_in(places)
    assert any(KEPT.encode() in data for data in places.values()), "answers are there, and can be looked into"
    operator.close()
    listener.close()
    refrain.stop()
    planted.not_in({**on_disk(refrain.folder), "log": "\n".join(refrain.lines).encode()})


def test_what_is_sealed_says_nothing_at_all(start, upstream, planted):
    key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
    refrain = start(**DISK, encryption={"key": key})
    client = start.client(refrain)
    asked(client, upstream, planted)
    written_below(refrain, 6)
    places = on_disk(refrain.folder)
    planted.not_in(places)
    assert not [place for (place, data) in places.items() if KEPT.encode() in data], "an answer lies in the open"
    assert not [place for (place, data) in places.items() if key.encode() in data], "the key does"
    planted.words = {key: "the key itself"}
    planted.not_in({"log": "\n".join(refrain.lines).encode()})


@pytest.mark.parametrize("encryption", [{}, {"key": "77" * 32}], ids=["in the clear", "sealed"])
def test_what_is_planted_never_reaches_redis(start, upstream, planted, redis, encryption):
    overheard = Overheard(redis)
    refrain = start(tiers={"redis": redis.tier(timeout="10s")}, compression={"level": "off"}, encryption=encryption,
                    **REDACT)
    client, operator, listener = start.client(refrain), Operator(refrain), Listener(refrain)
    asked(client, upstream, planted)
    wait_until(lambda: len(redis.keys("refrain:default:*")) >= 6, "what was stored to be in Redis")
    operator.does("/invalidate", {"tag": "none-such"})
    places = {"what Redis was asked": overheard.so_far(), "what Redis has": redis.everything()}
    planted.not_in({**places, **told(refrain, operator, listener)})
    found = [place for (place, data) in places.items() if KEPT.encode() in data]
    assert found == ([] if encryption else list(places)), "an answer is there to be read where it is not sealed alone"
    operator.close()
    listener.close()


@pytest.mark.parametrize("encryption", [{}, {"key": "77" * 32}], ids=["in the clear", "sealed"])
def test_a_flight_that_instances_share_carries_nothing_that_is_one_callers(start, upstream, planted, redis, encryption):
    overheard = Overheard(redis)
    answer, request = planted.fields(ANSWER_FIELDS, "answer"), planted.fields(REQUEST_FIELDS, "request")
    more = {"tiers": {"redis": redis.tier(timeout="10s")}, "coalescing": {"cluster": True}, "encryption": encryption,
            "cache": {"secret": "the fleet's own"}, "compression": {"level": "off"}, **REDACT}
    leader, follower = start(**more), start(**more)
    upstream.reply(sse, token(f"{KEPT} "), hold("g"), token(f"{KEPT} "), headers=answer)
    asks = chat_stream(planted.word("a prompt that two ask"))
    first = start.client(leader).post(asks, headers=request)
    upstream.held("g")
    second = start.client(follower).post(asks, headers=request)
    wait_until(lambda: any(name.endswith(":readers") for name in redis.keys()), "the other instance to follow")
    upstream.release("g")
    assert first.whole().body == second.whole().body
    assert {name: second.header(name) for name in answer} == {name: None for name in answer} | own_fields(second)
    upstream.saw(1)
    places = {"what Redis was asked": overheard.so_far(), "what Redis has": redis.everything()}
    planted.not_in({**places, "log": "\n".join(leader.lines + follower.lines).encode()})
    assert (KEPT.encode() in places["what Redis was asked"]) == (not encryption)


def own_fields(answer):
    """Refrain's own request id, by the name that the API's clients look for."""
    return {"x-request-id": answer.header("refrain-request-id")}


def test_patterns_keep_out_of_the_log_what_operators_name(start, upstream):
    refrain = start(redact={"patterns": ["cust-[0-9]+", "(?i)acme"]})
    client = start.client(refrain)
    client.post(chat(model="ft:gpt-4o:Acme:cust-12345")).was("MISS")
    line = refrain.logged(lambda e: e.get("event") == "request", "the request's line")
    assert line["model"] == "ft:gpt-4o:[redacted]:[redacted]"
    refrain.write_config({**refrain.config, "redact": {"patterns": ["gpt"]}})
    refrain.reload()
    refrain.logged(lambda e: e.get("event") == "reloaded", "the reload")
    client.post(chat(model="ft:gpt-4o:Acme:cust-12345")).was("HIT")
    line = refrain.logged(lambda e: e.get("event") == "request", "the request's line", times=2)
    assert line["model"] == "ft:[redacted]-4o:Acme:cust-12345"
