// Memory pools as bars: the budget, and each model's part of it.

import { element, Rows, setClass, setText } from "./dom.js";
import { bytes, duration } from "./format.js";

const N_COLOURS = 8;

export class PoolRow {
  #title = element("h3");
  #bar = element("div", { class: "bar", role: "img" });
  #numbers = element("p", { class: "hint" });
  #legend = element("ul", { class: "legend" });
  #segments = new Rows(this.#bar, () => new Segment());
  #entries = new Rows(this.#legend, () => new Entry());
  node = element("div", { class: "pool" }, this.#title, this.#bar, this.#numbers, this.#legend);

  show({ pool, residents }) {
    const parts = residents
      .filter((resident) => pool.name in resident.bytes)
      .map((resident) => ({ name: resident.model, bytes: resident.bytes[pool.name], resident }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)) // so that colours stay where they are
      .map((part, index) => ({ ...part, colour: `colour-${index % N_COLOURS}` }));
    const rest = pool.committed_bytes - parts.reduce((sum, part) => sum + part.bytes, 0);
    if (rest > 0) parts.push({ name: "reserved or not yet back", bytes: rest, colour: "colour-rest" });
    const used = `${bytes(pool.committed_bytes)} of ${bytes(pool.budget_bytes)} for models`;
    setText(this.#title, pool.name === "host" ? "Host" : pool.name);
    setText(this.#numbers, `${used}; the machine has ${bytes(pool.available_bytes)} free, `
      + `${bytes(pool.head_room_bytes)} of it are kept for what running them takes`);
    this.#bar.setAttribute("aria-label", used);
    this.#segments.show(parts.map((part) => ({ ...part, share: part.bytes / pool.budget_bytes })), ({ name }) => name);
    this.#entries.show(parts, ({ name }) => name);
  }
}

class Segment {
  node = element("div");

  show({ colour, share }) {
    setClass(this.node, colour);
    this.node.style.width = `${Math.min(share, 1) * 100}%`;
  }
}

class Entry {
  #swatch = element("i");
  #text = element("span");
  node = element("li", {}, this.#swatch, this.#text);

  show({ name, bytes: size, colour, resident }) {
    setClass(this.#swatch, colour);
    setText(this.#text, [name, bytes(size), ...staying(resident)].join(" · "));
  }
}

// How long a model stays; nothing of what is no model.
function staying(resident) {
  if (!resident) return [];
  if (resident.is_pinned) return ["pinned"];
  if (resident.state !== "ready") return [resident.state];
  if (resident.expires_at === null) return ["stays"];
  const left = (Date.parse(resident.expires_at) - Date.now()) / 1000;
  return [left > 0 ? `goes in ${duration(left)}` : "goes now"];
}
