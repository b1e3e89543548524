"""What is invalidated is gone, everywhere and for good, and what went is told truly. SPEC section 8."""

import json

import pytest

from harness.asks import chat, chat_stream, embedding
from harness.upstream import chat_answer, hold, sse, token, whole


def tagged(ask, *tags):
    return ask.with_headers(Refrain_Tags=",".join(tags))


def id_of(answer):
    return answer.header("refrain-entry")


def gone(operator, **body):
    """What an invalidation answers."""
    return operator.does("/invalidate", json.dumps(body).encode())


# -- by each kind ---------------------------------------------------------------------------------------------------------


def test_by_tag(client, operator, refrain):
    client.post(tagged(chat("a"), "red", "blue")).was("MISS")
    client.post(tagged(chat("b"), "red")).was("MISS")
    client.post(tagged(chat("c"), "blue")).was("MISS")
    told = gone(operator, tag="red")
    assert (told["kind"], told["matched"], told["tiers"]["memory"], told["at_least"]) == ("tag", 2, 2, False)
    client.post(chat("a")).was("MISS")
    client.post(chat("b")).was("MISS")
    client.post(chat("c")).was("HIT")
    assert refrain.metric("invalidations_total", kind="tag") == 1


def test_by_id(client, operator):
    entry = id_of(client.post(chat("a")).was("MISS"))
    client.post(chat("b")).was("MISS")
    assert gone(operator, id=entry)["matched"] == 1
    client.post(chat("a")).was("MISS")
    client.post(chat("b")).was("HIT")


def test_an_entry_is_deleted_once(client, operator):
    entry = id_of(client.post(chat("a")).was("MISS"))
    told = operator.client.ask("DELETE", "/api/v1/entries/" + entry).whole()
    assert (told.status, told.json()["matched"]) == (200, 1)
    assert operator.client.ask("DELETE", "/api/v1/entries/" + entry).whole().status == 404
    client.post(chat("a")).was("MISS")


@pytest.mark.parametrize("prefix", ["", "refrain:"], ids=["as it is", "with the prefix that keys have"])
def test_by_pattern(client, operator, prefix):
    client.post(chat("a")).was("MISS")
    client.post(chat("a").but(model="gpt-4o")).was("MISS")
    assert gone(operator, pattern=prefix + "default:chat:gpt-4o-mini:*")["matched"] == 1
    client.post(chat("a")).was("MISS")
    client.post(chat("a").but(model="gpt-4o")).was("HIT")


def test_by_the_whole_name_of_one_entry(client, operator):
    client.post(chat("a")).was("MISS")
    client.post(chat("b")).was("MISS")
    name = operator.reads("/entries")["entries"][0]["name"]
    assert gone(operator, pattern=name)["matched"] == 1
    assert len(operator.reads("/entries")["entries"]) == 1


def test_by_operation(client, operator):
    client.post(chat("a")).was("MISS")
    client.post(embedding("a")).was("MISS")
    assert gone(operator, operation="embedding")["matched"] == 1
    client.post(chat("a")).was("HIT")
    client.post(embedding("a")).was("MISS")


def test_by_model(client, operator):
    for model in ("gpt-4o", "gpt-4o-mini", "o3"):
        client.post(chat("a").but(model=model)).was("MISS")
    assert gone(operator, model="gpt-4o*")["matched"] == 2
    client.post(chat("a").but(model="o3")).was("HIT")


def test_namespaces_are_apart(client, operator):
    in_team = chat("a").with_headers(Refrain_Namespace="team")
    client.post(chat("a")).was("MISS")
    client.post(in_team).was("MISS")
    assert gone(operator, namespace="team")["matched"] == 1
    client.post(chat("a")).was("HIT")
    client.post(in_team).was("MISS")


def test_by_age(client, operator):
    client.post(chat("a")).was("MISS")
    assert gone(operator, older_than="1h")["matched"] == 0
    client.post(chat("a")).was("HIT")


def test_everything(client, operator):
    for prompt in "abc":
        client.post(chat(prompt)).was("MISS")
    assert gone(operator, all=True)["matched"] == 3
    assert operator.reads("/entries")["entries"] == []
    client.post(chat("a")).was("MISS")


def test_what_is_given_must_match_all_together(client, operator):
    client.post(tagged(chat("a"), "red")).was("MISS")
    client.post(tagged(chat("a").but(model="o3"), "red")).was("MISS")
    assert gone(operator, tag="red", model="o3")["matched"] == 1
    client.post(chat("a")).was("HIT")


def test_a_target_goes_for_every_credential(client, operator, upstream):
    for _ in range(2):
        upstream.reply(whole, b"{}", headers={"Cache-Control": "public, max-age=600"})
    other = client.with_credential("sk-bob")
    client.get("/v1/models").was("MISS")
    other.get("/v1/models").was("MISS")
    client.get("/v1/models").was("HIT")
    assert gone(operator, target="/v1/models")["matched"] == 2
    client.get("/v1/models").was("MISS")
    other.get("/v1/models").was("MISS")


def test_the_variants_of_an_answer_go_with_what_leads_to_them(client, operator, upstream):
    upstream.always(whole, b"{}", headers={"Cache-Control": "public, max-age=600", "Vary": "X-Way"})
    for way in ("one", "two"):
        client.get("/v1/pages", {"X-Way": way}).was("MISS")
        client.get("/v1/pages", {"X-Way": way}).was("HIT")
    told = gone(operator, pattern="default:read:*", dry_run=True)
    assert told["matched"] == told["tiers"]["memory"] == 2, "what leads to variants is no entry"
    assert gone(operator, pattern="default:read:*")["matched"] == 2
    client.get("/v1/pages", {"X-Way": "one"}).was("MISS")


# -- what must be said ----------------------------------------------------------------------------------------------------


def test_a_dry_run_counts_and_changes_nothing(client, operator, refrain):
    client.post(tagged(chat("a"), "red")).was("MISS")
    told = gone(operator, tag="red", dry_run=True)
    assert (told["matched"], told["dry_run"]) == (1, True)
    client.post(chat("a")).was("HIT")
    assert refrain.metric("invalidations_total", kind="tag") in (None, 0)


@pytest.mark.parametrize("body, where", [
    ({}, "body"),
    ({"dry_run": True}, "body"),
    ({"all": False}, "body"),
    ({"all": True, "tag": "red"}, "body.all"),
    ({"all": "yes"}, "body.all"),
    ({"tags": ["red"]}, "body.tags"),
    ({"tag": ""}, "body.tag"),
    ({"tag": "a b"}, "body.tag"),
    ({"tag": 1}, "body.tag"),
    ({"id": "abc"}, "body.id"),
    ({"id": "A" * 32}, "body.id"),
    ({"pattern": ""}, "body.pattern"),
    ({"pattern": "x" * 513}, "body.pattern"),
    ({"pattern": "refrain:"}, "body.pattern"),
    ({"older_than": 0}, "body.older_than"),
    ({"older_than": "none"}, "body.older_than"),
    ({"older_than": 1e300}, "body.older_than"),
    ({"target": "v1/models"}, "body.target"),
    ({"target": "/v1/models", "upstream": "nobody"}, "body.upstream"),
    ({"upstream": "default", "tag": "red"}, "body.upstream"),
    ([], "body"),
    ("red", "body"),
])
def test_what_is_meant_must_be_said(client, operator, body, where):
    client.post(tagged(chat("a"), "red")).was("MISS")
    refused = operator.post("/invalidate", json.dumps(body).encode()).refused(400, "request_invalid")
    told = json.loads(refused.body)["error"]
    assert told["where"] == where and told["expected"]
    client.post(chat("a")).was("HIT")


def test_a_member_given_twice_may_mean_either(client, operator):
    refused = operator.post("/invalidate", b'{"tag": "red", "tag": "blue"}').refused(400, "request_invalid")
    assert json.loads(refused.body)["error"]["where"] == "body.tag"


def test_the_log_has_counts_and_no_names(client, operator, refrain):
    client.post(tagged(chat("a"), "secret-project")).was("MISS")
    gone(operator, tag="secret-project")
    line = refrain.logged(lambda event: event["event"] == "invalidated", "the invalidation")
    assert (line["kind"], line["matched"], line["memory"]) == ("tag", 1, 1)
    assert "secret-project" not in refrain.log()


def test_an_operator_who_hangs_up_leaves_it_to_be_done(client, operator, refrain):
    client.post(tagged(chat("a"), "red")).was("MISS")
    operator.post("/invalidate", b'{"tag": "red"}').leave()
    refrain.waits_for("entries", 0, tier="memory")


# -- what is under way ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [{"tag": "red"}, {"all": True}, {"operation": "chat"}, {"model": "gpt*"},
                                  {"namespace": "default"}, {"pattern": "*:chat:*"}], ids=lambda body: next(iter(body)))
def test_an_answer_under_way_is_neither_joined_nor_stored(client, operator, refrain, upstream, body):
    upstream.reply(whole, chat_answer("from before"), before=hold("g"))
    upstream.reply(whole, chat_answer("from after"), before=hold("h"))
    before = client.post(tagged(chat("a"), "red"))
    upstream.held("g")
    assert gone(operator, **body)["matched"] == 0
    after = client.post(tagged(chat("a"), "red"))
    upstream.held("h")
    joiner = client.post(tagged(chat("a"), "red"))
    refrain.waits_for("flight_readers", 3)
    upstream.release("g")
    assert b"from before" in before.was("MISS").body
    assert "not-stored:invalidated" in before.header("cache-status")
    upstream.release("h")
    assert b"from after" in after.was("MISS").body and b"from after" in joiner.was("COALESCED").body
    assert b"from after" in client.post(chat("a")).was("HIT").body
    upstream.saw(2)
    assert refrain.metric("not_stored_total", reason="invalidated") == 1


def test_a_stream_under_way_is_neither_joined_nor_stored(client, operator, refrain, upstream):
    upstream.reply(sse, token("from before"), hold("g"))
    upstream.reply(sse, token("from after"))
    before = client.post(tagged(chat_stream("a"), "red")).sees("from before")
    gone(operator, tag="red")
    after = client.post(tagged(chat_stream("a"), "red")).sees("from after").was("MISS")
    upstream.release("g")
    assert b"from before" in before.whole().body
    assert client.post(chat_stream("a")).was("HIT").body == after.body
    upstream.saw(2)


def test_what_is_not_meant_is_joined_and_stored(client, operator, refrain, upstream):
    upstream.reply(whole, chat_answer("kept"), before=hold("g"))
    first = client.post(chat("a"))
    upstream.held("g")
    gone(operator, operation="embedding")
    gone(operator, namespace="elsewhere")
    gone(operator, older_than="1h")
    second = client.post(chat("a"))
    refrain.waits_for("flight_readers", 2)
    upstream.release("g")
    first.was("MISS")
    second.was("COALESCED")
    client.post(chat("a")).was("HIT")
    upstream.saw(1)


def test_another_tag_costs_a_call_and_no_more(client, operator, refrain, upstream):
    """Nobody knows the tags of what is still to come, so it is not joined; but it is stored."""
    upstream.reply(whole, chat_answer("one"), before=hold("g"))
    upstream.reply(whole, chat_answer("two"))
    first = client.post(tagged(chat("a"), "blue"))
    upstream.held("g")
    gone(operator, tag="red")
    assert b"two" in client.post(tagged(chat("a"), "blue")).was("MISS").body
    upstream.release("g")
    first.was("MISS")
    client.post(chat("a")).was("HIT")


# -- listing --------------------------------------------------------------------------------------------------------------


def test_entries_are_listed_page_by_page(client, operator):
    for n in range(25):
        client.post(chat(f"prompt {n}")).was("MISS")
    ids, cursor = [], None
    while True:
        page = operator.reads("/entries?limit=10" + (f"&cursor={cursor}" if cursor else ""))
        ids += [entry["id"] for entry in page["entries"]]
        cursor = page["cursor"]
        if not cursor:
            break
    assert len(ids) == len(set(ids)) == 25


def test_a_listing_is_narrowed_down(client, operator):
    client.post(tagged(chat("a"), "red")).was("MISS")
    client.post(chat("b").but(model="o3")).was("MISS")
    for query in ("tag=red", "model=gpt*", "pattern=*:gpt-4o-mini:*", "model=gpt-4o%2Dmini"):
        listed = operator.reads("/entries?" + query)["entries"]
        assert [entry["tags"] for entry in listed] == [["red"]], query
    assert operator.reads("/entries?tier=disk")["entries"] == []
    assert operator.reads("/entries?older_than=1h")["entries"] == []


@pytest.mark.parametrize("query, where", [("limit=0", "query.limit"), ("limit=1001", "query.limit"), ("limit=x", "query.limit"),
                                          ("tier=tape", "query.tier"), ("cursor=x", "query.cursor"), ("tag=", "query.tag"),
                                          ("tags=red", "query"),
                                          ("id=abc", "query.id"), ("older_than=soon", "query.older_than"),
                                          ("cursor=0.99999999999.1", "query.cursor")])
def test_queries_that_are_none(operator, query, where):
    refused = operator.get("/entries?" + query).refused(400, "request_invalid")
    assert json.loads(refused.body)["error"]["where"] == where


def test_one_entry_is_told_of_and_its_body_given(client, operator):
    answer = client.post(tagged(chat("a"), "red")).was("MISS")
    client.post(chat("a")).was("HIT")
    told = operator.reads("/entries/" + id_of(answer))
    assert (told["operation"], told["model"], told["tags"], told["hits"]) == ("chat", "gpt-4o-mini", ["red"], 1)
    assert [place["tier"] for place in told["tiers"]] == ["memory"]
    assert "answer" not in json.dumps(told), "no bodies unless asked"
    body = operator.get(f"/entries/{id_of(answer)}?body=1").whole()
    assert body.body == answer.body and body.header("content-type") == "application/json"
    assert body.header("content-disposition") == "attachment"


def test_no_listing_tells_a_prompt_or_an_answer(client, operator):
    answer = client.post(chat("my secret question")).was("MISS")
    listed = operator.get("/entries").whole().body + operator.get("/entries/" + id_of(answer)).whole().body
    assert b"secret question" not in listed and b"choices" not in listed


@pytest.mark.parametrize("path", ["/entries/" + "0" * 32, "/entries/nonsense", "/entries/" + "A" * 32])
def test_no_such_entry(operator, path):
    for method in ("GET", "DELETE"):
        assert operator.client.ask(method, "/api/v1" + path).whole().status == 404


def test_an_entry_gets_another_lifetime_and_other_tags(client, operator):
    answer = client.post(tagged(chat("a"), "red")).was("MISS")
    path = "/entries/" + id_of(answer)
    operator.client.ask("PUT", "/api/v1" + path, None, b'{"ttl": "10m", "tags": ["blue", "green"]}').whole()
    told = operator.reads(path)
    assert told["tags"] == ["blue", "green"] and 590 < told["ttl_s"] <= 600
    hit = client.post(chat("a")).was("HIT")
    assert hit.body == answer.body and id_of(hit) == id_of(answer)
    assert gone(operator, tag="red")["matched"] == 0
    assert gone(operator, tag="green")["matched"] == 1


def test_what_is_not_given_stays(client, operator):
    answer = client.post(tagged(chat("a"), "red")).was("MISS")
    path = "/entries/" + id_of(answer)
    operator.client.ask("PUT", "/api/v1" + path, None, b'{"ttl": 60}').whole()
    assert operator.reads(path)["tags"] == ["red"]
    operator.client.ask("PUT", "/api/v1" + path, None, b'{"tags": []}').whole()
    told = operator.reads(path)
    assert told["tags"] == [] and told["ttl_s"] <= 60


@pytest.mark.refrain(cache={"max_ttl": "2h"})
def test_no_lifetime_past_the_longest(client, operator):
    path = "/entries/" + id_of(client.post(chat("a")).was("MISS"))
    operator.client.ask("PUT", "/api/v1" + path, None, b'{"ttl": "none"}').whole()
    assert operator.reads(path)["ttl_s"] <= 7200


@pytest.mark.parametrize("body, where", [(b"{}", "body"), (b"[]", "body"), (b'{"ttl": 0}', "body.ttl"),
                                         (b'{"ttl": "soon"}', "body.ttl"), (b'{"tags": "red"}', "body.tags"),
                                         (b'{"tags": ["a b"]}', "body.tags"), (b'{"model": "x"}', "body"),
                                         (json.dumps({"tags": ["x" * 64] * 17}).encode(), "body.tags")])
def test_changes_that_are_none(client, operator, body, where):
    path = "/entries/" + id_of(client.post(chat("a")).was("MISS"))
    refused = operator.client.ask("PUT", "/api/v1" + path, None, body).refused(400, "request_invalid")
    assert json.loads(refused.body)["error"]["where"] == where


def test_namespaces_and_their_counts(client, operator):
    for n in range(3):
        client.post(chat(f"{n}")).was("MISS")
    client.post(chat("a").with_headers(Refrain_Namespace="team")).was("MISS")
    counted = {each["namespace"]: each["entries"]["memory"] for each in operator.reads("/namespaces")["namespaces"]}
    assert counted == {"default": 3, "team": 1}
