"""A credential that upstream refuses has no hits any more. SPEC section 4, the scope."""

import pytest

from harness.asks import chat, embedding, messages
from harness.process import wait_until
from harness.upstream import bodiless, chat_answer, hold, whole

NO = b'{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}'


def revoked(client, upstream):
    """An answer is stored, then the key is refused on something else."""
    first = client.post(chat()).was("MISS")
    client.post(chat()).was("HIT")
    upstream.reply(whole, NO, status=401)
    client.post(chat("something else")).was("MISS", status=401)
    return first


def test_a_revoked_key_stops_hitting_until_it_succeeds(client, refrain, upstream):
    revoked(client, upstream)
    assert refrain.metric("credentials_suspended") == 1
    upstream.reply(whole, NO, status=401)
    again = client.post(chat()).was("MISS", status=401)
    assert "fwd=request" in again.header("cache-status") and "detail=reauth" in again.header("cache-status")
    upstream.reply(whole, chat_answer("welcome back"))
    assert b"welcome back" in client.post(chat()).was("MISS").body
    assert refrain.metric("credentials_suspended") == 0
    assert b"welcome back" in client.post(chat()).was("HIT").body
    upstream.saw(4)
    reasons = [line.get("reason") for line in refrain.request_lines(6)]  # of several workers, so in any order
    assert reasons.count("reauth") >= 1, reasons


def test_any_success_of_the_key_gives_its_hits_back(client, upstream):
    first = revoked(client, upstream)
    client.post(embedding()).was("MISS")
    assert client.post(chat()).was("HIT").body == first.body


def test_another_key_is_none_the_worse(client, upstream):
    bob = client.with_credential("sk-bob")
    answer = bob.post(chat()).was("MISS")
    revoked(client, upstream)
    assert bob.post(chat()).was("HIT").body == answer.body


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500])
def test_no_other_status_takes_hits_away(client, refrain, upstream, status):
    client.post(chat()).was("MISS")
    upstream.reply(whole, NO, status=status)
    client.post(chat("something else")).was("MISS", status=status)
    client.post(chat()).was("HIT")
    assert refrain.metric("credentials_suspended") == 0


def test_no_other_status_gives_them_back(client, upstream):
    revoked(client, upstream)
    for status in (403, 404, 429, 500):
        upstream.reply(whole, NO, status=status)
        client.post(chat("something else")).was("MISS", status=status)
    upstream.reply(whole, NO, status=401)
    client.post(chat()).was("MISS", status=401)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_way_to_the_login_gives_nothing_back(client, refrain, upstream, status):
    revoked(client, upstream)
    upstream.reply(whole, b"", status=status, headers={"Location": "/login"})
    client.get("/docs").whole()
    assert refrain.metric("credentials_suspended") == 1


def test_nor_does_a_preflight_which_needs_no_credential(client, refrain, upstream):
    revoked(client, upstream)
    upstream.reply(bodiless, status=204)
    client.ask("OPTIONS", chat().path).was("BYPASS", status=204)
    assert refrain.metric("credentials_suspended") == 1


def test_a_304_is_a_success(client, refrain, upstream):
    upstream.reply(whole, b"page", headers={"Cache-Control": "public, no-cache", "ETag": '"1"'})
    client.get("/page").was("MISS")
    revoked(client, upstream)
    upstream.reply(bodiless, status=304, headers={"ETag": '"1"'})
    client.get("/page").was("REVALIDATED")
    assert refrain.metric("credentials_suspended") == 0


def test_a_401_on_what_passes_by_counts_too(client, upstream):
    client.post(chat()).was("MISS")
    upstream.reply(whole, NO, status=401)
    client.ask("DELETE", "/v1/files/file-1").was("BYPASS", status=401)
    upstream.reply(whole, NO, status=401)
    client.post(chat()).was("MISS", status=401)


def test_an_answer_from_before_the_refusal_gives_nothing_back(client, refrain, upstream):
    client.post(chat()).was("MISS")
    upstream.reply(whole, chat_answer("begun before"), before=hold("g"))
    early = client.post(chat("slow"))
    upstream.held("g")
    upstream.reply(whole, NO, status=401)
    client.post(chat("something else")).was("MISS", status=401)
    upstream.release("g")
    early.was("MISS")
    assert refrain.metric("credentials_suspended") == 1
    upstream.reply(whole, NO, status=401)
    client.post(chat()).was("MISS", status=401)


def test_every_way_to_show_a_key_counts(client, upstream):
    for name in ("x-api-key", "api-key", "x-goog-api-key"):
        caller = {"Authorization": None, name: "sk-alice"}
        client.post(messages(), headers=caller).was("MISS")
        upstream.reply(whole, NO, status=401)
        client.post(messages("something else"), headers=caller).was("MISS", status=401)
        upstream.reply(whole, NO, status=401)
        client.post(messages(), headers=caller).was("MISS", status=401)


def test_those_without_a_credential_lose_nothing(client, upstream):
    anonymous = {"Authorization": None}
    client.post(chat(), headers=anonymous).was("MISS")
    upstream.reply(whole, NO, status=401)
    client.post(chat("something else"), headers=anonymous).was("MISS", status=401)
    client.post(chat(), headers=anonymous).was("HIT")


def test_waiting_for_proof_is_shared_too(client, refrain, upstream):
    revoked(client, upstream)
    upstream.reply(whole, chat_answer("proven"), before=hold("g"))
    waiting = [client.post(chat()) for _ in range(3)]
    refrain.waits_for("flight_readers", 3)
    upstream.release("g")
    assert sorted(answer.whole().header("x-cache") for answer in waiting) == ["COALESCED"] * 2 + ["MISS"]
    upstream.saw(3)


@pytest.mark.refrain(cache={"scope": "shared"})
def test_under_a_shared_scope_nobody_loses_anything(client, refrain, upstream):
    revoked(client, upstream)
    client.post(chat()).was("HIT")
    assert refrain.metric("credentials_suspended") == 0


@pytest.mark.refrain(cache={"reauth": "1s"})
def test_a_proof_grows_old(client, upstream):
    client.post(chat()).was("MISS")
    asked = []

    def asked_again():
        asked.append(client.post(chat()).whole())
        return asked[-1].header("x-cache") == "MISS"

    wait_until(asked_again, "the proof to be too old")
    assert "detail=reauth" in asked[-1].header("cache-status")
    upstream.saw(2)


@pytest.mark.refrain(cache={"reauth": "1h"})
def test_a_young_proof_is_good_for_hits(client, upstream):
    client.post(chat()).was("MISS")
    client.post(chat()).was("HIT")
    bob = client.with_credential("sk-bob")
    bob.post(chat()).was("MISS")
    bob.post(chat()).was("HIT")
