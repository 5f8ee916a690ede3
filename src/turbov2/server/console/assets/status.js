// What the server does: tiles, memory, models, requests, events.

import { request } from "./api.js";
import { byId, element, Rows, setClass, setText } from "./dom.js";
import { aroundCommand, bytes, clock, count, duration, number } from "./format.js";
import { PoolRow } from "./pools.js";

const MAX_EVENTS = 40;
const DURATION = "turbov2_request_duration_seconds";
const ENDED = "turbov2_requests_ended_total";

export class Status {
  #tiles = new Rows(byId("tiles"), () => new Tile());
  #pools = new Rows(byId("pools"), () => new PoolRow());
  #here;
  #elsewhere = new Rows(byId("elsewhere"), () => new MissingRow());
  #traffic = new Rows(byId("traffic"), () => new TrafficRow());
  #events = new Rows(byId("events"), () => new EventRow());

  // onChange() is called when a model was loaded or unloaded from here.
  constructor(onChange) {
    this.#here = new Rows(byId("here"), () => new ModelRow(onChange));
  }

  show(seen, meters) {
    const residents = new Map(seen.residents.map((each) => [each.model, each]));
    for (const each of seen.residents) for (const name of each.shared_by) residents.set(name, each);
    this.#tiles.show(tiles(seen, meters), (tile) => tile.name);
    this.#pools.show(seen.pools.map((pool) => ({ pool, residents: seen.residents })), ({ pool }) => pool.name);
    const models = seen.models.map((model) => ({ model, resident: residents.get(model.name) }));
    const here = models.filter(({ model, resident }) => resident || ["ready", "installed"].includes(model.availability));
    here.sort((a, b) => Boolean(b.resident) - Boolean(a.resident));
    const elsewhere = models.filter((each) => !here.includes(each));
    this.#here.show(here, ({ model }) => model.name);
    this.#elsewhere.show(elsewhere, ({ model }) => model.name);
    setText(byId("elsewhere-title"), `${count(elsewhere.length, "model")} of the catalogue not here`);
    this.#traffic.show(traffic(meters), ({ model, lane }) => `${model}\n${lane}`);
    const events = seen.events.slice(-MAX_EVENTS).reverse();
    this.#events.show(events, ({ at, kind, key }) => `${at} ${kind} ${key}`);
  }
}

function tiles(seen, meters) {
  const seconds = meters.windowS;
  const perSecond = (n) => (seconds > 0 ? `${number(n / seconds)} /s` : "–");
  const waiting = seen.residents.reduce((sum, each) => sum + each.queued_items, 0);
  const answered = { outcome: "answered" };
  return [
    { name: "Requests", value: perSecond(meters.grown(ENDED)) },
    { name: "Latency p50", value: latency(meters.quantile(0.5, DURATION, answered)) },
    { name: "Latency p99", value: latency(meters.quantile(0.99, DURATION, answered)) },
    { name: "In work", value: number(meters.now("turbov2_requests_in_flight")) },
    { name: "Inputs waiting", value: number(waiting) },
    { name: "Failed", value: number(failed(meters)), isBad: failed(meters) > 0 },
    { name: "Refused", value: number(meters.grown(ENDED, { outcome: "refused" })) },
  ];
}

function traffic(meters) {
  return meters.combinations("turbov2_requests_accepted_total", "model", "lane").map(([model, lane]) => {
    const of = { model, lane };
    const answered = { ...of, outcome: "answered" };
    return {
      model,
      lane,
      cells: [
        number(meters.now("turbov2_requests_in_flight", of)),
        number(meters.now("turbov2_queue_items", { model })),
        meters.windowS > 0 ? number(meters.grown(ENDED, of) / meters.windowS) : "–",
        latency(meters.quantile(0.5, DURATION, answered)),
        latency(meters.quantile(0.99, DURATION, answered)),
        number(failed(meters, of)),
        number(meters.grown(ENDED, { ...of, outcome: "refused" })),
      ],
    };
  });
}

function failed(meters, of = {}) {
  return meters.grown(ENDED, { ...of, outcome: "failed" }) + meters.grown(ENDED, { ...of, outcome: "expired" });
}

function latency(seconds) {
  return seconds === null ? "–" : duration(seconds);
}

class Tile {
  #name = element("span", { class: "name" });
  #value = element("strong");
  node = element("li", {}, this.#name, this.#value);

  show({ name, value, isBad }) {
    setText(this.#name, name);
    setText(this.#value, value);
    setClass(this.node, isBad ? "is-bad" : "");
  }
}

// A model that can be used at once, with what holds it in memory.
class ModelRow {
  #name = element("strong");
  #state = element("span");
  #what = element("span", { class: "hint" });
  #trouble = element("span", { class: "trouble" });
  #button = element("button", { type: "button", onclick: () => this.#act() });
  node = element("li", {}, element("div", {}, this.#name, " ", this.#state, this.#what, this.#trouble), this.#button);
  #onChange;
  #model = "";
  #isLoaded = false;

  constructor(onChange) {
    this.#onChange = onChange;
  }

  show({ model, resident }) {
    this.#model = model.name;
    this.#isLoaded = resident !== undefined && resident.state !== "failed";
    const state = resident?.state ?? "installed";
    setText(this.#name, model.name);
    setText(this.#state, state);
    setClass(this.#state, `badge is-${state}`);
    setText(this.#what, [model.capability, model.backend, ...told(model, resident)].join(" · "));
    const wait = resident?.retry_in_s ? `; tried again in ${duration(resident.retry_in_s)}` : "";
    setText(this.#trouble, resident?.failure ? `${resident.failure}${wait}` : "");
    setText(this.#button, this.#isLoaded ? "Unload" : "Load");
    this.#button.setAttribute("aria-label", `${this.#button.textContent} ${model.name}`);
  }

  async #act() {
    const trouble = byId("load-trouble");
    trouble.hidden = true;
    this.#button.disabled = true;
    const json = this.#isLoaded ? { model: this.#model, keep_alive: 0 } : { model: this.#model };
    try {
      await request("api/embed", { method: "POST", json }); // without an input it loads or unloads any model
    } catch (error) {
      setText(trouble, `${this.#model}: ${error.message}`);
      trouble.hidden = false;
    }
    this.#button.disabled = false;
    this.#onChange();
  }
}

function told(model, resident) {
  if (!resident) return [`${bytes(model.size_bytes)} on disk`];
  const parts = [`used ${count(resident.n_uses, "time")}`];
  if (resident.leases > 0) parts.push(`${count(resident.leases, "request")} in work`);
  if (resident.queued_items > 0) parts.push(`${count(resident.queued_items, "input")} waiting`);
  if (resident.shared_by.length > 0) parts.push(`shared with ${resident.shared_by.join(", ")}`);
  return parts;
}

// A model of the catalogue that cannot be used, with why, and what to type.
class MissingRow {
  #name = element("strong");
  #state = element("span", { class: "badge" });
  #what = element("span", { class: "hint" });
  #before = element("span");
  #command = element("code");
  #after = element("span");
  node = element("li", {}, element("div", {}, this.#name, " ", this.#state, this.#what,
    element("span", { class: "fix" }, this.#before, this.#command, this.#after)));

  show({ model }) {
    setText(this.#name, model.name);
    setText(this.#state, model.availability === "absent" ? "not downloaded" : "cannot run");
    setText(this.#what, [model.capability, model.backend, bytes(model.size_bytes)].join(" · "));
    const parts = aroundCommand([model.reason, model.fix].filter(Boolean).join("; "));
    [this.#before, this.#command, this.#after].forEach((node, index) => setText(node, parts[index]));
  }
}

class TrafficRow {
  #cells = Array.from({ length: 8 }, () => element("td"));
  #name = element("th", { scope: "row" });
  node = element("tr", {}, this.#name, ...this.#cells);

  show({ model, lane, cells }) {
    setText(this.#name, model);
    [lane, ...cells].forEach((text, index) => setText(this.#cells[index], text));
  }
}

class EventRow {
  #time = element("time");
  #kind = element("span");
  #text = element("span");
  node = element("li", {}, this.#time, this.#kind, this.#text);

  show({ at, kind, model, reason }) {
    this.#time.setAttribute("datetime", at);
    setText(this.#time, clock(at));
    setText(this.#kind, kind.replace("_", " "));
    setClass(this.#kind, `badge is-${kind}`);
    setText(this.#text, `${model}: ${reason}`);
  }
}
