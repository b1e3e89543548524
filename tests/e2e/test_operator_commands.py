"""Commands that talk to a running instance: `refrain explain`, `refrain breakers`. SPEC section 10."""

import json
import subprocess

import pytest

from harness.asks import chat
from harness.command import run
from harness.operator import token_of
from harness.process import binary

HEADERS = {"Authorization": "Bearer sk-alice", "Content-Type": "application/json", "Accept": "application/json"}


@pytest.fixture
def ask_file(tmp_path):
    def written(ask):
        file = tmp_path / "request.json"
        file.write_text(json.dumps({"path": ask.path, "headers": HEADERS, "body": ask.wire_body.decode()}))
        return str(file)
    return written


def test_explain_says_hit_or_miss_and_exits_so(client, refrain_command, ask_file):
    missed = refrain_command("explain", ask_file(chat()), status=1)
    assert missed.stdout.startswith("miss: nothing is stored under this key\n") and missed.stderr == ""
    client.post(chat()).was("MISS")
    hit = refrain_command("explain", ask_file(chat()), status=0)
    assert hit.stdout.startswith("hit\n") and "in memory" in hit.stdout
    other = refrain_command("explain", ask_file(chat("another")), status=1)
    assert "body messages[0].content: has another value there" in other.stdout


def test_explain_names_another_credential_and_nothing_of_it(client, refrain_command, ask_file):
    client.with_credential("sk-somebody-elses").post(chat()).was("MISS")
    assert "\n  credential: has another value there\n" in refrain_command("explain", ask_file(chat()), status=1).stdout


@pytest.mark.refrain(rules=[{"match": {"model": "gpt-4o*"}, "ttl": "2h"},
                            {"match": {"temperature_above": 1.0}, "cache": "off"}])
def test_explain_names_the_rules_that_match(refrain_command, ask_file):
    told = refrain_command("explain", ask_file(chat(temperature=1.5)), status=1).stdout
    assert "rules        rules[0], rules[1] match\n" in told


def test_explain_in_json_and_from_standard_input(client, refrain_command):
    ask = chat()
    client.post(ask).was("MISS")
    text = f"POST {ask.path} HTTP/1.1\n" + "".join(f"{n}: {v}\n" for (n, v) in HEADERS.items()) + "\n" + ask.wire_body.decode()
    told = json.loads(refrain_command("explain", "--json", "-", stdin=text, status=0).stdout)
    assert told["result"] == "hit"


def test_offline_and_online_give_the_same_key(client, refrain, refrain_command, ask_file):
    online = json.loads(refrain_command("explain", "--json", ask_file(chat()), status=1).stdout)
    offline = json.loads(run("explain", "--json", "--offline", "--config", str(refrain.config_file), ask_file(chat()),
                             status=2).stdout)
    assert offline["result"] == "unknown" and offline["would_hit"] is None
    for member in ("key", "key_text", "canonical", "excluded", "keyed_headers", "operation", "upstream"):
        assert offline[member] == online[member], member
    assert "nearest" not in offline and "entry" not in offline


def test_offline_tells_for_sure_what_is_never_cached(refrain, tmp_path):
    (tmp_path / "get").write_text('{"path": "/v1/x", "method": "DELETE"}')
    done = run("explain", "--offline", "--config", str(refrain.config_file), str(tmp_path / "get"), status=1)
    assert done.stdout.startswith("bypass: no operation of the cache has this method and path\n")


def test_without_the_servers_secret_there_is_no_key(tmp_path, ask_file):
    (tmp_path / "c.yaml").write_text(f"upstream: http://127.0.0.1:1\ncache: {{state_dir: {tmp_path}/none}}\n")
    told = json.loads(run("explain", "--json", "--offline", "--config", str(tmp_path / "c.yaml"), ask_file(chat()),
                          status=2).stdout)
    assert told["key"] is None and "secret" in told["key_because"]
    shared = run("explain", "--json", "--offline", "--config", str(tmp_path / "c.yaml"), "--set", "cache.scope=shared",
                 ask_file(chat()), status=2)
    assert json.loads(shared.stdout)["key"]
    assert not (tmp_path / "none").exists(), "looking makes no secret"


def test_nobody_there_is_told_and_explained_without(tmp_path, ask_file):
    (tmp_path / "c.yaml").write_text(f"upstream: http://127.0.0.1:1\nadmin: {{address: 127.0.0.1:1}}\n"
                                     f"cache: {{state_dir: {tmp_path}/none}}\n")
    done = run("explain", "--config", str(tmp_path / "c.yaml"), ask_file(chat()), status=2)
    assert "nobody answers at http://127.0.0.1:1" in done.stderr and "canonical" in done.stdout
    chosen = run("explain", "--config", str(tmp_path / "c.yaml"), "--admin", "http://127.0.0.1:1", ask_file(chat()), status=2)
    assert "nobody answers" in chosen.stderr and chosen.stdout == "", "another machine's configuration is not ours"


def test_tokens(refrain, tmp_path, ask_file):
    url = "http://%s:%d" % refrain.admin
    (tmp_path / "right").write_text(token_of(refrain) + "\n")
    (tmp_path / "wrong").write_text("wrong")
    run("explain", "--admin", url, "--token-file", str(tmp_path / "right"), ask_file(chat()), status=1)
    run("explain", "--admin", url + "/", ask_file(chat()), REFRAIN_ADMIN__TOKEN=token_of(refrain), status=1)
    wrong = run("explain", "--admin", url, "--token-file", str(tmp_path / "wrong"), ask_file(chat()), status=2)
    assert "this is not the API's token" in wrong.stderr
    none = run("explain", "--admin", url, "--set", f"cache.state_dir={tmp_path}/none", ask_file(chat()), status=2)
    assert "--token-file" in none.stderr and f"{tmp_path}/none/admin.token" in none.stderr
    missing = run("explain", "--admin", url, "--token-file", str(tmp_path / "missing"), ask_file(chat()), status=2)
    assert "No such file" in missing.stderr
    assert none.stderr.count("wants its token") == 1
    assert token_of(refrain) not in wrong.stdout + wrong.stderr + none.stderr
    secure = run("stats", "--admin", url.replace("http:", "https:"), "--token-file", str(tmp_path / "right"), status=2)
    assert "then --admin wants http://" in secure.stderr


def test_what_is_no_request_is_told(refrain_command, tmp_path):
    assert "expected one FILE" in refrain_command("explain", status=2).stderr
    assert "No such file" in refrain_command("explain", str(tmp_path / "none"), status=2).stderr
    assert "expected the path that is asked" in refrain_command("explain", "-", stdin="{}", status=2).stderr
    assert "expected the path that is asked" in refrain_command("explain", "--offline", "-", stdin="{}", status=2).stderr


def test_the_proxy_is_not_taken_for_the_admin_listener(client, refrain, ask_file, upstream):
    done = run("explain", "--admin", "http://%s:%d" % refrain.proxy, "--token-file", str(refrain.folder / "state" / "admin.token"),
               ask_file(chat()), status=2)
    assert done.stderr


def test_a_request_cannot_steer_the_terminal(refrain_command):
    asked = {"path": "/v1/chat/completions\x9b31m", "headers": HEADERS, "body": {"model": "\x1b[31m\u009b", "messages": []}}
    done = refrain_command("explain", "-", stdin=json.dumps(asked, ensure_ascii=False).replace("\x1b", "\\u001b"), status=1)
    assert "\x1b" not in done.stdout and "\u009b" not in done.stdout


def test_an_instance_on_a_unix_socket(tmp_path, upstream):
    path = tmp_path / "admin.sock"
    options = ["--set", f"cache.state_dir={tmp_path}/state"]
    nobody = run("breakers", "--admin", f"unix:{path}", *options, status=2)
    assert f"nobody answers at unix:{path}:" in nobody.stderr
    with subprocess.Popen([binary(), "serve", "--upstream", upstream.url, "--listen", "127.0.0.1:0", "--admin",
                           f"unix:{path}", *options], stderr=subprocess.PIPE, text=True) as serving:
        try:
            assert any('"listening"' in line for line in serving.stderr)
            assert "closed" in run("breakers", "--admin", f"unix:{path}", *options, status=0).stdout
        finally:
            serving.terminate()
            serving.stderr.read()
    assert serving.returncode == 0


def test_breakers_are_listed_and_commanded(refrain_command, tmp_path):
    listed = refrain_command("breakers", status=0)
    assert "default" in listed.stdout and "validation" in listed.stdout and "closed" in listed.stdout
    opened = refrain_command("breakers", "open", "default", "validation", status=0)
    assert "\topen\t" in opened.stdout
    assert "\ttrue\tby hand\n" in refrain_command("breakers", status=1).stdout
    states = json.loads(refrain_command("breakers", "--json", status=1).stdout)["breakers"]
    assert {b["state"] for b in states if b["kind"] == "validation"} == {"open"}
    refrain_command("breakers", "reset", "default", "validation", status=0)
    refrain_command("breakers", status=0)


def test_a_breaker_of_requests_without_a_model_says_so(client, refrain_command, upstream):
    client.get("/v1/models").was("MISS")
    assert "\tavailability\tno model\tclosed\t" in refrain_command("breakers", status=0).stdout


def test_a_command_that_is_not_understood_is_told_what_would_be(refrain_command):
    assert "open|close|reset UPSTREAM|TIER KIND" in refrain_command("breakers", "open", status=2).stderr
    for words in (["explode", "default", "validation"], ["default", "validation", "open"]):
        assert "open|close|reset UPSTREAM|TIER KIND" in refrain_command("breakers", *words, status=2).stderr
    assert "no such upstream" in refrain_command("breakers", "open", "no/where", "validation", status=2).stderr
