"""Cache-Status on what the table of cases, which is about GET, does not come to: operations by POST, streams, refusals.
What holds of every answer is held of these as well."""

import sf
from harness.asks import chat, chat_stream, embedding
from play import judge_always, own_status
from table import shows

TRAILERS = {"TE": "trailers"}


def told(answer, x_cache, status=200):
    answer.whole()
    assert answer.status == status, f"expected {status}: {answer!r}"
    assert answer.header("x-cache") == x_cache, f"expected {x_cache}: {answer!r}"
    judge_always(None, answer)
    return own_status(answer)


@shows("9211 2.1", "a hit on an operation by POST says so")
def test_status_of_a_posts_hit(stage):
    ask = embedding("everywhere")
    assert told(stage.client.post(ask), "MISS") == {"fwd": "miss", "stored": True}
    status = told(stage.client.post(ask), "HIT")
    assert status["hit"] is True and status["ttl"] > 0 and status["detail"] == "memory"


@shows("9211 2.2", "a rule of the request's that leads past the store says which")
def test_status_of_what_is_asked_for(stage):
    ask = chat("everywhere: asked for")
    told(stage.client.post(ask), "MISS")
    assert told(stage.client.post(ask, {"Cache-Control": "no-cache"}), "MISS")["fwd"] == "request"
    assert told(stage.client.post(ask, {"Refrain-Cache": "refresh"}), "MISS")["fwd"] == "request"
    assert told(stage.client.post(ask, {"Refrain-Cache": "off"}), "BYPASS") == {"fwd": "bypass", "detail": "off"}
    assert told(stage.client.post(ask, {"Cache-Control": "no-store"}), "BYPASS") == {"fwd": "bypass", "detail": "no-store"}


@shows("9211 2", "a stream says at its head why it went on, and in a trailer, for those who take one, what became of it")
def test_status_of_a_stream(stage):
    ask = chat_stream("everywhere: a stream")
    answer = stage.client.post(ask, TRAILERS)
    assert told(answer, "MISS") == {"fwd": "miss"}
    assert sf.parse_list(answer.trailers.get("cache-status")) == [("refrain", {"fwd": "miss", "stored": True})]
    assert told(stage.client.post(ask), "HIT")["hit"] is True


@shows("9211 2", "a refusal was neither a hit nor forwarded, and says what was wrong")
def test_status_of_a_refusal(stage):
    status = told(stage.client.post(chat("everywhere"), {"Refrain-TTL": "soon"}), "MISS", 400)
    assert status == {"detail": "request_invalid"}
    assert told(stage.client.ask("TRACE", "/"), "MISS", 405) == {"detail": "method_not_allowed"}
    assert told(stage.client.get("/a#b"), "MISS", 400) == {"detail": "request_invalid"}


@shows("9211 2.2", "what is no business of the cache's is forwarded for its method, or past it")
def test_status_of_what_passes(stage):
    assert told(stage.client.ask("PUT", "/v1/files/1", body={"a": 1}), "BYPASS")["fwd"] == "method"
    assert told(stage.client.ask("GET", "/v1/models", body={"a": 1}), "BYPASS")["fwd"] == "bypass"
