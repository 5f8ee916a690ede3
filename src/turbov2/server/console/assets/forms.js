// What the tools are made of: labelled fields, a choice of model, and work that can be stopped.

import { element, setText } from "./dom.js";
import { duration } from "./format.js";

let nextId = 0;

// Returns a label and its field, one below the other.
export function labelled(text, field) {
  nextId += 1;
  field.id = `field-${nextId}`;
  return element("div", { class: "field" }, element("label", { for: field.id }, text), field);
}

// Returns a checkbox with its label behind it.
export function checked(text, box) {
  return element("label", { class: "check" }, box, ` ${text}`);
}

// A choice among the models with one of these capabilities; those that cannot run now are told, not offered.
export class ModelChoice {
  #capabilities;
  #select = element("select");
  #hint = element("p", { class: "hint", hidden: true });
  #shown = "";
  node;

  constructor(...capabilities) {
    this.#capabilities = capabilities;
    this.node = element("div", {}, labelled("Model", this.#select), this.#hint);
  }

  // The name that was chosen. Throws when there is none: the server would then take its own, and perhaps fetch it.
  get name() {
    if (!this.#select.value) throw new Error("no model that can do this is here");
    return this.#select.value;
  }

  showModels(models) {
    const fitting = models.filter(({ capability }) => this.#capabilities.includes(capability));
    fitting.sort((a, b) => rank(a, this.#capabilities) - rank(b, this.#capabilities));
    const shown = JSON.stringify(fitting.map(({ name, availability }) => [name, availability]));
    if (shown === this.#shown) return; // a list that is open stays open
    this.#shown = shown;
    const chosen = this.#select.value;
    this.#select.replaceChildren(...fitting.map(option));
    if (fitting.some((model) => model.name === chosen && isHere(model))) this.#select.value = chosen;
    const isNone = !fitting.some(isHere);
    if (isNone) this.#select.prepend(element("option", { value: "", selected: true }, "none is here"));
    this.#hint.hidden = !isNone;
    setText(this.#hint, isNone ? why(fitting[0]) : "");
  }
}

function isHere({ availability }) {
  return availability === "ready" || availability === "installed";
}

function rank(model, capabilities) {
  const standing = ["ready", "installed", "absent", "unavailable"].indexOf(model.availability);
  return capabilities.indexOf(model.capability) * 10 + standing + (isHere(model) ? 0 : 100);
}

function option(model) {
  const state = { ready: "", installed: "", absent: " (not downloaded)", unavailable: " (cannot run here)" };
  return element("option", { value: model.name, disabled: !isHere(model) }, model.name + state[model.availability]);
}

function why(model) {
  if (model === undefined) return "The catalogue has no such model.";
  return `${model.name}: ${[model.reason, model.fix].filter(Boolean).join("; ")}`;
}

// One piece of work at a time, its progress and its end in a line, and a button that stops it.
export class Work {
  #line = element("span", { role: "status" });
  #trouble = element("span", { class: "trouble", role: "alert" });
  #stop = element("button", { type: "button", hidden: true, onclick: () => this.#abort?.abort() }, "Stop");
  #abort = null;
  node = element("p", { class: "row" }, this.#stop, this.#line, this.#trouble);

  say(text) {
    setText(this.#line, text);
  }

  // Returns what `act(signal)` returns; undefined when it failed or was stopped, which the line then tells.
  async run(act) {
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    const startedMs = performance.now();
    setText(this.#trouble, "");
    this.say("At work …");
    this.#stop.hidden = false;
    try {
      const result = await act(abort.signal);
      if (this.#abort === abort) this.say(`Done in ${duration((performance.now() - startedMs) / 1000)}.`);
      return result;
    } catch (error) {
      if (this.#abort === abort) this.#tell(error);
      return undefined;
    } finally {
      if (this.#abort === abort) {
        this.#abort = null;
        this.#stop.hidden = true;
      }
    }
  }

  #tell(error) {
    const isStopped = error.name === "AbortError";
    this.say(isStopped ? "Stopped." : "");
    if (!isStopped) setText(this.#trouble, error.message);
  }
}

// Returns a form whose submit runs `act` instead of leaving the page.
export function form(act, ...children) {
  const submitted = (event) => {
    event.preventDefault();
    act();
  };
  return element("form", { onsubmit: submitted }, ...children);
}
