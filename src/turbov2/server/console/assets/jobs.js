// Jobs: how far they are, what they gave so far, and their end.

import { asJson, request } from "./api.js";
import { element, Rows, setClass, setText } from "./dom.js";
import { clock, count } from "./format.js";
import { download } from "./listen.js";
import { PageList } from "./pagelist.js";
import { TranscriptView } from "./segments.js";

const MAX_JOBS = 50;
const RESULTS_AT_ONCE = 50;

// How the results of each kind of job are shown; `add(result)` and `node`.
const VIEWS = { document: PageList, transcript: TranscriptView };
// The files that each kind gives, of all it has done so far.
const FILES = { transcript: ["text", "srt", "vtt"] };

export class Jobs {
  #none = element("p", { class: "hint" }, "There are none. “Try it” can begin one with a document or with speech.");
  #trouble = element("p", { class: "trouble", role: "alert" });
  #list = element("ul", { class: "jobs" });
  #rows = new Rows(this.#list, () => new JobRow((message) => setText(this.#trouble, message)));

  constructor(parent) {
    parent.append(element("section", { class: "card" }, element("h2", {}, "Jobs"), this.#trouble, this.#none, this.#list));
  }

  async look(signal) {
    try {
      const { jobs } = await asJson(`api/jobs?limit=${MAX_JOBS}`, { signal });
      this.#none.hidden = jobs.length > 0;
      this.#rows.show(jobs, ({ id }) => id);
    } catch (error) {
      if (error.status !== 501) throw error;
      setText(this.#trouble, error.message); // another server has this one's folder, and its jobs
    }
  }
}

class JobRow {
  #state = element("span");
  #title = element("span");
  #bar = element("progress");
  #trouble = element("p", { class: "trouble" });
  #remove = element("button", { type: "button", onclick: () => this.#end() });
  #show = element("button", { type: "button", onclick: () => this.#showMore() });
  #files = element("span", { class: "row" });
  #results = element("div", { class: "result" });
  #view = null;
  #after = 0;
  #id = "";
  #kind = "";
  #tell;
  node = element("li", {}, element("p", {}, this.#state, " ", this.#title), this.#bar, this.#trouble,
    element("p", { class: "row" }, this.#show, this.#files, this.#remove), this.#results);

  constructor(tell) {
    this.#tell = tell;
  }

  show(job) {
    this.#id = job.id;
    this.#kind = job.kind;
    setText(this.#state, job.state);
    setClass(this.#state, `badge is-${job.state}`);
    const units = job.total === null ? count(job.done, "unit") : `${job.done} of ${count(job.total, "unit")}`;
    setText(this.#title, `${job.kind} ${job.id.slice(0, 8)}, begun ${clock(job.created_at)}, ${units}`);
    this.#showProgress(job);
    setText(this.#trouble, job.error ? (job.error.message ?? job.error) : "");
    const isEnded = !["queued", "running"].includes(job.state);
    setText(this.#remove, isEnded ? "Remove" : "Cancel and remove");
    setText(this.#show, this.#view === null ? "Show what it gave" : "Show more");
    for (const button of [this.#show, this.#remove]) {
      button.setAttribute("aria-label", `${button.textContent}: ${job.kind} ${job.id.slice(0, 8)}`);
    }
    this.#show.hidden = job.done <= this.#after;
    if (job.done > 0 && this.#files.childElementCount === 0) this.#files.append(...this.#saves(job));
  }

  #saves({ kind, id }) {
    return (FILES[kind] ?? []).map((format) => {
      const save = element("button", { type: "button", onclick: () => this.#save(format) }, `Make ${format}`);
      save.setAttribute("aria-label", `Make ${format}: ${kind} ${id.slice(0, 8)}`);
      return save;
    });
  }

  async #save(format) {
    try {
      const response = await request(`api/jobs/${this.#id}/transcript?format=${format}`);
      const name = `${this.#id.slice(0, 8)}.${format === "text" ? "txt" : format}`;
      this.#results.prepend(element("p", {}, download(await response.blob(), name)));
    } catch (error) {
      this.#tell(error.message);
    }
  }

  #showProgress({ done, total, state }) {
    this.#bar.setAttribute("aria-label", `Progress: ${state}`);
    this.#bar.hidden = state === "done";
    this.#bar.max = total ?? 1;
    if (total !== null) this.#bar.value = done;
    else if (state !== "running") this.#bar.value = 0;
  }

  async #showMore() {
    try {
      const found = await asJson(`api/jobs/${this.#id}?after=${this.#after}&limit=${RESULTS_AT_ONCE}`);
      if (this.#view === null) {
        this.#view = new (VIEWS[this.#kind] ?? JsonList)();
        this.#results.append(this.#view.node);
      }
      for (const result of found.results) this.#view.add(result);
      this.#after += found.results.length;
      this.show(found);
    } catch (error) {
      this.#tell(error.message);
    }
  }

  async #end() {
    this.#remove.disabled = true;
    try {
      await request(`api/jobs/${this.#id}`, { method: "DELETE" });
      this.node.hidden = true; // the next look drops it
    } catch (error) {
      this.#remove.disabled = false;
      this.#tell(error.message);
    }
  }
}

// Results of a kind that has no view of its own.
class JsonList {
  node = element("div");

  add(result) {
    this.node.append(element("pre", { class: "answer", tabindex: "0" }, JSON.stringify(result, null, 1)));
  }
}
