"""How long answers are kept: kinds of lifetimes. SPEC section 8; who goes before whom is in test_rules and
test_controls."""

import pytest

from harness.asks import chat
from harness.process import wait_until
from harness.upstream import whole


def ttl_of(answer):
    answer.was("HIT")
    return int(answer.header("cache-status").partition("ttl=")[2].partition(";")[0])


def two_seconds_go_by(ask):
    """For all that is stored already: @ask has something stored after it, whose Age tells."""
    ask().was("MISS")
    wait_until(lambda: int(ask().was("HIT").header("age")) >= 2, "two seconds to go by")


@pytest.mark.refrain(cache={"ttl": {"chat": 70, "embedding": 80}, "default_ttl": 90})
def test_an_operation_has_a_lifetime_of_its_own(client):
    client.post(chat()).was("MISS")
    assert 40 < ttl_of(client.post(chat())) <= 70


@pytest.mark.refrain(cache={"default_ttl": "none"})
def test_none_is_for_ever(client):
    client.post(chat()).was("MISS")
    assert "ttl=" not in client.post(chat()).was("HIT").header("cache-status")


@pytest.mark.refrain(cache={"default_ttl": "365d", "max_ttl": "1h"})
def test_the_longest_bounds_what_requests_ask_for_not_what_is_configured(client):
    client.post(chat("a")).was("MISS")
    assert ttl_of(client.post(chat("a"))) > 364 * 86400
    client.post(chat("b"), {"Refrain-TTL": "365d"}).was("MISS")
    assert ttl_of(client.post(chat("b"))) <= 3600


@pytest.mark.refrain(cache={"default_ttl": 10000, "ttl_jitter": 10})
def test_jitter_spreads_what_came_together(client):
    lifetimes = []
    for i in range(12):
        client.post(chat(f"question {i}")).was("MISS")
        lifetimes.append(ttl_of(client.post(chat(f"question {i}"))))
    assert all(8900 < lifetime <= 11000 for lifetime in lifetimes)
    assert max(lifetimes) - min(lifetimes) > 100, f"twelve lifetimes lie apart: {lifetimes}"


@pytest.mark.parametrize("mode, slides", [("absolute", False), ("sliding", True)])
def test_a_hit_makes_a_sliding_lifetime_begin_anew(start, mode, slides):
    client = start.client(start(cache={"default_ttl": 1000, "ttl_mode": mode}))
    client.post(chat()).was("MISS")
    two_seconds_go_by(lambda: client.post(chat("another")))
    assert (ttl_of(client.post(chat())) >= 999) == slides


@pytest.mark.refrain(cache={"default_ttl": 1000, "ttl_mode": "sliding", "max_lifetime": 1001})
def test_sliding_ends_with_the_longest_that_it_may_live(client):
    client.post(chat()).was("MISS")
    two_seconds_go_by(lambda: client.post(chat("another")))
    assert ttl_of(client.post(chat())) < 1000


@pytest.mark.refrain(cache={"ttl_mode": "sliding", "ttl_jitter": 50})
def test_what_upstream_promises_of_a_get_neither_slides_nor_jitters(client, upstream):
    upstream.always(whole, b"list", headers={"Cache-Control": "public, max-age=1000"})
    client.get("/v1/models").was("MISS")
    assert 900 < ttl_of(client.get("/v1/models")) <= 1000
    two_seconds_go_by(lambda: client.get("/v1/another"))
    assert ttl_of(client.get("/v1/models")) <= 998


@pytest.mark.refrain(cache={"scope": "shared"})
def test_what_upstream_says_of_a_get_is_shortened_by_a_request_never_lengthened(client, upstream):
    upstream.always(whole, b"list", headers={"Cache-Control": "public, max-age=100"})
    for name, asked, lasts in (("Refrain-TTL", "1h", 100), ("cf-aig-cache-ttl", "7200", 100), ("Refrain-TTL", "40s", 40)):
        client.get(f"/{asked}", {name: asked}).was("MISS")
        assert lasts - 30 < ttl_of(client.get(f"/{asked}")) <= lasts


def test_what_must_be_asked_about_each_time_is_so_whatever_a_request_asks(client, upstream):
    upstream.reply(whole, b"one", headers={"Cache-Control": "public, no-cache", "ETag": '"1"'})
    client.get("/page", {"Refrain-TTL": "1h"}).was("MISS")
    upstream.reply(whole, b"two", headers={"Cache-Control": "public, no-cache", "ETag": '"2"'})
    assert client.get("/page").was("MISS").body == b"two"
