// The page: who is asked for the token, which part is looked at, light or dark.

import { ApiError, ask, download, session, Unreachable } from "./api.mjs";
import { TimeChart } from "./charts.mjs";
import { announce, byId, setBadge, setText } from "./dom.mjs";
import { startEntries } from "./entries.mjs";
import { LiveEvents } from "./events.mjs";
import { startExplain } from "./explain.mjs";
import { seconds, time } from "./format.mjs";
import { startOverview } from "./overview.mjs";
import { startPerformance } from "./performance.mjs";
import { Refresher } from "./refresh.mjs";

const VIEWS = ["overview", "performance", "entries", "explain", "events"];

// Whether the instance answers

let wasLost = false;
let countdown = 0;

function showConnection({ lostAt, retryAt }) {
  const lost = lostAt !== null;
  clearInterval(countdown);
  byId("offline").hidden = !lost;
  setBadge(byId("connection"), lost ? "bad" : "good", lost ? "no answer" : "live");
  if (lost !== wasLost) announce(lost ? "The instance does not answer" : "The instance answers again");
  wasLost = lost;
  if (!lost) return;
  const tell = () => setText(byId("offline-text"), `Not reachable since ${time(lostAt)}. What is shown is of then. `
    + `Asking again in ${seconds(Math.max(0, Math.round((retryAt - Date.now()) / 1000)))}.`);
  tell();
  countdown = setInterval(tell, 1000);
}

// Light and dark

function startTheme() {
  const select = byId("theme");
  const apply = (wanted) => {
    if (wanted === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = wanted;
    TimeChart.restyleAll();
  };
  let kept = null;
  try {
    kept = localStorage.getItem("refrain.theme");
  } catch {
    // it is not remembered, then
  }
  select.value = ["light", "dark"].includes(kept) ? kept : "system";
  apply(select.value);
  select.addEventListener("change", () => {
    apply(select.value);
    try {
      localStorage.setItem("refrain.theme", select.value);
    } catch {
      // as above
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => TimeChart.restyleAll());
}

// The parts of the page

function startViews(onLook) {
  const look = () => {
    const wanted = location.hash.slice(1);
    const view = VIEWS.includes(wanted) ? wanted : VIEWS[0];
    for (const name of VIEWS) byId(name).hidden = name !== view;
    for (const link of byId("views").querySelectorAll("a")) {
      if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    onLook(view);
  };
  addEventListener("hashchange", look);
  return look;
}

// The token

const REFUSED = "The instance does not take this token. It may have been changed, or belong to another instance.";

function startSession(onBegin, onEnd) {
  const form = byId("sign-in-form");
  const fault = byId("sign-in-fault");
  const field = byId("token");

  const askForToken = (why) => {
    session.end();
    onEnd();
    byId("app").hidden = true;
    byId("sign-in").hidden = false;
    setText(fault, why);
    field.value = "";
    field.focus();
  };
  const enter = (routes) => {
    byId("sign-in").hidden = true;
    byId("app").hidden = false;
    onBegin(routes);
  };
  const tryToken = async (wasGood) => {
    try {
      enter((await ask("")).routes);
    } catch (problem) {
      if (wasGood && problem instanceof Unreachable) {
        enter(null); // it says that nobody answers, and goes on asking
        return;
      }
      askForToken(whyNot(problem));
      field.setAttribute("aria-invalid", "true");
    }
  };
  session.onRefused = () => {
    if (!byId("app").hidden) askForToken(REFUSED);
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    setText(fault, "");
    field.removeAttribute("aria-invalid");
    session.begin(field.value.trim());
    tryToken(false);
  });
  byId("sign-out").addEventListener("click", () => askForToken(""));
  if (session.restore()) tryToken(true);
  else askForToken("");
}

function whyNot(problem) {
  if (!(problem instanceof ApiError)) return "The instance does not answer. Is it running?";
  if (problem.status === 401) return REFUSED;
  if (problem.status === 429) return `Too many wrong tokens came from here. Try again in ${seconds(problem.retry_s || 1)}.`;
  return problem.told;
}

// All together

const refresher = new Refresher(showConnection);
const entries = startEntries();
const events = new LiveEvents((id) => entries.open(id));
let view = "";
let signedIn = false;

const showView = startViews((name) => {
  view = name;
  refresher.look(view);
  if (!signedIn) return;
  events.look(view === "events");
  if (view === "entries") entries.look();
});

startTheme();
startOverview(refresher, (id) => entries.open(id));
startPerformance(refresher);
startExplain();
byId("retry").addEventListener("click", () => refresher.now());
for (const link of document.querySelectorAll("[data-download]"))
  link.addEventListener("click", async () => {
    try {
      await download(link.dataset.download, link.dataset.name);
    } catch (fault) {
      announce(fault instanceof ApiError ? fault.told : "The instance does not answer");
    }
  });
startSession(
  (routes) => {
    signedIn = true;
    showView();
    refresher.start(routes);
  },
  () => {
    signedIn = false;
    refresher.stop();
    events.look(false);
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  });
