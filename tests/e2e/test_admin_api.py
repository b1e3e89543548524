"""Who may use the API of the admin listener, and how it answers who may not. SPEC section 12."""

import json
import stat
import subprocess

import pytest

from harness.asks import chat
from harness.client import Client
from harness.operator import Operator, token_of
from harness.process import binary, wait_until

EVIL = "evil.example"


def refused(answer, status, code, where=None):
    """The error has the API's shape, and says what it is about."""
    answer.refused(status, code)
    error = json.loads(answer.body)["error"]
    assert answer.header("content-type") == "application/json" and answer.header("cache-control") == "no-store"
    assert error["message"] and error["type"] == "refrain_error"
    assert where is None or error["where"] == where, f"expected it to be about {where}: {error}"
    return error


# The token.


def test_the_token_is_made_at_first_start_and_readable_by_nobody_else(start):
    first = start()
    file = first.folder / "state" / "admin.token"
    token = file.read_text()
    assert len(token) == 64 and stat.S_IMODE(file.stat().st_mode) == 0o600
    first.stop()
    second = start(cache={"state_dir": str(first.folder / "state")})
    assert file.read_text() == token, "a restart makes no new one"
    asking = Operator(second, token)
    asking.reads("")
    asking.close()


def test_a_configured_token_is_the_only_one(start, tmp_path):
    (tmp_path / "token").write_text("my own token\n")
    refrain = start(admin={"token_file": str(tmp_path / "token")})
    assert not (refrain.folder / "state" / "admin.token").exists()
    asking = Operator(refrain, "my own token")
    asking.reads("")
    asking.close()


def test_a_reload_brings_a_new_token(start, tmp_path):
    (tmp_path / "token").write_text("old token")
    refrain = start(admin={"token_file": str(tmp_path / "token")})
    old, new = Operator(refrain, "old token"), Operator(refrain, "new token")
    old.reads("")
    (tmp_path / "token").write_text("new token")
    refrain.reload()
    refrain.logged(lambda e: e.get("event") == "reloaded", "the reload")
    new.reads("")
    refused(old.get(""), 401, "unauthorized")
    old.close()
    new.close()


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer wrong", "Basic dXNlcjpwYXNz", "token"])
def test_without_the_token_there_is_no_api(refrain, operator, authorization):
    for path in ("", "/", "/no-such-path"):
        answer = operator.get(path, {"Authorization": authorization})
        refused(answer, 401, "unauthorized", "header Authorization")
        assert answer.header("www-authenticate") == 'Bearer realm="refrain"'


def test_a_token_in_the_url_or_a_cookie_is_none(refrain, operator):
    token = token_of(refrain)
    for target, cookie in ((f"?token={token}", None), (f"?access_token={token}", None), ("", f"token={token}")):
        refused(operator.get(target, {"Authorization": None, "Cookie": cookie}), 401, "unauthorized")


def test_a_refused_body_is_read_so_that_the_answer_is_seen(refrain, operator):
    connection = operator.client.connect()
    answer = operator.post("/breakers", b"x" * 200_000, {"Authorization": "Bearer wrong"}, on=connection)
    refused(answer, 401, "unauthorized")
    assert operator.get("", on=connection).whole().status == 200, "the connection lives on"


def test_guessing_is_slowed_down_and_told_of_once(refrain, operator):
    connection = operator.client.connect()
    statuses = []
    while 429 not in statuses and len(statuses) < 200:
        answer = operator.get("", {"Authorization": "Bearer guess"}, on=connection).whole()
        statuses.append(answer.status)
    assert statuses[-1] == 429 and answer.header("retry-after"), f"expected an end to guessing: {statuses}"
    assert set(statuses[:-1]) == {401} and statuses.count(401) >= 10
    refrain.logged(lambda e: e.get("event") == "admin_refused", "a line of the first guess")
    refused_lines = [e for e in refrain.events if e.get("event") == "admin_refused"]
    assert len(refused_lines) == 1, "the others are counted"
    assert all(line["from"] == "127.0.0.1" for line in refused_lines)
    assert "guess" not in json.dumps(refused_lines)
    wait_until(lambda: operator.get("").whole().status == 200, "the bar to be lifted")


def test_metrics_and_health_need_no_token(refrain):
    client = Client(refrain.admin, credential=None)
    for path in ("/metrics", "/healthz", "/readyz"):
        assert client.get(path).whole().status == 200
    client.close()


def test_a_listener_that_others_can_reach_wants_a_token_of_yours(tmp_path, upstream):
    def serve(*more):
        return subprocess.run(
            [binary(), "serve", "--upstream", upstream.url, "--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0",
             "--set", f"cache.state_dir={tmp_path}", *more], capture_output=True, text=True, timeout=60)

    done = serve()
    assert done.returncode == 2 and "admin.token_file" in done.stderr, f"expected an error that says how: {done}"
    (tmp_path / "empty").write_text("\n")
    done = serve("--set", f"admin.token_file={tmp_path / 'empty'}")
    assert done.returncode == 2, f"expected an empty token to be none: {done}"


# Host and Origin: what a page in the operator's browser can do.


@pytest.mark.parametrize("host", [EVIL, f"{EVIL}:9180", f"127.0.0.1.{EVIL}", f"localhost.{EVIL}"])
def test_a_name_that_was_rebound_to_this_machine_gets_nothing(refrain, operator, host):
    refused(operator.get("", {"Host": host}), 403, "host_not_allowed", "header Host")


@pytest.mark.parametrize("origin", [f"https://{EVIL}", "null", "file://", "http://127.0.0.1:1", "http://localhost"])
def test_a_page_of_another_site_gets_nothing(refrain, operator, origin):
    answer = operator.get("", {"Origin": origin})
    refused(answer, 403, "origin_not_allowed", "header Origin")
    assert not answer.header("access-control-allow-origin")
    preflight = operator.client.ask("OPTIONS", "/api/v1/breakers", {"Origin": origin, "Authorization": None,
                                                                    "Access-Control-Request-Method": "POST"})
    assert preflight.whole().status == 403 and not preflight.header("access-control-allow-methods")


def test_its_own_page_may_ask(refrain, operator):
    assert operator.get("", {"Origin": f"http://{operator.client.host}"}).whole().status == 200


@pytest.mark.refrain(admin={"hosts": ["cache.internal"]})
def test_a_name_it_was_told_of_is_good(refrain, operator):
    assert operator.get("", {"Host": "cache.internal:9180"}).whole().status == 200
    refused(operator.get("", {"Host": EVIL}), 403, "host_not_allowed")


# Paths, methods, sizes.


def test_it_lists_what_can_be_asked(refrain, operator):
    routes = operator.reads("")["routes"]
    assert {"method", "path", "mutates"} <= set(routes[0])
    assert operator.reads("/") == {"routes": routes}


@pytest.mark.parametrize("path", ["/no-such-path", "//", "/breakers/", "/%62reakers", "/../metrics"])
def test_an_unknown_path_is_404(refrain, operator, path):
    refused(operator.get(path), 404, "not_found", "path")


def test_what_only_begins_like_the_api_is_not_it(refrain, operator):
    operator.get("x").refused(404, "not_found")


def test_a_wrong_method_is_told_the_right_ones(refrain, operator):
    answer = operator.client.ask("DELETE", "/api/v1")
    error = refused(answer, 405, "method_not_allowed", "method")
    assert answer.header("allow") == error["expected"] == "GET, HEAD"


def test_head_is_get_without_its_body(refrain, operator):
    answer = operator.client.ask("HEAD", "/api/v1").whole()
    assert answer.status == 200 and answer.body == b""


def test_a_body_is_bounded(refrain, operator):
    answer = operator.client.ask("GET", "/api/v1", None, b"x" * 100_000)
    error = refused(answer, 413, "too_large", "body")
    assert error["expected"] == "at most 16384 bytes"


# Breakers.


def states(operator):
    return {(b["upstream"], b["kind"]): b["state"] for b in operator.reads("/breakers")["breakers"]}


def test_every_upstream_has_its_breakers(start, upstream):
    refrain = start(upstreams={"second": {"url": upstream.url}},
                    routes=[{"path": "/second/", "upstream": "second"}, {"path": "/", "upstream": "default"}])
    operator = Operator(refrain)
    assert states(operator)["default", "validation"] == states(operator)["second", "validation"] == "closed"
    operator.close()


def test_an_operator_opens_closes_and_resets_a_breaker(refrain, operator):
    for action, state in (("open", "open"), ("close", "closed"), ("open", "open"), ("reset", "closed")):
        [now] = operator.does("/breakers/default/validation", {"action": action})["breakers"]
        assert (now["upstream"], now["kind"], now["state"]) == ("default", "validation", state)
        assert states(operator)["default", "validation"] == state
    line = refrain.logged(lambda e: e.get("event") == "admin_action", "a line for what was done", times=4)
    assert (line["method"], line["path"], line["status"]) == ("POST", "/api/v1/breakers/default/validation", 200)


def test_a_breaker_that_is_not_there_is_404(refrain, operator):
    refused(operator.post("/breakers/nowhere/validation", {"action": "open"}), 404, "not_found", "path")
    error = refused(operator.post("/breakers/default/nothing", {"action": "open"}), 404, "not_found", "path")
    assert error["expected"] == "validation, availability or tier"


@pytest.mark.parametrize("body", [None, b"", b"{}", b"open", b'{"action": "explode"}', b'{"action": 1}', b'{"action": "open"'])
def test_a_command_that_says_nothing_known_is_told_what_would(refrain, operator, body):
    error = refused(operator.post("/breakers/default/validation", body), 400, "request_invalid", "body")
    assert '{"action": "open"}' in error["expected"]
    assert states(operator)["default", "validation"] == "closed"


def test_the_proxy_listener_has_no_api(client, refrain, upstream):
    client.get("/api/v1/breakers", {"Authorization": f"Bearer {token_of(refrain)}"}).whole()
    [seen] = upstream.requests
    assert seen.target == "/api/v1/breakers", "that path belongs to upstream"


def test_the_token_is_shown_nowhere(client, refrain, operator):
    token = token_of(refrain)
    client.post(chat()).was("MISS")
    operator.reads("")
    shown = subprocess.run([binary(), "config", "show", "--config", str(refrain.config_file)],
                           capture_output=True, text=True, timeout=60)
    assert token not in "\n".join(refrain.lines) + str(refrain.scrape()) + shown.stdout


def test_one_address_cannot_keep_others_from_the_probes(refrain):
    greedy = Client(refrain.admin)
    for _ in range(300):
        greedy.connect(source="127.0.0.2")
    probe = Client(refrain.admin)
    assert probe.get("/healthz").whole().status == 200
    probe.close()
    greedy.close()
