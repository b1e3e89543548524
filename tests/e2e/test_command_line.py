"""The command line as people and scripts meet it: screens of a real terminal, plain lines without one, one JSON value
for programs, and errors that say what to do next. SPEC section 10."""

import json
import re
import signal
import subprocess

import pytest

from harness.asks import chat
from harness.command import ENVIRONMENT, run
from harness.instance import Instance
from harness.process import TREE, binary
from harness.terminal import Terminal

@pytest.fixture
def instance(request):
    """A scripted one."""
    scripted = Instance()
    yield scripted
    scripted.close()


@pytest.fixture
def at(tmp_path):
    """Flags that lead to an instance: at(url)."""
    token = tmp_path / "token"
    token.write_text("0123456789abcdef0123456789abcdef")
    return lambda url: ["--admin", url, "--token-file", str(token)]


def at_real(refrain):
    """… and to a real one."""
    return ["--admin", "http://%s:%d" % refrain.admin, "--token-file", str(refrain.folder / "state" / "admin.token")]


@pytest.fixture
def terminal():
    """terminal([command …], rows, columns): closed at the end."""
    opened = []

    def begin(args, **kwargs):
        opened.append(Terminal([binary(), *args], **kwargs))
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


# What takes its time.


def test_an_invalidation_tells_how_long_it_takes_so_far(terminal, instance, at):
    instance.answers["/invalidate"] = {"matched": 2, "tiers": {"memory": 2}}
    instance.late.clear()
    screen = terminal(["invalidate", "--all", *at(instance.url)], rows=24, columns=80)
    screen.shows("invalidating in every tier,", "so far")
    instance.late.set()
    screen.exits(0)
    screen.drained()
    assert screen.lines()[0] == "2 entries invalidated (memory 2)", "the line of progress is gone"


# top.


def test_top_fits_a_small_terminal(terminal, instance, at):
    screen = terminal(["top", *at(instance.url)], rows=24, columns=80)
    screen.shows("q quit", "all; hit rate", "by hits", "refrain 9.8.7", "scripted", "1.23M in all", "83.8 %",
                 "51.0M tokens in, 7.30M out, $1234.56", "p50 420 us, p95 1.25 s, p99 3.50 s",
                 "p95 hits 900 us, misses 2.50 s", "3 open, 14 readers", "disk       degraded", "9.00 GiB",
                 "openai availability open for 12.2 s", "warning: The memory tier is 84 % full.")
    screen.waits_for(lambda: all("gpt-4o-mini" in line for line in screen.lines() if "…" in line), "that only ids are cut")
    screen.press("q")
    screen.exits(0)
    screen.waits_for(lambda: b"\x1b[?1049l" in screen.raw, "that the alternate screen is left")


def test_top_shows_real_traffic(terminal, refrain, client):
    client.post(chat("a")).was("MISS")
    client.post(chat("a")).was("HIT")
    screen = terminal(["top", "--interval", "1", *at_real(refrain)])
    screen.shows("2 in all", "50.0 %", "all closed", "gpt-4o-mini")
    client.post(chat("a")).was("HIT")
    screen.shows("3 in all", "66.7 %")
    screen.press("q")
    screen.exits(0)


def test_top_goes_along_with_the_terminals_size(terminal, instance, at):
    screen = terminal(["top", *at(instance.url)], rows=24, columns=80)
    screen.shows("by hits", "q quit")
    screen.resize(40, 120)
    screen.waits_for(lambda: screen.lines()[39].startswith("q quit") and f"{20:032x}" in screen.text(),
                     "the footer in the last row, and whole ids of more entries")
    screen.resize(10, 40)
    screen.waits_for(lambda: screen.lines()[9].startswith("q quit"), "the footer in the last row")
    screen.press("q")
    screen.exits(0)


def test_keys_of_top(terminal, instance, at):
    screen = terminal(["top", "--interval", "1", *at(instance.url)])
    screen.shows("by hits")
    screen.press("s")
    screen.shows("by tokens out")
    screen.waits_for(lambda: re.search(r"hits +tok. out .*\n +60 +40 ", screen.text()), "the entry with most tokens first")
    screen.press("h")
    screen.shows("another column")
    screen.press("h")
    screen.shows("by tokens out")
    screen.press("p")
    screen.shows("paused")
    screen.press("p")
    screen.waits_for(lambda: "paused" not in screen.text(), "that it goes on")
    screen.press("q")
    screen.exits(0)


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP),
                                            (signal.SIGQUIT, -signal.SIGQUIT), (signal.SIGINT, 0)],
                         ids=lambda value: str(value))
def test_the_terminal_is_given_back_however_top_ends(terminal, instance, at, number, status):
    screen = terminal(["top", *at(instance.url)])
    screen.shows("q quit", "by hits")
    screen.signal(number)
    screen.exits(status)


def test_top_says_that_an_instance_is_gone_and_finds_it_again(terminal, at):
    first = Instance()
    screen = terminal(["top", "--interval", "1", *at(first.url)], columns=110)
    screen.shows("1.23M in all")
    first.close()
    screen.shows("nobody answers at", "trying again", "1.23M in all")
    again = Instance(port=first.port)
    screen.waits_for(lambda: "nobody answers" not in screen.text(), "that it is back")
    screen.press("q")
    screen.exits(0)
    again.close()


def test_an_instance_that_hangs_does_not_hang_top(terminal, instance, at):
    instance.late.clear()
    screen = terminal(["top", *at(instance.url)])
    screen.shows("asking http")
    screen.press("q")
    screen.exits(0)


def test_nothing_that_an_instance_says_steers_the_terminal(terminal, instance, at):
    nasty = "x\x1b[31m\x9b31m\x07\u202e\r\ny"
    instance.answers["/stats"] = {**instance.answers["/stats"], "instance": nasty}
    instance.answers["/alerts"] = {"alerts": [{"level": nasty, "code": nasty, "message": nasty, "what_to_do": nasty}]}
    instance.answers["/popular"] = {"entries": [{"id": nasty, "model": nasty, "operation": nasty, "tags": [nasty]}]}
    for command in (["stats"], ["alerts"], ["popular"]):
        told = subprocess.run([binary(), *command, *at(instance.url)], capture_output=True, timeout=60, env=ENVIRONMENT).stdout
        assert not re.search(rb"\x1b|\x07|\r|\xc2\x9b|\xe2\x80\xae", told), told
    screen = terminal(["top", "--color", "never", *at(instance.url)])
    screen.shows("q quit", "x?[31m?31m")
    assert b"\x1b[31m" not in screen.raw and b"\x07" not in screen.raw
    screen.press("q")
    screen.exits(0)


def test_top_without_a_terminal_tells_what_to_do():
    assert "stats --watch" in run("top", "--admin", "http://127.0.0.1:1", status=2).stderr


def test_top_on_an_unknown_terminal_tells_what_to_do(terminal, instance, at):
    screen = terminal(["top", *at(instance.url)], columns=150, environment={"TERM": "no-such-terminal"})
    screen.shows("TERM=no-such-terminal", "stats --watch")
    screen.exits(2)


# stats.


def test_stats_tells_what_happened(refrain, client):
    client.post(chat("a")).was("MISS")
    client.post(chat("a")).was("HIT")
    told = run("stats", *at_real(refrain)).stdout
    assert re.search(r"^all\t2\t1\t1\t0\t", told, re.M) and re.search(r"^memory\tup\t", told, re.M), told
    assert json.loads(run("stats", "--json", *at_real(refrain)).stdout)["requests"]["total"] == 2


def test_stats_on_a_terminal(terminal, instance, at):
    screen = terminal(["stats", *at(instance.url)], rows=60)
    screen.shows("Alerts", "The memory tier is 84 % full.")
    screen.exits(0)
    text = screen.text()
    assert re.search(r"^all +1.23M +1.00M ", text, re.M) and "█████░" in text and "no price" in text, text
    assert "\t" not in text and b"\x1b[1m" in screen.raw
    plain = terminal(["stats", *at(instance.url)], rows=60, environment={"NO_COLOR": "1"})
    plain.shows("The memory tier is 84 % full.")
    plain.exits(0)
    assert b"\x1b" not in plain.raw


def test_stats_watch_without_a_terminal_is_a_line_each_time(instance, at):
    with subprocess.Popen([binary(), "stats", "--watch", "--interval", "1", *at(instance.url)], stdout=subprocess.PIPE,
                          text=True, env=ENVIRONMENT) as watching:
        first, second = watching.stdout.readline(), watching.stdout.readline()
        watching.terminate()
    assert "requests=1234567 hit_rate=0.8377" in first and "alerts=1" in first
    assert "per_second=0.0" in second and "\x1b" not in first + second


def test_stats_watch_waits_for_an_instance_that_is_away(at):
    gone = Instance()
    gone.close()
    with subprocess.Popen([binary(), "stats", "--watch", "--interval", "1", *at(gone.url)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as watching:
        assert watching.stdout.readline().endswith(" unreachable\n")
        again = Instance(port=gone.port)
        assert any("requests=1234567" in watching.stdout.readline() for _ in range(30))
        watching.terminate()
        assert "nobody answers" in watching.stderr.read()
        again.close()


def test_stats_watch_on_a_terminal_draws_anew(terminal, instance, at):
    screen = terminal(["stats", "--watch", "--interval", "1", *at(instance.url)], rows=60)
    screen.shows("1.23M")
    instance.answers["/stats"] = {**instance.answers["/stats"], "version": "9.8.8"}
    assert screen.shows("Refrain 9.8.8").count("Refrain") == 1
    screen.signal(signal.SIGTERM)
    screen.exits(-signal.SIGTERM)


# Tables.


def test_a_table_keeps_to_the_terminals_width(terminal, instance, at):
    for columns in (40, 60, 80, 200):
        screen = terminal(["popular", *at(instance.url)], rows=60, columns=columns)
        screen.waits_for(lambda: sum(bool(line) for line in screen.lines()) == 41, "a header and 40 rows")
        screen.exits(0)
        assert (f"{40:032x}" in screen.text()) is (columns > 40)
        assert ("refrain:default:chat" in screen.text()) is False and ("red" in screen.text()) is (columns == 200)


def test_a_pipe_gets_what_the_api_says_between_tabs(instance, at):
    lines = run("popular", *at(instance.url)).stdout.splitlines()
    assert lines[0].split("\t")[:3] == ["id", "hits", "bytes"]
    assert lines[1].split("\t")[:3] == [f"{1:032x}", "99", "1000"]


def test_colour_is_a_matter_of_terminal_environment_and_flag(terminal, instance, at):
    for flags, environment, coloured in ((["--color=never"], {}, False), ([], {}, True), ([], {"NO_COLOR": "1"}, False),
                                         ([], {"TERM": "dumb"}, False), (["--color=always"], {"NO_COLOR": "1"}, True)):
        screen = terminal(["alerts", *flags, *at(instance.url)], environment=environment)
        screen.shows("Raise tiers.memory.max_bytes.")
        screen.exits(1)
        assert (b"\x1b[33m" in screen.raw) is coloured, (flags, environment)


def test_a_terminal_without_utf8_gets_ascii(terminal, instance, at):
    screen = terminal(["stats", *at(instance.url)], rows=60, environment={"LANG": "C", "LC_ALL": "C"})
    screen.shows("The memory tier is 84 % full.")
    screen.exits(0)
    assert screen.raw.isascii() and "#####." in screen.text()


# Errors.


def refusal(status, code, headers=None, message="no"):
    return status, headers or {}, json.dumps({"error": {"code": code, "message": message}}).encode()


ERRORS = [
    ("a wrong token", refusal(401, "unauthorized", message="this is not the API's token"), "admin.token_file"),
    ("too many wrong tokens", refusal(429, "too_many_failures", {"Retry-After": "7"}), "try again in 7 s"),
    ("a name that it does not go by", refusal(403, "host_not_allowed"), "admin.hosts"),
    ("something else altogether", (200, {}, b"<html>hello"), "not the JSON that was expected"),
    ("a page of another server", (404, {}, b"<html>not here"), "not an instance's admin listener"),
    ("another version", None, "it has no /stats: that is another version"),
]


@pytest.mark.parametrize("answer, said", [e[1:] for e in ERRORS], ids=[e[0] for e in ERRORS])
def test_errors_say_what_to_do_next(instance, at, answer, said):
    instance.answers["/stats"] = answer
    done = run("stats", *at(instance.url), status=2)
    assert said in done.stderr and done.stdout == ""


def test_nobody_there_is_told():
    for command in ("stats", "alerts", "popular", "slow", "performance", "recommendations", "instances", "namespaces",
                    "breakers", "keys"):
        assert "is Refrain running there?" in run(command, "--admin", "http://127.0.0.1:1", status=2).stderr


# Help.


def commands():
    overview = subprocess.run([binary(), "--help"], capture_output=True, text=True, timeout=60).stdout
    return re.findall(r"^  ([a-z]+(?: [a-z]+)*)  ", overview, re.M)


def test_every_command_has_help_with_examples():
    assert {"serve", "stats", "top", "keys", "config check"} <= set(commands())
    for name in commands():
        told = run(*name.split(), "--help").stdout
        assert told.startswith(f"Usage: refrain {name}") and "\nExamples\n  refrain " in told, told
        assert max(map(len, told.splitlines())) <= 120, name


def test_the_page_of_the_command_line_names_commands_that_exist():
    page = (TREE / "docs" / "cli.md").read_text(encoding="utf-8")
    known = set(commands())
    for name in re.findall(r"`refrain ([a-z]+(?: [a-z]+)?)[^`]*`", page) + re.findall(r"screen: refrain ([a-z ]+) -->", page):
        assert name in known or name.split()[0] in known, name
    screens = re.findall(r"-->\n```\n(.*?)```", page, re.S)
    assert len(screens) == 6 and all(screen.startswith("$ refrain ") and screen.count("\n") > 1 for screen in screens)


JSON_COMMANDS = [["stats"], ["alerts"], ["recommendations"], ["popular"], ["slow"], ["performance"], ["instances"],
                 ["namespaces"], ["clients"], ["breakers"], ["keys"], ["keys", "--all"], ["invalidate", "--all", "--dry-run"]]


def test_json_is_one_value_of_every_command_that_asks(refrain, client, tmp_path):
    answer = client.post(chat("a")).was("MISS")
    for command in [*JSON_COMMANDS, ["get", answer.header("refrain-entry")]]:
        done = subprocess.run([binary(), *command, "--json", *at_real(refrain)], capture_output=True, text=True, timeout=60,
                              env=ENVIRONMENT)
        assert done.returncode in (0, 1) and isinstance(json.loads(done.stdout), dict), (command, done)
        plain = subprocess.run([binary(), *command, *at_real(refrain)], capture_output=True, text=True, timeout=60,
                               env=ENVIRONMENT)
        assert plain.returncode == done.returncode and "\x1b" not in plain.stdout, (command, plain)


def test_popular_lists_what_was_asked_for(refrain, client):
    client.post(chat("a")).was("MISS")
    client.post(chat("a")).was("HIT")
    header, row = (line.split("\t") for line in run("popular", *at_real(refrain)).stdout.splitlines())
    told = dict(zip(header, row))
    assert (told["hits"], told["model"], told["operation"]) == ("1", "gpt-4o-mini", "chat")


# What shows more than it needs to.


def test_security_check_finds_what_shows_too_much(tmp_path):
    state, token, config = tmp_path / "state", tmp_path / "token", tmp_path / "refrain.yaml"
    state.mkdir(mode=0o700)
    token.write_text("0123456789abcdef0123456789abcdef")
    token.chmod(0o600)
    config.write_text(f"upstream: https://api.example.com\ncache: {{state_dir: {state}}}\nadmin: {{token_file: {token}}}\n")
    flags = ["security", "check", "--config", str(config)]
    assert run(*flags).stdout == "Nothing was found.\n"
    assert json.loads(run(*flags, "--json").stdout) == {"findings": [], "ok": True}
    state.chmod(0o755)
    token.chmod(0o640)
    open_flags = [*flags, "--set", "admin.address=0.0.0.0:9180", "--listen", "0.0.0.0:8080", "--upstream", "http://api.example.com"]
    told = json.loads(run(*open_flags, "--json", status=1).stdout)
    assert {finding["where"] for finding in told["findings"]} == {str(state), str(token), "listen.address", "admin.address",
                                                                  "upstreams.default.url"}
    assert "chmod 0600" in run(*open_flags, status=1).stdout
