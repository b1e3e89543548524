"""The dashboard in a real browser, showing what real traffic made; and what the listener sends for it. SPEC section 12."""

import gzip
import hashlib
import json
import pathlib
import re
import subprocess

import pytest
from selenium.webdriver.common.keys import Keys

from harness.asks import chat
from harness.browser import Browser, artefacts
from harness.client import Client
from harness.operator import Operator, token_of
from harness.process import TREE, wait_until
from harness.redis import free_port

PARTS = ("overview", "performance", "entries", "explain", "events")


@pytest.fixture(scope="module")
def chromium():
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium):
    yield chromium
    chromium.driver.get("about:blank")  # its streams end before the instance does


def asked(client, n, hits, tags=None):
    """@n different questions, each answered from the cache @hits times afterwards."""
    for i in range(n):
        ask = chat(f"question {i}")
        if tags:
            ask = ask.with_headers(Refrain_Tags=tags)
        for _ in range(hits + 1):
            assert client.post(ask).whole().status == 200


# What the listener sends.


def shell(refrain, path="/dashboard", headers=None):
    asking = Client(refrain.admin, credential=None)
    answer = asking.get(path, headers).whole()
    asking.close()
    return answer


def test_the_page_is_open_but_holds_nothing(refrain):
    page = shell(refrain)
    assert page.status == 200 and page.header("content-type") == "text/html; charset=utf-8"
    files = re.findall(rb'(?:src|href)="(dashboard/[^"]+)"', page.body)
    assert {b"dashboard/main.mjs", b"dashboard/style.css", b"dashboard/icon.svg"} <= set(files)
    assert b"http" not in b"".join(files) and b"style=" not in page.body and b"<script>" not in page.body
    for file in files:
        assert shell(refrain, "/" + file.decode()).status == 200
    assert shell(refrain, "/dashboard/no-such-file").status == 404
    assert shell(refrain, "/dashboard/../api").status == 404


def test_its_policy_allows_this_origin_and_nothing_else(refrain):
    page = shell(refrain)
    policy = dict(part.strip().partition(" ")[::2] for part in page.header("content-security-policy").split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["img-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert page.header("referrer-policy") == "no-referrer" and page.header("x-content-type-options") == "nosniff"
    assert page.header("cross-origin-opener-policy") == "same-origin" and not page.header("set-cookie")


@pytest.mark.parametrize("path", ["/dashboard", "/dashboard/main.mjs", "/dashboard/style.css", "/dashboard/chart.js"])
def test_what_is_known_is_not_sent_again(refrain, path):
    plain, packed = shell(refrain, path), shell(refrain, path, {"Accept-Encoding": "gzip"})
    assert packed.header("content-encoding") == "gzip" and gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 2 and packed.header("vary") == "Accept-Encoding"
    assert plain.header("etag") != packed.header("etag") and plain.header("etag").startswith('"')
    assert plain.header("cache-control") == "no-cache"
    again = shell(refrain, path, {"If-None-Match": plain.header("etag")})
    assert again.status == 304 and again.body == b"" and again.header("etag") == plain.header("etag")
    other = shell(refrain, path, {"If-None-Match": plain.header("etag"), "Accept-Encoding": "gzip"})
    assert other.status == 200, "the tag is of the other form"


def test_the_root_leads_there(refrain):
    for path, location in (("/", "dashboard"), ("/dashboard/", "../dashboard")):
        answer = shell(refrain, path)
        assert answer.status == 302 and answer.header("location") == location


def test_the_proxy_listener_has_none_of_it(refrain, client, upstream):
    assert b"Refrain" not in client.get("/dashboard").whole().body
    upstream.saw(1)


# Who may look.


def test_a_wrong_token_is_refused_in_words_and_a_right_one_opens(refrain, browser):
    browser.opens(refrain)
    browser.types("#token", "wrong", Keys.ENTER)
    browser.sees("#sign-in-fault", "does not take this token")
    assert browser.focused() == "token" and not browser.shown("#app")
    browser.types("#token", token_of(refrain), Keys.ENTER)
    browser.sees("#instance", "Refrain ")
    browser.behaved(expected=["401"])


def test_the_token_lasts_as_long_as_the_tab_and_is_nowhere_else(refrain, browser):
    browser.signs_in(refrain)
    browser.driver.refresh()
    browser.waits_for("#app")
    kept = browser.script("return [document.cookie, location.href, JSON.stringify(localStorage), sessionStorage.length]")
    assert token_of(refrain) not in "".join(kept[:3]) and kept[3] == 1
    browser.clicks("#sign-out")
    browser.waits_for("#sign-in")
    assert browser.script("return sessionStorage.length") == 0
    browser.behaved()


def test_a_token_that_is_changed_meanwhile_asks_for_the_new_one(start, browser, tmp_path):
    (tmp_path / "token").write_text("old token")
    refrain = start(admin={"token_file": str(tmp_path / "token")})
    browser.opens(refrain)
    browser.types("#token", "old token", Keys.ENTER)
    browser.waits_for("#app")
    (tmp_path / "token").write_text("new token")
    refrain.reload()
    refrain.logged(lambda e: e.get("event") == "reloaded", "the reload")
    browser.sees("#sign-in-fault", "does not take this token")
    browser.types("#token", "new token", Keys.ENTER)
    browser.waits_for("#app")
    browser.behaved(expected=["401"])


# What it shows.


def test_figures_are_those_of_the_traffic(refrain, client, browser):
    asked(client, 5, hits=3)
    browser.signs_in(refrain)
    browser.sees("#figure-hit-rate", "75 %")
    browser.sees("#figure-hit-rate-below", "15 of 20 requests")
    browser.sees("#figure-calls", "5")
    browser.sees("#operation-table", "chat", "20", "75 %")
    browser.sees("#tier-list", "Memory", "up", "5 entries", "Disk", "off", "Not configured")
    browser.behaved()


def test_what_was_saved_and_what_is_hot_is_told(refrain, client, operator, browser):
    asked(client, 3, hits=2, tags="news")
    refrain.waits_for("requests_total", 6, result="hit")  # what a request saved is counted once its client has it
    saved = operator.reads("/stats")["saved"]
    tokens = saved["tokens_in"] + saved["tokens_out"]
    assert tokens > 0
    browser.signs_in(refrain)
    browser.sees("#figure-tokens", f"{tokens:,}")
    browser.sees("#model-table", "gpt-4o-mini", f"{saved['tokens_out']:,}")
    hottest = operator.reads("/popular?limit=10")["entries"]
    assert len(hottest) == 3
    browser.sees("#popular-table", *(entry["id"][:8] for entry in hottest), "news")
    browser.goes_to("performance")
    browser.sees("#latency-table", "chat, hit", "chat, miss")
    browser.sees("#part-table", "Upstream, first byte")
    browser.behaved()


TOKEN = "rfr_" + "D" * 43


@pytest.mark.refrain(clients={"search-team": {"token_sha256": hashlib.sha256(TOKEN.encode()).hexdigest(), "requests_per_minute": 3}},
                     upstreams={"default": {"credential": "sk-ours"}})
def test_what_each_client_asked_is_told(refrain, client, operator, browser):
    team = client.with_credential(TOKEN)
    asked(team, 1, hits=2)
    team.post(chat("once too often")).refused(429)
    wait_until(lambda: operator.reads("/clients")["clients"][0]["limited"] == 1, "the request turned away")
    browser.signs_in(refrain)
    browser.sees("#client-table", "search-team", "4", "66.7 %")
    browser.behaved()
    team.close()


@pytest.mark.refrain(monitoring={"sample_every": "50ms"})
def test_charts_say_what_they_draw(refrain, client, operator, browser):
    asked(client, 4, hits=4)
    wait_until(lambda: sum(s["requests"]["total"] for s in operator.reads("/stats/history?minutes=5")["samples"]) == 20,
               "the readings")
    browser.signs_in(refrain)
    said = "#chart-requests canvas[aria-label*='20 requests in the last 15 minutes: 16 hit'][aria-label*='4 miss']"
    browser.waits_for(said)
    browser.clicks("#chart-requests summary")
    browser.sees("#chart-requests table", "Time", "Coalesced")
    painted = browser.script("const c = document.querySelector(arguments[0]); return c.getContext('2d')"
                             ".getImageData(0, 0, c.width, c.height).data.some((v) => v > 0)", said)
    assert painted
    browser.behaved()


@pytest.mark.refrain(monitoring={"sample_every": "50ms"})
def test_an_alert_comes_with_what_to_do_and_goes(refrain, client, operator, browser):
    asked(client, 1, hits=0)
    browser.signs_in(refrain)
    browser.sees("#alerts", "No alerts")
    operator.does("/breakers/default/availability", {"action": "open"})
    alert = wait_until(lambda: [a for a in operator.reads("/alerts")["alerts"] if "breaker" in a["code"]], "the alert")[0]
    browser.sees("#alert-list", alert["message"], alert["what_to_do"].split("`")[0].strip())
    wait_until(lambda: alert["message"] in browser.text("#announcement"), "it to be spoken")
    operator.does("/breakers/default/availability", {"action": "reset"})
    wait_until(lambda: alert["message"] not in browser.shown("#alerts"), "it to go")
    browser.behaved()


def test_before_any_traffic_it_says_what_to_do(refrain, browser):
    browser.signs_in(refrain)
    browser.sees("#models", "the first hit shows here")
    browser.sees("#popular", "No entry has been hit yet")
    browser.sees("#operations", "point a client’s base URL at the proxy listener")
    browser.sees("#figure-hit-rate-below", "no requests yet")
    browser.sees("#breakers", "Breakers")
    for part in PARTS:
        browser.goes_to(part)
    browser.sees("#event-none", "What the proxy does from now on")
    browser.behaved()


@pytest.mark.refrain(upstreams={"default": {"breaker": {"availability": {"samples": 4, "open_for": "5m"}}}})
def test_a_breaker_is_opened_and_reset_by_hand(refrain, client, operator, browser):
    asked(client, 1, hits=1)
    browser.signs_in(refrain)
    browser.sees("#breaker-table", "default", "availability", "closed")

    def is_state(kind):
        return {b["kind"]: (b["state"], b["held"]) for b in operator.reads("/breakers")["breakers"]}[kind]

    button = "button[aria-label^='Change the breaker of default, availability']"
    browser.clicks(button)
    browser.clicks("#confirm button[value=open]")
    browser.sees("#breaker-table", "open, held")
    assert is_state("availability") == ("open", True)
    browser.clicks(button)
    browser.clicks("#confirm button[value=reset]")
    wait_until(lambda: "held" not in browser.shown("#breaker-table"), "the breaker to be its own again")
    browser.behaved()


def test_an_event_arrives_while_one_looks(refrain, client, browser):
    browser.signs_in(refrain, "#events")
    browser.sees("#event-state", "live")
    asked(client, 1, hits=1, tags="news")
    browser.sees("#event-list", "Miss", "Stored", "Hit", "gpt-4o-mini")
    browser.types("#event-text", "stored")
    wait_until(lambda: browser.script("return document.querySelectorAll('#event-list li').length") == 1, "the filter")
    browser.find("#event-text").clear()
    browser.types("#event-text", " ", Keys.BACKSPACE)
    browser.clicks("#event-pause")
    asked(client, 1, hits=0)
    before = browser.script("return document.querySelectorAll('#event-list li').length")
    browser.clicks("#event-pause")
    wait_until(lambda: browser.script("return document.querySelectorAll('#event-list li').length") > before,
               "what came during the pause")
    assert token_of(refrain) not in browser.driver.page_source
    browser.behaved()


def test_nothing_goes_before_it_was_counted_and_confirmed(refrain, client, operator, browser, upstream):
    asked(client, 3, hits=0, tags="news")
    asked(client, 1, hits=0)
    browser.signs_in(refrain, "#entries")
    browser.sees("#entry-count", "3 entries shown")
    browser.clicks("#invalidate")
    browser.sees("#entry-said", "at least one field")
    browser.types("#f-tag", "nobody")
    browser.clicks("#invalidate")
    browser.sees("#entry-said", "Nothing matches")
    browser.find("#f-tag").clear()
    browser.types("#f-tag", "news")
    browser.clicks("#invalidate")
    browser.sees("#confirm", "Invalidate 3 entries?", "tag news")
    browser.presses(Keys.ESCAPE)
    browser.sees("#entry-said", "Nothing was invalidated")
    assert len(operator.reads("/entries?tag=news")["entries"]) == 3
    browser.clicks("#invalidate")
    browser.clicks("#confirm button[value=do]")
    browser.sees("#entry-said", "3 entries invalidated: 3 in memory")
    assert operator.reads("/entries?tag=news")["entries"] == []
    browser.behaved()


def test_an_entry_is_found_read_and_changed(refrain, client, operator, browser):
    asked(client, 2, hits=2, tags="news")
    entry = operator.reads("/entries")["entries"][0]
    browser.signs_in(refrain, "#entries")
    for field, value in (("pattern", "*:chat:gpt-4o*:*"), ("operation", "chat"), ("model", "gpt-4o-mini"), ("id", entry["id"])):
        browser.types(f"#f-{field}", value)
    browser.presses(Keys.ENTER)
    browser.sees("#entry-count", "1 entry shown")
    browser.clicks("#entry-table button")
    browser.sees("#entry-facts", entry["id"], "gpt-4o-mini", "news", "memory")
    browser.find("#e-tags").clear()
    browser.types("#e-tags", "old, kept")
    browser.types("#e-ttl", "2h", Keys.ENTER)
    browser.sees("#entry-note", "Saved")
    changed = operator.reads(f"/entries/{entry['id']}")
    assert sorted(changed["tags"]) == ["kept", "old"] and 7000 < changed["ttl_s"] <= 7200
    browser.clicks("#entry-invalidate")
    browser.sees("#confirm", "Invalidate 1 entry?")
    browser.clicks("#confirm button[value=do]")
    browser.sees("#entry-note", "1 entry invalidated")
    browser.clicks("#entry-close")
    browser.sees("#entry-results", "Nothing matches")
    browser.behaved()


def test_a_pasted_request_is_explained(refrain, client, browser):
    ask = chat("hello")
    client.post(ask).whole()
    browser.signs_in(refrain, "#explain")

    def explains(text):
        browser.script("document.getElementById('request').value = arguments[0]", text)
        browser.clicks("#explain-form button[type=submit]")

    def curl(body):
        return (f"curl http://cache{ask.path} -H 'Content-Type: application/json' "
                f"-H 'Authorization: Bearer {client.credential}' -d '{json.dumps(body)}'")

    explains(curl(ask.body))
    browser.sees("#explain-answer", "Hit", "from the cache", "gpt-4o-mini", "memory")
    explains(curl({**ask.body, "temperature": 0.5}))
    browser.sees("#explain-answer", "Miss", "Why not a hit", "temperature", "only in this one")
    explains("{nonsense")
    browser.sees("#explain-said", "none")
    assert not browser.shown("#explain-answer")
    explains(json.dumps({"method": "POST", "path": "nowhere"}))
    wait_until(lambda: browser.shown("#explain-said") != "Looking…", "an answer")
    browser.behaved(expected=["400"])


def test_an_instance_that_is_gone_is_told_and_what_was_known_stays(start, browser):
    port = free_port()
    refrain = start(admin={"address": f"127.0.0.1:{port}"})
    client = start.client(refrain)
    asked(client, 2, hits=1)
    browser.signs_in(refrain)
    browser.sees("#figure-hit-rate", "50 %")
    token = token_of(refrain)
    refrain.stop()
    browser.sees("#offline", "Not reachable since", "Asking again in")
    browser.sees("#figure-hit-rate", "50 %")
    again = start(admin={"address": f"127.0.0.1:{port}", "token": token})
    wait_until(lambda: browser.shown("#retry") and (browser.clicks("#retry") or True) or not browser.shown("#offline"),
               "the button to ask now")
    wait_until(lambda: not browser.shown("#offline"), "the instance to be seen again")
    browser.sees("#figure-hit-rate-below", "no requests yet")
    browser.driver.get("about:blank")
    assert again.process.poll() is None
    browser.notes()


# How it can be used.


@pytest.mark.parametrize("width", [1280, 360])
def test_it_fits_and_is_kept_as_a_picture(refrain, client, browser, width):
    asked(client, 4, hits=3, tags="a-rather-long-tag-of-somebody,another-one")
    browser.signs_in(refrain)
    for part in PARTS:
        browser.sees_as(width, dark=False)
        browser.goes_to(part)
        if part == "entries":
            browser.sees("#entry-count", "4 entries")
        browser.settles()
        wide = browser.script("return document.documentElement.scrollWidth")
        assert wide <= width, f"{part} is {wide} px wide where there are {width}"
        for mode in ("light", "dark") if part == "overview" else ("light",):
            browser.screenshot(artefacts() / f"{part}-{width}-{mode}.png", width, mode == "dark")
    browser.behaved()


def luminance(colour):
    parts = [int(p) / 255 for p in re.findall(r"\d+", colour)[:3]]
    return sum(w * (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4)
               for (w, p) in zip((0.2126, 0.7152, 0.0722), parts))


def test_dark_is_dark_by_the_system_or_by_choice(refrain, browser):
    browser.signs_in(refrain)

    def page():
        return luminance(browser.script("return getComputedStyle(document.documentElement).backgroundColor"))

    assert page() > 0.8
    browser.sees_as(1280, dark=True)
    assert page() < 0.05
    browser.types("#theme", "Light")
    assert page() > 0.8
    browser.driver.refresh()
    browser.waits_for("#app")
    assert page() > 0.8, "the choice is remembered"
    browser.types("#theme", "Dark")
    browser.sees_as(1280, dark=False)
    assert page() < 0.05
    browser.behaved()


def test_it_can_be_walked_by_keyboard_alone(refrain, client, browser):
    asked(client, 2, hits=1)
    browser.opens(refrain)
    browser.presses(*token_of(refrain), Keys.ENTER)  # the field has the focus
    browser.waits_for("#app")
    browser.sees("#breaker-table", "default")
    browser.script("document.activeElement.blur()")
    wanted = {"#content", "#overview", "#performance", "#entries", "#explain", "#events", "theme", "sign-out", "Change…"}
    reached = set()
    for _ in range(60):
        browser.presses(Keys.TAB)
        reached.add(browser.focused())
        outline = browser.script("const s = getComputedStyle(document.activeElement); return s.outlineStyle + s.outlineWidth")
        hidden_input = browser.script("return document.activeElement.type === 'radio'")  # its label shows it
        assert hidden_input or outline == "solid2px", f"expected to see the focus on {browser.focused()}: {outline}"
        if browser.focused() == "Change…":
            break
    assert wanted <= reached, f"expected Tab to reach {wanted - reached}; it reached {reached}"
    browser.presses(Keys.ENTER)
    browser.waits_for("#confirm")
    assert browser.focused() == "confirm-cancel", "Enter by habit does nothing"
    inside = set()
    for _ in range(8):
        browser.presses(Keys.TAB)
        inside.add(browser.script("return document.activeElement.closest('dialog')?.id ?? document.activeElement.tagName"))
    assert inside <= {"confirm", "BODY"}, f"the focus left the dialog: {inside}"
    browser.presses(Keys.ESCAPE)
    wait_until(lambda: browser.focused() == "Change…", "the focus to come back")
    browser.behaved()


@pytest.fixture(scope="module")
def axe():
    folder = TREE / "tests" / "dashboard"
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, timeout=300,
                       capture_output=True)
    return pathlib.Path(script).read_text()


def test_the_rules_of_accessibility_are_kept(refrain, client, operator, browser, axe):
    asked(client, 3, hits=2, tags="news")
    operator.does("/breakers/default/validation", {"action": "open"})
    browser.opens(refrain)
    faults = broken(browser, axe)
    browser.signs_in(refrain)
    browser.sees("#breaker-table", "open, held")
    for part in PARTS:
        browser.goes_to(part)
        browser.settles()
        faults += broken(browser, axe)
    browser.goes_to("entries")
    browser.clicks("#entry-table button")
    browser.sees("#entry-facts", "news")
    faults += broken(browser, axe)
    assert not faults, "\n".join(faults)


def broken(browser, axe):
    """What axe-core finds on the page as it is, by WCAG 2.2 AA and its own best practices; in dark mode, what of it
    colours could break."""
    if not browser.script("return window.axe !== undefined"):
        browser.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
    faults = []
    for dark in (False, True):
        browser.sees_as(1280, dark)
        found = browser.driver.execute_async_script(
            "const [rules, done] = arguments;"
            "axe.run(document, {resultTypes: ['violations'], ...(rules && {runOnly: rules})}).then("
            "  (r) => done(r.violations.map((v) => `${v.id}: ${v.help}: `"
            "    + v.nodes.map((n) => n.html.slice(0, 160)).join(' | '))),"
            "  (e) => done([`axe: ${e}`]));", ["color-contrast"] if dark else None)
        faults += [f"{browser.script('return location.hash')}, dark {dark}: {fault}" for fault in found]
    browser.sees_as(1280, dark=False)
    return faults
