// Pages of a document as they come, each with the way it was read.

import { element, setText } from "./dom.js";
import { bytes, count, duration } from "./format.js";

const MAX_PAGES = 200; // more are counted, not shown: a book of thousands would make the page slow

export class PageList {
  #list = element("ol", { class: "pages" });
  #more = element("p", { class: "hint" });
  #n = 0;
  node = element("div", {}, this.#list, this.#more);

  add(page) {
    this.#n += 1;
    if (this.#n <= MAX_PAGES) this.#list.append(row(page));
    else setText(this.#more, `${count(this.#n - MAX_PAGES, "more page")}: turbov2 read FILE gives them all`);
  }
}

function row(page) {
  const way = page.route?.way ?? "failed";
  const judged = page.route?.classifier;
  const facts = [
    page.route?.reason,
    judged ? `${judged.class_name} (${judged.p_high.toFixed(2)})` : "",
    `${count(page.tables.length, "table")}`,
    bytes(new TextEncoder().encode(page.text).length),
    duration(page.times_ms.total / 1000),
  ];
  return element("li", {},
    element("details", {},
      element("summary", {}, `Page ${page.page} `, element("span", { class: `badge is-${way.replace("+", "-")}` }, way),
        element("span", { class: "hint" }, facts.filter(Boolean).join(" · "))),
      element("pre", { class: "answer", tabindex: "0" }, page.vision ?? (page.markdown || page.text))),
    element("p", { class: "trouble" }, page.error ? page.error.message : ""));
}
