"""A real browser, headless, that an operator has open: Chromium by its driver. What it asked for and what its console
said is kept, so that a test can hold the page to asking nobody else and to making no mistakes."""

import base64
import json
import os
import pathlib
import tempfile
import urllib.parse

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from .operator import token_of
from .process import TREE, wait_until

ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars",
             "--lang=en-US", "--window-size=1280,900", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-proxy-server", "--force-color-profile=srgb")


def artefacts():
    """Where screenshots go."""
    folder = pathlib.Path(os.environ.get("REFRAIN_ARTEFACTS", TREE / "build" / "dashboard"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Browser:
    def __init__(self):
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        self.profile = tempfile.TemporaryDirectory(prefix="refrain-chromium-", ignore_cleanup_errors=True)
        for argument in (*ARGUMENTS, f"--user-data-dir={self.profile.name}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.driver.set_page_load_timeout(60)
        self.origin = None
        self.asked, self.said = [], []

    def close(self):
        self.driver.quit()
        self.profile.cleanup()

    # The page.

    def opens(self, refrain, part=""):
        """Opens the page anew, with nothing remembered."""
        self.origin = "http://{}:{}".format(*refrain.admin)
        self.driver.get("about:blank")
        self.notes()
        self.asked, self.said = [], []
        self.sees_as(width=1280, dark=False)
        self.driver.get(f"{self.origin}/dashboard")
        self.driver.execute_script("sessionStorage.clear(); localStorage.clear()")
        self.driver.get(f"{self.origin}/dashboard{part}")
        self.waits_for("#sign-in")
        return self

    def signs_in(self, refrain, part=""):
        self.opens(refrain, part)
        self.types("#token", token_of(refrain), Keys.ENTER)
        self.waits_for("#app")
        return self

    def goes_to(self, part):
        self.find(f"#views a[href='#{part}']").click()
        self.waits_for(f"#{part}")

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector):
        """What is there, seen or not."""
        return self.script("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def shown(self, selector):
        """What is there to be seen."""
        return self.script("return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility())"
                           ".map(e => e.innerText).join('\\n')", selector)

    def sees(self, selector, *texts):
        """Waits until all @texts can be seen in what @selector names."""
        try:
            wait_until(lambda: all(text in self.shown(selector) for text in texts), "it")
        except AssertionError:
            raise AssertionError(f"expected {texts} in {selector}, it shows: {self.shown(selector)!r}") from None

    def waits_for(self, selector):
        wait_until(lambda: self.script("return document.querySelector(arguments[0])?.checkVisibility() ?? false",
                                       selector), f"{selector} to be seen")

    def clicks(self, selector):
        self.waits_for(selector)
        self.find(selector).click()

    def types(self, selector, *keys):
        self.waits_for(selector)
        self.find(selector).send_keys(*keys)

    def presses(self, *keys):
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def focused(self):
        return self.script("const e = document.activeElement; return e.id || e.getAttribute('href') || e.textContent.trim()"
                           " || e.name || e.tagName")

    def script(self, text, *arguments):
        return self.driver.execute_script(text, *arguments)

    # How it is looked at.

    def sees_as(self, width, dark, height=900):
        """Without motion, or a test would look at a colour on its way."""
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"}]})

    def screenshot(self, file, width, dark):
        """The whole page as a PNG."""
        self.sees_as(width, dark)
        self.settles()
        height = self.script("return document.documentElement.scrollHeight")
        self.sees_as(width, dark, height)
        self.settles()
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        pathlib.Path(file).write_bytes(base64.b64decode(shot["data"]))
        self.sees_as(width, dark)

    def settles(self):
        """Charts follow a change of width in the frames after it."""
        self.driver.execute_async_script(
            "const done = arguments[0]; let left = 4;"
            "const next = () => left-- > 0 ? requestAnimationFrame(next) : done(); next();")

    # What it did.

    def notes(self):
        """Takes in what the browser's logs have since the last look."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.asked.append(message["params"]["request"]["url"])
        self.said += [e for e in self.driver.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]

    def behaved(self, expected=()):
        """Nothing was asked elsewhere, no URL held a token, the console had nothing to say but what is @expected."""
        self.notes()
        elsewhere = [url for url in self.asked if not url.startswith((self.origin + "/", "blob:", "about:", "data:"))]
        assert not elsewhere, f"expected no request but to {self.origin}: {elsewhere}"
        assert not [url for url in self.asked if "token" in urllib.parse.urlsplit(url).query]
        errors = [e["message"] for e in self.said if not any(text in e["message"] for text in expected)]
        assert not errors, f"expected nothing in the console: {errors}"
