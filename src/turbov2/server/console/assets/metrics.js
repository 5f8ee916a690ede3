// What /metrics says, and what changed within the last minute.

export const WINDOW_MS = 60000;
const WANTED = new Set([
  "turbov2_requests_accepted_total",
  "turbov2_requests_ended_total",
  "turbov2_requests_in_flight",
  "turbov2_request_duration_seconds_bucket",
  "turbov2_queue_items",
]);
const LINE = /^([a-z0-9_]+)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-z_]+)="((?:[^"\\]|\\.)*)"/g;
const ESCAPED = /\\(.)/g;

// Returns the samples of Prometheus' text format that this page shows: {name, labels, value, key}.
export function parse(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const found = LINE.exec(line);
    if (found === null || !WANTED.has(found[1])) continue;
    const [, name, labelText = "", value] = found;
    const labels = {};
    for (const [, label, escaped] of labelText.matchAll(LABEL)) labels[label] = unescape(escaped);
    samples.push({ name, labels, value: Number(value), key: `${name}{${labelText}}` });
  }
  return samples;
}

function unescape(text) {
  return text.replace(ESCAPED, (_, letter) => (letter === "n" ? "\n" : letter));
}

// The newest samples, and those of a minute ago or as far back as this page has looked.
export class Meters {
  #looks = []; // {atMs, values by key}, oldest first
  samples = [];

  add(samples, atMs) {
    const values = new Map(samples.map(({ key, value }) => [key, value]));
    const last = this.#looks.at(-1);
    if (last && (atMs - last.atMs > WINDOW_MS || hasRestarted(last.values, values))) this.#looks = [];
    this.#looks.push({ atMs, values });
    while (this.#looks.length > 2 && this.#looks[1].atMs <= atMs - WINDOW_MS) this.#looks.shift();
    this.samples = samples;
  }

  // Seconds that `grown` and `quantile` speak of; 0 after a first look.
  get windowS() {
    return (this.#looks.at(-1).atMs - this.#looks[0].atMs) / 1000;
  }

  // The sum of what these counts grew by.
  grown(name, labels = {}) {
    let sum = 0;
    for (const { by } of this.#growth(name, labels)) sum += by;
    return sum;
  }

  // The sum of these samples now.
  now(name, labels = {}) {
    return this.#matching(name, labels).reduce((sum, sample) => sum + sample.value, 0);
  }

  // The value below which a share `q` of the observations lies, straight lines between bounds; null without any.
  quantile(q, name, labels = {}) {
    const upTo = new Map(); // cumulated counts by upper bound
    for (const { sample, by } of this.#growth(`${name}_bucket`, labels)) {
      const bound = sample.labels.le === "+Inf" ? Infinity : Number(sample.labels.le);
      upTo.set(bound, (upTo.get(bound) ?? 0) + by);
    }
    const bounds = [...upTo.keys()].sort((a, b) => a - b);
    const wanted = q * (upTo.get(Infinity) ?? 0);
    if (wanted === 0) return null;
    let [below, belowCount] = [0, 0];
    for (const bound of bounds) {
      const n = upTo.get(bound);
      if (n >= wanted) {
        return bound === Infinity ? below : below + ((bound - below) * (wanted - belowCount)) / (n - belowCount);
      }
      [below, belowCount] = [bound, n];
    }
    return below;
  }

  // Every combination of the values of these labels, in order of appearance.
  combinations(name, ...labelNames) {
    const found = new Map();
    for (const { labels } of this.#matching(name, {})) {
      const values = labelNames.map((label) => labels[label]);
      found.set(values.join("\n"), values);
    }
    return [...found.values()];
  }

  #matching(name, labels) {
    const wanted = Object.entries(labels);
    return this.samples.filter((each) => each.name === name && wanted.every(([label, value]) => each.labels[label] === value));
  }

  #growth(name, labels) {
    const before = this.#looks[0].values;
    if (this.#looks.length < 2) return [];
    return this.#matching(name, labels).map((sample) => ({ sample, by: sample.value - (before.get(sample.key) ?? 0) }));
  }
}

// Counts of one server only grow.
function hasRestarted(before, now) {
  return [...before].some(([key, value]) => /^[a-z0-9_]+_(total|bucket)\{/.test(key) && !(now.get(key) >= value));
}
