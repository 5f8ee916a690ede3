// The console's modules that need no browser. Argument: the folder they lie in.
import assert from "node:assert/strict";
import { mock } from "node:test";
import { pathToFileURL } from "node:url";

const folder = pathToFileURL(`${process.argv[2]}/`);
const load = (name) => import(new URL(name, folder));

class Tab extends EventTarget {
  hidden = false;
}

globalThis.document = new Tab();
const { aroundCommand, bytes, duration, number } = await load("format.js");
const { Meters, parse } = await load("metrics.js");
const { Poll } = await load("poll.js");

function page(ended, buckets, inFlight = 0) {
  const lines = Object.entries(buckets).map(([le, n]) =>
    `turbov2_request_duration_seconds_bucket{lane="bulk",le="${le}",model="m",outcome="answered"} ${n}`);
  return parse([
    "# HELP turbov2_requests_ended_total Their ends",
    `turbov2_requests_ended_total{error="",lane="bulk",model="m",outcome="answered"} ${ended}`,
    `turbov2_requests_in_flight{lane="bulk",model="m"} ${inFlight}`,
    'turbov2_queue_items{model="a \\"b\\\\c\\n{}"} 3.0',
    "turbov2_loop_lag_seconds 0.1",
    ...lines,
  ].join("\n"));
}

function samples_are_read() {
  const samples = page(7, { "0.1": 1, "+Inf": 2 }, 4);
  assert.equal(samples.length, 5); // only what is shown
  assert.deepEqual(samples[2].labels, { model: 'a "b\\c\n{}' });
  assert.equal(samples[0].value, 7);
}

function growth_and_quantiles_are_of_the_window() {
  const meters = new Meters();
  meters.add(page(100, { "0.1": 50, "0.2": 100, "+Inf": 100 }), 0);
  assert.equal(meters.windowS, 0);
  assert.equal(meters.grown("turbov2_requests_ended_total"), 0);
  assert.equal(meters.quantile(0.5, "turbov2_request_duration_seconds"), null);
  meters.add(page(110, { "0.1": 50, "0.2": 108, "+Inf": 110 }, 2), 10000);
  assert.equal(meters.windowS, 10);
  assert.equal(meters.grown("turbov2_requests_ended_total", { lane: "bulk" }), 10);
  assert.equal(meters.grown("turbov2_requests_ended_total", { lane: "default" }), 0);
  assert.equal(meters.now("turbov2_requests_in_flight"), 2);
  assert.ok(Math.abs(meters.quantile(0.4, "turbov2_request_duration_seconds") - 0.15) < 1e-9);
  assert.equal(meters.quantile(0.99, "turbov2_request_duration_seconds"), 0.2); // all that is known: it is above
  assert.deepEqual(meters.combinations("turbov2_requests_in_flight", "model", "lane"), [["m", "bulk"]]);
}

function the_window_is_a_minute() {
  const meters = new Meters();
  for (let second = 0; second <= 120; second += 2) meters.add(page(second, {}), second * 1000);
  assert.equal(meters.windowS, 60);
  assert.equal(meters.grown("turbov2_requests_ended_total"), 60);
  meters.add(page(500, {}), 1000000); // the tab was hidden for a quarter of an hour
  assert.equal(meters.windowS, 0);
  meters.add(page(501, {}), 1002000);
  assert.equal(meters.grown("turbov2_requests_ended_total"), 1);
  meters.add(page(3, {}), 1004000); // the server was started again
  assert.equal(meters.windowS, 0);
}

function numbers_are_written_for_people() {
  assert.deepEqual([0, 999, 38e6, 1.04e9, 20.2e9].map(bytes), ["0 B", "999 B", "38 MB", "1.0 GB", "20 GB"]);
  assert.deepEqual([0.0004, 0.023, 0.9996, 42, 200, 7300].map(duration), ["0.4 ms", "23 ms", "1.0 s", "42 s", "3 min", "2 h"]);
  assert.deepEqual([0, 3, 0.256, 12.34, 1234.5].map(number), ["0", "3", "0.26", "12.3", "1,235"]);
  assert.deepEqual(aroundCommand("not here; turbov2 pull minilm-384d fetches it now"),
    ["not here; ", "turbov2 pull minilm-384d", " fetches it now"]);
  assert.deepEqual(aroundCommand("install it: pip install 'a[b]'"), ["install it: ", "pip install 'a[b]'", ""]);
  assert.deepEqual(aroundCommand("no command"), ["no command", "", ""]);
}

// Lets promises that are due go on, and then the clock.
async function pass(ms) {
  for (let step = 0; step < ms; step += 500) {
    await new Promise(setImmediate);
    mock.timers.tick(500);
  }
  await new Promise(setImmediate);
}

async function looks_come_every_two_seconds_and_rarely_while_they_fail() {
  mock.timers.enable({ apis: ["setTimeout"] });
  let looks = 0;
  let failure = null;
  const poll = new Poll(async () => {
    looks += 1;
    if (failure) throw failure;
  });
  const looksIn = async (ms) => {
    const before = looks;
    await pass(ms);
    return looks - before;
  };
  await poll.now();
  assert.equal(await looksIn(20000), 10);
  failure = new Error("unreachable");
  assert.equal(await looksIn(60000), 5); // after 2, 4, 8, 16 and 30 s
  assert.equal(await looksIn(300000), 10);
  failure.retryAfterS = 100;
  await poll.now();
  assert.equal(await looksIn(99000), 0);
  failure = null;
  assert.equal(await looksIn(11000), 6);
  document.hidden = true;
  document.dispatchEvent(new Event("visibilitychange"));
  assert.equal(await looksIn(60000), 0);
  document.hidden = false;
  const before = looks;
  document.dispatchEvent(new Event("visibilitychange"));
  assert.equal(looks, before + 1); // at once, and then as before
  assert.equal(await looksIn(4000), 2);
  poll.isPaused = true;
  assert.equal(await looksIn(60000), 0);
  failure = Object.assign(new Error("missing API key"), { status: 401 });
  poll.isPaused = false;
  assert.equal(looks, before + 4);
  assert.equal(await looksIn(60000), 0); // until there is a key
  mock.timers.reset();
}

samples_are_read();
growth_and_quantiles_are_of_the_window();
the_window_is_a_minute();
numbers_are_written_for_people();
await looks_come_every_two_seconds_and_rarely_while_they_fail();
console.log("{}");
