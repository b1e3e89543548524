"""What an operator sees is what happened, and never what was said. SPEC section 12."""

import contextlib
import fcntl
import io
import json
import os
import shutil
import signal
import subprocess

import pytest

from harness.asks import chat, chat_stream, embedding, messages
from harness.client import Client
from harness.process import is_request_line, merged, wait_until
from harness.tmpfs import mounted
from harness.upstream import chat_answer, hold, whole

SECRETS = ["sk-very-secret", "the prompt nobody may read", "the answer nobody may read"]


def test_a_request_has_one_log_line_that_says_what_became_of_it(client, refrain, upstream):
    client.post(chat(), headers={"X-Request-Id": "log-1"}).was("MISS")
    client.post(chat(), headers={"X-Request-Id": "log-2"}).was("HIT")
    client.ask("PUT", "/v1/thing", {"X-Request-Id": "log-3"}, b"x").whole()
    lines = {line["id"]: line for line in refrain.request_lines(3)}
    assert set(lines) == {"log-1", "log-2", "log-3"}, f"expected a line for each request: {lines}"
    assert [lines[f"log-{n}"]["result"] for n in (1, 2, 3)] == ["miss", "hit", "bypass"]
    assert [lines[f"log-{n}"]["status"] for n in (1, 2, 3)] == [200, 200, 200]
    assert lines["log-1"]["operation"] == lines["log-2"]["operation"] == "chat"
    assert lines["log-1"]["model"] == lines["log-2"]["model"] == "gpt-4o-mini"
    assert lines["log-2"]["bytes"] > 0


def test_a_model_that_the_path_names_is_logged_of_a_bypass_too(client, refrain, upstream):
    client.ask("POST", "/v1beta/models/gemini-x:generateContent",
               {"Content-Type": "application/json", "Refrain-Cache": "off"}, b'{"contents": []}').was("BYPASS")
    client.ask("PUT", "/v1/thing", {}, b"x").whole()
    lines = refrain.request_lines(2)  # of two connections, so perhaps of two workers, in any order
    assert {(line["operation"], line["model"]) for line in lines} == {("generate", "gemini-x"), ("pass", "")}


def test_a_line_says_why_an_answer_was_not_stored(client, refrain, upstream):
    upstream.reply(whole, b"{}", status=429)
    client.post(chat()).whole()
    [line] = refrain.request_lines(1)
    assert line["status"] == 429 and line["reason"] == "status", f"expected the reason: {line}"


def test_neither_prompt_nor_answer_nor_credential_is_ever_logged(client, refrain, upstream):
    upstream.always(whole, chat_answer(SECRETS[2]))
    spy = client.with_credential(SECRETS[0])
    spy.post(chat(SECRETS[1])).was("MISS")
    spy.post(chat(SECRETS[1])).was("HIT")
    spy.post(chat(SECRETS[1]).at(f"/v1/chat/completions?key={SECRETS[0]}")).whole()
    spy.ask("PUT", f"/v1/thing?key={SECRETS[0]}", {"x-api-key": SECRETS[0], "Cookie": SECRETS[0]}, SECRETS[1]).whole()
    spy.post(chat(SECRETS[1]), headers={"Refrain-TTL": SECRETS[0]}).refused(400)
    upstream.down()
    spy.post(chat(SECRETS[1] + "!")).refused(502)
    refrain.request_lines(6)
    text = "\n".join(refrain.lines) + json.dumps([str(sample) for sample in refrain.scrape()])
    spy.close()
    for secret in SECRETS:
        assert secret not in text, f"{secret!r} was logged:\n{refrain.log()}"


def test_a_log_line_cannot_be_forged(client, refrain, upstream):
    client.get("/x?a=%0a%22%7b", headers={"X-Request-Id": 'a","result":"forged'}).whole()
    client.post(chat(model='m","result":"forged\n')).whole()
    for line in refrain.request_lines(2):
        assert line["result"] != "forged"


def test_the_counters_count_what_was_sent(client, refrain, upstream):
    upstream.reply(whole, chat_answer("x"), before=hold("g"))
    waiting = [client.post(chat()) for _ in range(4)]
    refrain.waits_for("flight_readers", 4)
    upstream.release("g")
    for answer in waiting:
        answer.whole()
    for _ in range(5):
        client.post(chat()).was("HIT")
    client.post(chat_stream()).was("MISS")
    client.post(chat_stream()).was("HIT")
    client.post(embedding()).was("MISS")
    client.post(messages()).was("MISS")
    client.post(chat(), headers={"Refrain-Cache": "off"}).was("BYPASS")
    client.ask("PUT", "/v1/thing", body=b"x").whole()
    upstream.reply(whole, b"{}", status=500)
    client.post(chat("fails")).whole()
    refrain.request_lines(16)
    count = refrain.metric
    assert count("requests_total") == 16
    assert count("requests_total", operation="chat", result="hit") == 6
    assert count("requests_total", operation="chat", result="coalesced") == 3
    assert count("requests_total", operation="embedding", result="miss") == 1
    assert count("requests_total", operation="messages", result="miss") == 1
    assert count("requests_total", result="bypass") == 2
    assert count("hits_total", tier="memory") == 6
    assert count("coalesced_total") == 3
    assert count("upstream_requests_total", upstream="default") == len(upstream.requests) == 7
    assert count("upstream_requests_total", code="500") == 1
    assert count("not_stored_total", reason="status") == 1
    assert count("entries", tier="memory") == 4
    assert count("bytes", tier="memory") > 0
    assert count("flights") == 0 and count("flight_readers") == 0
    assert count("request_duration_seconds_count") == 16
    assert count("request_duration_seconds_count", result="hit") == 6


def test_an_upstream_that_is_down_is_counted(client, refrain, upstream):
    upstream.down()
    client.post(chat()).refused(502)
    refrain.request_lines(1)
    assert refrain.metric("requests_total", result="error") == 1


@pytest.mark.refrain(operations={f"op-{number}": {"dialect": "chat"} for number in range(104)})
def test_what_comes_from_outside_cannot_flood_the_labels(client, refrain, upstream):
    for number in range(104):
        headers = {"Refrain-Namespace": f"n-{number}", "Refrain-Operation": f"op-{number}"}
        asked = chat(model=f"model-{number}")
        upstream.reply(whole, chat_answer("refused"), status=430 + number)
        client.post(asked, headers=headers).whole()
        client.post(asked, headers=headers).was("MISS")
        client.post(asked, headers=headers).was("HIT")
    samples = refrain.scrape()
    for label, named in (("model", 100), ("namespace", 100), ("operation", 139), ("code", 63)):
        values = {value for (_, pairs) in samples for (name, value) in pairs if name == label}
        assert 10 < len(values) <= named + 1, f"expected at most {named} of {label} and `other`, got {len(values)}"
        assert "other" in values, f"expected further ones of {label} to be `other`, got {values}"
    assert refrain.metric("requests_total") == 3 * 104


def test_promtool_finds_nothing(client, refrain):
    client.post(chat()).was("MISS")
    client.post(chat()).was("HIT")
    text = client_of_admin(refrain).get("/metrics").whole().body
    promtool = shutil.which("promtool")
    assert promtool, "promtool comes with Debian's package prometheus (deploy/packages-test.txt)"
    said = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=30)
    assert (said.returncode, said.stdout + said.stderr) == (0, b""), f"promtool says: {said}"


def client_of_admin(refrain):
    return Client(refrain.admin, credential=None)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_and_readiness_are_told(refrain, path):
    answer = client_of_admin(refrain).get(path).whole()
    assert answer.status == 200 and answer.body


def test_the_admin_listener_knows_nothing_else_without_a_token(refrain):
    admin = client_of_admin(refrain)
    assert admin.get("/nowhere").whole().status in (401, 404)
    assert admin.get("/api/v1/config").whole().status in (401, 404)
    assert admin.ask("POST", "/metrics", body=b"x").whole().status == 405


def test_the_proxy_reserves_no_path(client, upstream):
    for path in ("/metrics", "/healthz", "/readyz", "/api/v1/stats"):
        assert client.get(path).whole().body.startswith(b"GET " + path.encode())
    upstream.saw(4)


def test_what_is_refused_by_the_front_is_counted_and_logged(client, refrain, upstream):
    connection = client.connect()
    connection.send(b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n")
    assert connection.ends().startswith(b"HTTP/1.1 400 ")
    refrain.logged(lambda event: is_request_line(event) and event["status"] == 400, "a line for the refusal")
    assert refrain.metric("requests_total", result="error") == 1


def test_a_log_that_nobody_reads_loses_lines_and_says_how_many(refrain, client):
    pipe = refrain.folder / "log.pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    refrain.write_config(merged(refrain.config, {"log": {"file": str(pipe)}}))
    refrain.reload()
    read = io.BytesIO()
    wait_until(lambda: b'"reloaded"' in take(reader, read), "the log to go into the pipe")
    client.post(chat()).was("MISS")
    for _ in range(60):
        client.post(chat()).was("HIT")
    wait_until(lambda: refrain.metric("log_lines_dropped_total") > 0, "lines to be lost")
    take(reader, read)
    client.post(chat()).was("HIT")
    wait_until(lambda: b'"log_lines_dropped"' in take(reader, read), "the log to say so")
    refrain.write_config(refrain.config)
    refrain.reload()
    refrain.logged(lambda event: event.get("event") == "reloaded", "standard error to be the log again")
    os.close(reader)


def test_a_full_disk_loses_lines_and_says_how_many(refrain, client):
    folder = refrain.folder / "small"
    folder.mkdir()
    with mounted(folder, "size=64k"):
        file, filler = folder / "refrain.log", folder / "filler"
        refrain.write_config(merged(refrain.config, {"log": {"file": str(file)}}))
        refrain.reload()
        wait_until(lambda: file.exists() and '"reloaded"' in file.read_text(), "the log to go into its file")
        client.post(chat()).was("MISS")
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as out:
            while out.write(b"x" * 4096):
                pass
        for _ in range(60):
            client.post(chat()).was("HIT")
        wait_until(lambda: refrain.metric("log_lines_dropped_total") > 0, "lines to be lost")
        filler.unlink()
        client.post(chat()).was("HIT")
        wait_until(lambda: '"log_lines_dropped"' in file.read_text(), "the log to say so")
        refrain.write_config(refrain.config)
        refrain.reload()
        refrain.logged(lambda event: event.get("event") == "reloaded", "standard error to be the log again")
        lines = [json.loads(line) for line in file.read_text().splitlines()]  # each is whole, the one that was cut, too
        assert len([line for line in lines if is_request_line(line)]) < 62


def take(reader, read):
    """All that has come so far through the pipe @reader, gathered in @read."""
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(reader, 65536):
            read.write(piece)
    return read.getvalue()


def test_the_log_is_opened_anew_as_text_and_says_where_it_cannot_be(refrain, client):
    file, old, older = (refrain.folder / name for name in ("refrain.log", "refrain.log.1", "refrain.log.2"))
    refrain.write_config(merged(refrain.config, {"log": {"file": str(file), "format": "text"}}))
    refrain.reload()
    wait_until(lambda: file.exists() and " INFO  reloaded" in file.read_text(), "the log to go into its file")
    client.post(chat()).was("MISS")
    wait_until(lambda: " result=miss " in file.read_text(), "the request's line")
    file.rename(old)
    refrain.process.send_signal(signal.SIGUSR1)
    wait_until(file.exists, "a new file")
    client.post(chat()).was("HIT")
    wait_until(lambda: " result=hit " in file.read_text(), "the next one's")
    assert " result=hit " not in old.read_text()
    file.rename(older)
    file.mkdir()
    refrain.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: " ERROR log_not_opened " in older.read_text(), "the old one to say that there is no new one")
    client.post(chat()).was("HIT")
