// The page as a whole: its views, its key, and the look at the server that all views share.

import { asJson, hasKey, onKeyWanted, request, setKey } from "./api.js";
import { byId, setClass, setText } from "./dom.js";
import { duration } from "./format.js";
import { Jobs } from "./jobs.js";
import { Meters, parse } from "./metrics.js";
import { Poll } from "./poll.js";
import { Status } from "./status.js";
import { TryIt } from "./tryit.js";

const LOOK_TIMEOUT_MS = 10000;
const VIEWS = ["status", "try", "jobs"];

let view = VIEWS[0];
const meters = new Meters();
const poll = new Poll(look);
const status = new Status(() => poll.now());
const tryIt = new TryIt(byId("try"), () => { location.hash = "jobs"; });
const jobs = new Jobs(byId("jobs"));

async function look() {
  const signal = AbortSignal.timeout(LOOK_TIMEOUT_MS);
  try {
    if (view === "jobs") await jobs.look(signal);
    const [seen, page] = await Promise.all([asJson("api/status", { signal }), request("metrics", { signal })]);
    meters.add(parse(await page.text()), Date.now());
    byId("give-key").hidden = true;
    showStanding(seen.status, `up ${duration(seen.uptime_seconds)}`);
    setText(byId("version"), seen.version);
    status.show(seen, meters);
    tryIt.showModels(seen.models);
  } catch (error) {
    if (error.status === 401) showStanding("locked", "nothing is shown without a key");
    else showStanding(error.status ? "error" : "unreachable", error.name === "TimeoutError" ? "no answer within 10 s" : error.message);
    throw error;
  }
}

function showStanding(standing, more) {
  setText(byId("health"), standing);
  setClass(byId("health"), `badge is-${standing}`);
  setText(byId("standing"), more);
}

// Shows the view that the address names; an address that leads elsewhere in the page changes no view.
function showView() {
  const named = location.hash.slice(1);
  if (VIEWS.includes(named)) view = named;
  for (const each of VIEWS) byId(each).hidden = each !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  poll.now();
}

function askForKey(message) {
  if (hasKey()) setText(byId("key-trouble"), message); // else there is nothing wrong yet
  setKey(null);
  byId("forget-key").hidden = true;
  byId("give-key").hidden = false;
  if (!byId("key").open) byId("key").showModal();
}

function takeKey() {
  const text = byId("key-text").value.trim();
  byId("key-text").value = "";
  if (!/^[\x21-\x7e]+$/.test(text)) {
    setText(byId("key-trouble"), "a key has letters, digits and signs only, without spaces");
    return;
  }
  setKey(text);
  setText(byId("key-trouble"), "");
  byId("key").close();
  byId("give-key").hidden = true;
  byId("forget-key").hidden = false;
  poll.now();
}

function forgetKey() {
  setKey(null);
  location.reload(); // what was shown with it goes too
}

function togglePause() {
  poll.isPaused = !poll.isPaused;
  byId("pause").setAttribute("aria-pressed", String(poll.isPaused));
  setText(byId("pause"), poll.isPaused ? "Go on" : "Pause");
}

byId("pause").addEventListener("click", togglePause);
byId("give-key").addEventListener("click", () => byId("key").showModal());
byId("forget-key").addEventListener("click", forgetKey);
byId("key-cancel").addEventListener("click", () => byId("key").close());
byId("key").addEventListener("submit", (event) => {
  event.preventDefault();
  takeKey();
});
addEventListener("hashchange", showView);
// A file that misses its place must not replace the page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
byId("forget-key").hidden = !hasKey();
onKeyWanted(askForKey);
showView();
