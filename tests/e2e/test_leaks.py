"""Nobody gets what belongs to somebody else, or what somebody else has planted. SPEC section 4.

Most of it is asked of an upstream that writes into its answer all that it was told, and lets everyone keep it: whoever
gets an answer that was not made for him finds the other one's words in it.
"""

import pytest

from harness.answers import compact
from harness.asks import chat, chat_stream, messages, responses
from harness.upstream import chat_answer, event, fields_of, head_bytes, hold, sse, token, whole

LASTING = {"Cache-Control": "public, max-age=600"}
MARK = "evil.example"


def mirror(reply, out, request):
    """All that upstream was told, in the answer's text."""
    if reply.parts:
        out.play(*reply.parts)
    told = request.head_bytes.decode("latin-1") + request.body.decode("latin-1")
    body = b"" if request.method == "HEAD" else chat_answer(told)
    fields = fields_of(reply, ("Content-Type", reply.content_type or "application/json"), ("Content-Length", len(body)))
    out.write(head_bytes(200, fields) + body)


@pytest.fixture
def mirrored(upstream):
    upstream.always(mirror, headers=LASTING)
    return upstream


def get(client, headers=None, target="/v1/models"):
    return client.get(target, headers)


def post(client, headers=None):
    return client.post(chat(), headers)


ASKINGS = {"GET": get, "POST": post}


# Fields that an upstream may reflect.


KEYED = ["X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Port", "X-Forwarded-Prefix",
         "X-Forwarded-Server", "X-Forwarded-Path", "X-Host", "X-Original-URL", "X-Rewrite-URL", "X-Original-Host",
         "X-HTTP-Method-Override", "X-HTTP-Destinationurl", "Forwarded", "CF-Visitor", "CF-IPCountry", "Origin",
         "Referer", "Cookie", "Accept-Language", "Accept-Charset", "X-Wap-Profile", "Destination", "X-Whatever",
         "X_Forwarded_Host", "OpenAI-Organization", "OpenAI-Beta", "anthropic-version"]


@pytest.mark.parametrize("asking", ASKINGS)
@pytest.mark.parametrize("name", KEYED)
def test_what_upstream_may_reflect_is_in_the_key(client, mirrored, name, asking):
    ask = ASKINGS[asking]
    planted = ask(client, {name: MARK}).was("MISS")
    assert MARK.encode() in planted.body, "upstream was to be told"
    assert MARK.encode() not in ask(client).was("MISS").body
    assert ask(client, {name: MARK}).was("HIT").body == planted.body


@pytest.mark.parametrize("asking", ASKINGS)
@pytest.mark.parametrize("name", ["X-Forwarded-Host", "Forwarded", "Referer", "Cookie"])
def test_nor_does_it_reach_those_who_wait_at_the_same_time(client, refrain, upstream, name, asking):
    ask = ASKINGS[asking]
    upstream.always(mirror, hold("g"), headers=LASTING)
    planted = ask(client, {name: MARK})
    upstream.held("g")
    plain = ask(client)
    upstream.held("g", times=2)
    upstream.release("g")
    assert MARK.encode() in planted.whole().body
    assert MARK.encode() not in plain.was("MISS").body


UNKEYED = ["User-Agent", "X-Forwarded-For", "X-Real-IP", "True-Client-IP", "From", "DNT", "Sec-CH-UA", "Sec-Fetch-Site",
           "Upgrade-Insecure-Requests", "Priority", "baggage", "traceparent", "X-Stainless-OS", "X-Goog-Api-Client"]


@pytest.mark.parametrize("asking", ASKINGS)
@pytest.mark.parametrize("name", UNKEYED)
def test_what_is_left_out_of_the_key_counts_where_upstream_says_so(client, upstream, name, asking):
    ask = ASKINGS[asking]
    upstream.always(mirror, headers={**LASTING, "Vary": name})
    planted = ask(client, {name: MARK}).was("MISS")
    assert MARK.encode() not in ask(client).was("MISS").body
    assert ask(client, {name: MARK}).was("HIT").body == planted.body


@pytest.mark.refrain(operations={"summaries": {"path": "/v1/summaries"}})
@pytest.mark.parametrize("path", ["/v1/audio/speech", "/v1/summaries"])
def test_a_format_asked_by_accept_is_nobody_elses(client, upstream, path):
    """Where the body alone does not tell what comes back."""
    upstream.always(mirror, content_type="audio/mpeg" if "speech" in path else None)

    def asked(accept):
        return client.ask("POST", path, {"Accept": accept}, {"model": "tts-1", "input": "hello", "voice": "alloy"})

    bodies = {accept: asked(accept).was("MISS").body for accept in ("audio/mpeg", "audio/wav")}
    for accept, body in bodies.items():
        assert asked(accept).was("HIT").body == body


HIDDEN = ["Host", "Accept-Encoding", "If-None-Match", "If-Modified-Since", "Proxy-Authorization", "TE", "Keep-Alive",
          "Refrain-Tags", "Refrain-Whatever"]


@pytest.mark.parametrize("asking", ASKINGS)
@pytest.mark.parametrize("name", HIDDEN)
def test_what_is_never_told_upstream_cannot_be_reflected(client, mirrored, name, asking):
    assert MARK.encode() not in ASKINGS[asking](client, {name: MARK}).was("MISS").body


def test_what_connection_takes_away_is_not_told_upstream_and_plants_nothing(client, mirrored):
    planted = {"Connection": "User-Agent", "User-Agent": MARK}
    assert MARK.encode() not in get(client, planted).was("MISS").body


# Credentials.


LONG = "sk-proj-" + "0123456789abcdef" * 12
SHOWN = {
    "Authorization": ("Bearer {}", {}),
    "x-api-key": ("{}", {"Authorization": None}),
    "api-key": ("{}", {"Authorization": None}),
    "x-goog-api-key": ("{}", {"Authorization": None}),
}


def callers(name):
    """Headers of A, of B, whose key is A's but for its last byte, and of nobody."""
    form, others = SHOWN[name]
    return {"a": {**others, name: form.format(LONG + "a")}, "b": {**others, name: form.format(LONG + "b")},
            "nobody": {"Authorization": None}}


def each_has_his_own(client, name, asking):
    ask, who = ASKINGS[asking], callers(name)
    first = {one: ask(client, headers).was("MISS").body for (one, headers) in who.items()}
    assert len(set(first.values())) == 3
    for one, headers in who.items():
        assert ask(client, headers).was("HIT").body == first[one]


@pytest.mark.parametrize("asking", ASKINGS)
@pytest.mark.parametrize("name", SHOWN)
def test_one_after_another_each_has_his_own(client, mirrored, name, asking):
    each_has_his_own(client, name, asking)


@pytest.mark.parametrize("asking", ASKINGS)
@pytest.mark.parametrize("name", SHOWN)
def test_in_flight_together_each_has_his_own(client, refrain, upstream, name, asking):
    ask, who = ASKINGS[asking], callers(name)
    upstream.always(mirror, hold("g"), headers=LASTING)
    waiting = {one: [ask(client, headers), ask(client, headers)] for (one, headers) in who.items()}
    refrain.waits_for("flight_readers", 6)
    upstream.held("g", times=3)
    upstream.release("g")
    bodies = {one: {answer.whole().body for answer in answers} for (one, answers) in waiting.items()}
    assert all(len(own) == 1 for own in bodies.values()), "the two of one caller share"
    assert len(set().union(*bodies.values())) == 3, "no two callers share"
    upstream.saw(3)


@pytest.mark.refrain(listen={"workers": 1}, key={"ignore_headers": ["Authorization", "x-*", "api-*"]})
@pytest.mark.parametrize("asking", ASKINGS)
@pytest.mark.parametrize("name", SHOWN)
def test_a_credential_that_is_ignored_as_content_parts_callers_all_the_same(client, mirrored, name, asking):
    """Byte-identical but for it: what is remembered of the one request must not stand for the other."""
    each_has_his_own(client, name, asking)


@pytest.mark.parametrize("asking", ASKINGS)
def test_keys_in_the_query_part_callers(client, refrain, upstream, asking):
    def ask(key):
        target = f"/v1/models?key={key}" if asking == "GET" else f"/v1/chat/completions?key={key}"
        headers = {"Authorization": None}
        return client.get(target, headers) if asking == "GET" else client.post(chat().at(target), headers)

    upstream.always(mirror, hold("g"), headers=LASTING)
    a, b = ask(LONG + "a"), ask(LONG + "b")
    upstream.held("g", times=2)
    upstream.release("g")
    assert a.was("MISS").body != b.was("MISS").body
    assert ask(LONG + "a").was("HIT").body == a.body
    assert ask(LONG + "b").was("HIT").body == b.body


def test_two_credentials_at_once_are_neither_of_the_two(client, mirrored):
    def shown(*keys):
        return client.ask("POST", chat().path, [("Authorization", f"Bearer {key}") for key in keys], chat().wire_body)

    bodies = [shown(*keys).was("MISS").body for keys in (("a",), ("b",), ("a", "b"), ("b", "a"))]
    assert len(set(bodies)) == 4


def test_a_key_in_one_place_does_not_open_what_it_opened_in_another(client, mirrored):
    shown = [{"Authorization": "sk-1"}, {"x-api-key": "sk-1"}, {"api-key": "sk-1"}, {"x-goog-api-key": "sk-1"}]
    for headers in shown:
        post(client, {"Authorization": None, **headers}).was("MISS")


@pytest.mark.parametrize("named", ["Authorization", "authorization, x-api-key", "close, Authorization", "AUTHORIZATION"])
def test_connection_cannot_take_the_credential_away(client, mirrored, named):
    """Else upstream would be asked without it, and a wrong key could answer for nobody's, or the other way round."""
    alice = get(client, {"Connection": named}).was("MISS")
    assert b"sk-alice" in alice.body
    assert b"sk-alice" not in get(client, {"Authorization": None}).was("MISS").body
    assert b"sk-bob" in get(client.with_credential("sk-bob"), {"Connection": named}).was("MISS").body


@pytest.mark.parametrize("name", ["Cookie", "Origin", "X-Whatever", "Accept-Language", "Content-Type", "x-api-key"])
def test_connection_cannot_take_away_what_is_keyed(client, mirrored, name):
    assert MARK.encode() in get(client, {"Connection": name, name: MARK}).was("MISS").body
    assert MARK.encode() not in get(client).was("MISS").body


def test_an_error_about_one_key_is_told_to_nobody_else(client, refrain, upstream):
    upstream.reply(whole, b'{"error":{"message":"no such key"}}', status=401, before=hold("g"))
    mallory = client.with_credential(LONG + "m").post(chat())
    upstream.held("g")
    alice = client.post(chat()).was("MISS")
    upstream.release("g")
    mallory.was("MISS", status=401)
    assert client.post(chat()).was("HIT").body == alice.body


def test_what_follows_on_a_connection_is_asked_by_its_own_credential_alone(client, mirrored):
    with client.connect() as connection:
        alice = client.get("/v1/models", on=connection).was("MISS")
        nobody = client.get("/v1/models", {"Authorization": None}, on=connection).was("MISS")
        assert b"sk-alice" in alice.body and b"sk-alice" not in nobody.body


# What is about one caller, in an answer that others get.


def test_a_cookie_goes_to_none_but_who_asked(client, refrain, upstream):
    upstream.reply(whole, chat_answer("one for all"), headers={"Set-Cookie": "session=alice"}, before=hold("g"))
    opener = client.post(chat())
    upstream.held("g")
    follower = client.post(chat())
    refrain.waits_for("flight_readers", 2)
    upstream.release("g")
    assert opener.was("MISS").header("set-cookie") == "session=alice"
    assert follower.was("COALESCED").header("set-cookie") is None
    assert client.post(chat()).was("HIT").header("set-cookie") is None


def test_a_get_that_sets_a_cookie_is_nobody_elses(client, refrain, upstream):
    for who in ("one", "two", "three"):
        upstream.reply(whole, who.encode(), headers={**LASTING, "Set-Cookie": f"session={who}"},
                       before=hold("g") if who == "one" else None)
    opener = get(client)
    upstream.held("g")
    waiting = get(client)
    refrain.waits_for("flight_readers", 2)
    upstream.release("g")
    assert opener.was("MISS").body == b"one"
    assert waiting.was("MISS").body == b"two"
    assert get(client).was("MISS").body == b"three"


@pytest.mark.parametrize("name", ["x-ratelimit-remaining-requests", "x-request-id", "openai-organization",
                                  "WWW-Authenticate", "Authentication-Info", "anthropic-organization-id"])
def test_a_field_about_the_caller_is_not_replayed(client, upstream, name):
    upstream.reply(whole, chat_answer("x"), headers={name: MARK})
    assert client.post(chat()).was("MISS").header(name) == MARK
    assert client.post(chat()).was("HIT").header(name) != MARK


@pytest.mark.parametrize("said", ["private", "no-store", 'private="Set-Cookie"', "s-maxage=0", "public, no-store"])
def test_a_private_get_is_asked_for_by_each(client, upstream, said):
    upstream.always(mirror, headers={"Cache-Control": f"max-age=600, {said}"})
    first = get(client, {"User-Agent": MARK}).was("MISS")
    assert MARK.encode() in first.body
    assert MARK.encode() not in get(client).was("MISS").body


@pytest.mark.parametrize("name", ["user", "metadata", "safety_identifier", "prompt_cache_key"])
def test_what_an_answer_repeats_of_its_request_is_told_to_nobody_else(client, upstream, name):
    """`/responses` gives back what the request says of its user; other APIs do not."""
    value = {"id": MARK} if name == "metadata" else MARK
    client.post(responses(**{name: value})).was("MISS")
    client.post(responses()).was("MISS")
    client.post(responses(**{name: value})).was("HIT")
    client.post(chat(**{name: value})).was("MISS")
    client.post(chat()).was("HIT")


# Bodies and methods.


def test_a_get_with_a_body_plants_nothing(client, mirrored):
    fat = client.ask("GET", "/v1/models", None, MARK).was("BYPASS")
    assert MARK.encode() in fat.body
    plain = get(client).was("MISS")
    assert MARK.encode() not in plain.body
    assert client.ask("GET", "/v1/models", None, MARK).was("BYPASS")
    assert get(client).was("HIT").body == plain.body


def test_a_get_with_a_chunked_body_plants_nothing(client, mirrored):
    client.ask("GET", "/v1/models", None, MARK, chunked=True).was("BYPASS")
    assert MARK.encode() not in get(client).was("MISS").body


def test_a_head_plants_no_empty_answer(client, mirrored):
    client.ask("HEAD", "/v1/models").was("MISS")
    assert get(client).was("MISS").body != b""
    assert client.ask("HEAD", "/v1/models").was("HIT").body == b""


def test_a_head_in_flight_gives_nobody_an_empty_answer(client, refrain, upstream):
    upstream.always(mirror, hold("g"), headers=LASTING)
    head = client.ask("HEAD", "/v1/models")
    upstream.held("g")
    plain = get(client)
    upstream.held("g", times=2)
    upstream.release("g")
    assert plain.was("MISS").body != b"" and head.was("MISS").body == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_another_method_plants_nothing_for_get(client, mirrored, method):
    client.ask(method, "/v1/models", None, None if method in ("DELETE", "OPTIONS") else MARK).was("BYPASS")
    assert get(client).was("MISS").body.startswith(b'{"id"')


def test_a_part_is_not_taken_for_the_whole(client, upstream):
    upstream.reply(whole, b"ab", status=206, headers={**LASTING, "Content-Range": "bytes 0-1/10"})
    upstream.reply(whole, b"abcdefghij", headers=LASTING)
    client.get("/v1/models", {"Range": "bytes=0-1"}).whole()
    assert get(client).whole().body == b"abcdefghij"


# Paths. None is normalised, so no two ways to write one meet, and none makes anything lasting by its looks.


PATHS = ["/v1/models", "/v1//models", "/v1/models/", "/v1/./models", "/v1/x/../models", "/v1/%6dodels", "/v1/%6Dodels",
         "/V1/models", "/v1/models.", "/v1/models;x", "/v1/models%2f", "/v1%2fmodels", "/v1/models?", "/v1/models??",
         "/v1/models?a=1&b=2", "/v1/models?b=2&a=1", "/v1/models?a=1&&b=2", "/v1/models?a=1;b=2", "/v1/models%3fa=1",
         "/v1/%2e%2e/v1/models", "/v1/..;/models", "/v1/models%20", "/v1/models%09", "/v1/models\\", "/v1\\models",
         "/v1/models%00", "/v1/models%0d%0a"]


def test_no_two_paths_meet(client, mirrored):
    bodies = {}
    for path in PATHS:
        answer = get(client, target=path).whole()
        if answer.status != 200:
            continue  # refused at the front: nothing is kept of it
        assert answer.header("x-cache") == "MISS", f"{path} was taken for another: {answer!r}"
        assert compact(f"GET {path} HTTP/1.1")[1:-1].encode() in answer.body, "upstream sees the path as it came"
        bodies[path] = answer.body
    assert len(bodies) > 20
    for path, body in bodies.items():
        assert get(client, target=path).was("HIT").body == body


LOOKS = ["/account;x.css", "/account/x.css", "/account%2fx.css", "/account?x.css", "/account%3fx.css", "/account%23x.css",
         "/account/%2e%2e/x.js", "/static/..%2faccount", "/static/../account", "/account.png", "/robots.txt",
         "/account%00.css", "/account%0a.css", "/favicon.ico", "/assets/../account"]


@pytest.mark.parametrize("path", LOOKS)
def test_no_looks_of_a_path_make_an_answer_lasting(client, upstream, path):
    upstream.always(mirror)
    alice = get(client, {"User-Agent": MARK}, target=path).whole()
    if alice.status == 200:
        assert "not-stored" in alice.header("cache-status")
        assert MARK.encode() not in get(client, target=path).was("MISS").body


@pytest.mark.parametrize("path", ["/v1//chat/completions", "/v1/chat/completions/", "/v1/chat/completions;x.css",
                                  "/v1/chat%2fcompletions", "/v1/x/../chat/completions", "/v1/chat/completions.",
                                  "/v1/Chat/Completions", "/v1/chat/completions/x.css"])
def test_what_only_resembles_an_operation_is_none(client, mirrored, path):
    client.post(chat().at(path)).was("BYPASS")
    client.post(chat().at(path)).was("BYPASS")


# Other gateways, one behind the other.


@pytest.mark.parametrize("control", [True, False], ids=["heeded", "not heeded"])
def test_a_custom_key_that_is_heeded_upstream_is_in_the_key(start, upstream, control):
    """Under a shared scope it wants leave, and is not heeded here; but the gateway answers by it, whatever the prompt."""
    client = start.client(start(cache={"scope": "shared", "client_control": control},
                                upstreams={"default": {"url": upstream.url, "control_headers": "pass"}}))
    upstream.always(mirror, headers=LASTING)
    assert MARK.encode() in post(client, {"cf-aig-cache-key": MARK}).was("MISS").body
    assert MARK.encode() not in post(client).was("MISS").body


# Shapes that two servers read differently.


SHAPES = {
    "length and chunks": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 60\r\n\r\n",
    "a coding that is none": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 60\r\n\r\n",
    "a folded line": b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n Content-Length: 60\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_smuggled_behind_a_request_is_neither_asked_nor_kept(client, mirrored, shape):
    smuggled = b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX-Smuggled: " + MARK.encode() + b"\r\n\r\n"
    with client.connect() as connection:
        connection.send(SHAPES[shape] + smuggled)
        said = connection.ends()
    assert said.count(b"HTTP/1.1 ") == 1 and said.startswith(b"HTTP/1.1 400"), said
    mirrored.saw_nothing()
    assert MARK.encode() not in get(client).was("MISS").body


# Namespaces and scopes.


def test_namespaces_share_nothing(client, refrain, upstream):
    upstream.always(mirror, hold("g"), headers=LASTING)
    names = [None, "one", "two", "default2", "ONE"]
    waiting = [post(client, {"Refrain-Namespace": name}) for name in names]
    refrain.waits_for("flight_readers", len(names))
    upstream.held("g", times=len(names))
    upstream.release("g")
    for name, answer in zip(names, waiting):
        answer.was("MISS")
        assert post(client, {"Refrain-Namespace": name}).was("HIT").body == answer.body
    upstream.saw(len(names))


def test_a_custom_key_parts_callers_all_the_same(client, mirrored):
    key = {"Refrain-Key": "ours"}
    assert b"sk-alice" in post(client, key).was("MISS").body
    assert b"sk-bob" in post(client.with_credential("sk-bob"), key).was("MISS").body


@pytest.mark.refrain(cache={"scope": "shared"})
@pytest.mark.parametrize("name", SHOWN)
def test_a_get_made_with_a_credential_is_shared_only_where_upstream_says_so(client, mirrored, name):
    who = callers(name)
    mirrored.always(mirror, headers={"Cache-Control": "max-age=600"})
    for one in ("a", "b", "a"):
        assert who[one][name].encode() in get(client, who[one]).was("MISS").body
    mirrored.always(mirror, headers={"Cache-Control": "s-maxage=600"})
    first = get(client, who["a"]).was("MISS").body
    assert get(client, who["b"]).was("HIT").body == first


@pytest.mark.refrain(cache={"scope": ["X-Team"]})
class TestScopeOfListedHeaders:
    def test_one_team_shares_whatever_its_members_show(self, client, mirrored):
        red = {"X-Team": "red"}
        first = post(client, red).was("MISS")
        assert post(client.with_credential("sk-bob"), red).was("HIT").body == first.body
        assert post(client, {**red, "Authorization": None}).was("HIT").body == first.body

    @pytest.mark.parametrize("asking", ASKINGS)
    def test_teams_share_nothing(self, client, refrain, upstream, asking):
        ask = ASKINGS[asking]
        upstream.always(mirror, hold("g"), headers=LASTING)
        teams = [{"X-Team": "red"}, {"X-Team": "redd"}, {"X-Team": "RED"}, {"X-Team": ""}, {}]
        waiting = [ask(client, team) for team in teams]
        upstream.held("g", times=len(teams))
        upstream.release("g")
        for team, answer in zip(teams, waiting):
            answer.was("MISS")
            assert ask(client, team).was("HIT").body == answer.body

    def test_two_lines_are_another_team(self, client, mirrored):
        def of(*teams):
            return client.ask("POST", chat().path, [("X-Team", team) for team in teams], chat().wire_body)

        bodies = [of(*teams).was("MISS").body for teams in (("red",), ("red", "blue"), ("blue", "red"), ("red, blue",))]
        assert len(set(bodies)) == 4

    def test_a_wrong_key_is_not_everybodys_wrong_key(self, client, refrain, upstream):
        upstream.reply(whole, b'{"error":{"message":"no such key"}}', status=401, before=hold("g"))
        mallory = client.with_credential("sk-mallory").post(chat(), {"X-Team": "red"})
        upstream.held("g")
        alice = client.post(chat(), {"X-Team": "red"})
        refrain.waits_for("flight_readers", 2)
        upstream.release("g")
        mallory.was("MISS", status=401)
        alice.was("MISS")

    def test_vary_parts_what_the_team_does_not(self, client, upstream):
        upstream.always(mirror, headers={"Vary": "Authorization"})
        assert b"sk-alice" in post(client, {"X-Team": "red"}).was("MISS").body
        assert b"sk-bob" in post(client.with_credential("sk-bob"), {"X-Team": "red"}).was("MISS").body


@pytest.mark.refrain(cache={"scope": "shared"})
class TestSharedScope:
    def test_an_answer_to_a_credential_is_shared_on_get_only_by_upstreams_leave(self, client, upstream):
        """RFC 9111 section 3.5."""
        upstream.always(mirror, headers={"Cache-Control": "max-age=600"})
        assert b"sk-alice" in get(client).was("MISS").body
        assert b"sk-alice" not in get(client, {"Authorization": None}).was("MISS").body
        upstream.always(mirror, headers=LASTING)
        alice = get(client, target="/v1/public").was("MISS")
        assert get(client.with_credential("sk-bob"), target="/v1/public").was("HIT").body == alice.body

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_wrong_key_is_not_everybodys_wrong_key(self, client, refrain, upstream, status):
        upstream.reply(whole, b'{"error":{"message":"no"}}', status=status, before=hold("g"))
        mallory = client.with_credential("sk-mallory").post(chat())
        upstream.held("g")
        alice = client.post(chat())
        refrain.waits_for("flight_readers", 2)
        upstream.release("g")
        mallory.was("MISS", status=status)
        alice.was("MISS")


# Streams.


def test_streams_of_two_callers_never_mix(client, upstream):
    upstream.reply(sse, token("for alice"), hold("a"), token("alice's end"))
    upstream.reply(sse, token("for bob"), hold("b"), token("bob's end"))
    alice = client.post(chat_stream()).sees("for alice")
    bob = client.with_credential("sk-bob").post(chat_stream()).sees("for bob")
    late = client.post(chat_stream()).sees("for alice")
    upstream.release("b")
    upstream.release("a")
    assert b"bob" not in alice.whole().body and b"bob" not in late.whole().body
    assert b"alice" not in bob.whole().body


def test_the_apis_of_two_dialects_never_meet(client, mirrored):
    client.post(messages()).whole()
    upstream_body = client.post(messages().at("/v1/chat/completions")).whole()
    assert upstream_body.header("x-cache") != "HIT"


def test_an_event_of_one_is_no_event_of_another(client, upstream):
    """What looks like the end of a stream inside a message is text."""
    text = "data: [DONE]\\n\\ndata: planted"
    upstream.reply(sse, token(text), event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
    first = client.post(chat_stream()).was("MISS")
    assert client.post(chat_stream()).was("HIT").body == first.body
