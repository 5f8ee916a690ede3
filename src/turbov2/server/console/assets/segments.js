// What was said, line by line with its time; the last line may still be revised.

import { element, setText } from "./dom.js";
import { count } from "./format.js";

const NEAR_PX = 40;
const MAX_LINES = 1000; // more are counted, not shown: a day of talk would make the page slow

export class SegmentList {
  #list = element("ol", { class: "transcript" });
  #more = element("p", { class: "hint" });
  #n = 0;
  #running = null;
  node = element("div", {}, this.#list, this.#more);

  // doubts: signs that the model made it up.
  add({ start, text, doubts = [] }) {
    this.#n += 1;
    if (this.#n > MAX_LINES) setText(this.#more, `${count(this.#n - MAX_LINES, "more line")}: the files have them all`);
    else this.#show(line(start, text, doubts), this.#running);
  }

  // Shows what seems to be said now; an empty text takes it away.
  revise(start, text) {
    if (text === "") {
      this.#running?.remove();
      this.#running = null;
      return;
    }
    if (this.#running === null) {
      this.#running = line(start, "", []);
      this.#running.className = "is-partial";
      this.#show(this.#running, null);
    }
    setText(this.#running.lastChild, text);
  }

  // Who reads along at the end stays there; who has scrolled back is left alone.
  #show(made, next) {
    const list = this.#list;
    const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_PX;
    list.insertBefore(made, next);
    if (isAtEnd) list.scrollTop = list.scrollHeight;
  }
}

// Results of a transcript's job: what each window gave.
export class TranscriptView extends SegmentList {
  add({ segments }) {
    for (const segment of segments) super.add(segment);
  }
}

function line(start, text, doubts) {
  const marks = doubts.map((doubt) => element("span", { class: "badge", title: "A sign that nobody said this" }, doubt));
  return element("li", {}, element("time", { class: "figure" }, timeOf(start)), ...marks, element("span", {}, text));
}

function timeOf(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - 60 * minutes).toFixed(1).padStart(4, "0")}`;
}
