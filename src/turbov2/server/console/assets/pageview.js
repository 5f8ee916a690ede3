// A page as it was read: its lines as boxes over the picture, or, of a PDF, its words where they stand.

import { drawn, element } from "./dom.js";
import { count } from "./format.js";

const UNSURE = 0.8; // lines below this confidence are marked

// Returns the page and its text. picture: the address of its image, "" where the browser cannot show it.
export function pageView(page, picture) {
  const turned = page.turned_degrees ? `, turned by ${page.turned_degrees}° to be read` : "";
  const source = page.source === "ocr" ? "looked at" : "the file's own text";
  const title = `Page ${page.page}: ${source}, ${count(page.lines.length, "line")}${turned}`;
  return element("article", { class: "page" },
    element("h3", {}, title),
    element("div", { class: "sides" }, sheet(page, picture), element("pre", { class: "answer", tabindex: "0" }, page.text)));
}

function sheet(page, picture) {
  const overlay = drawn("svg", { viewBox: `0 0 ${page.width} ${page.height}`, "aria-hidden": "true" });
  for (const line of page.lines) {
    if (!picture) overlay.append(...words(line));
    overlay.append(outline(line));
  }
  if (!picture) return element("div", { class: "sheet is-drawn" }, overlay);
  return element("div", { class: "sheet" }, element("img", { src: picture, alt: "The page" }), overlay);
}

function outline(line) {
  const corners = [0, 2, 4, 6].map((at) => `${line.quad[at]},${line.quad[at + 1]}`).join(" ");
  const isUnsure = line.confidence < UNSURE;
  return drawn("polygon", { points: corners, class: isUnsure ? "is-unsure" : "" },
    drawn("title", {}, `${line.text} (${(line.confidence * 100).toFixed(0)} %)`));
}

// All words of a line in one size: their boxes end where their ink ends, so "ox" has a lower one than "quick".
function words(line) {
  const lower = Math.max(...line.words.map(({ box }) => box[3]));
  const height = lower - Math.min(...line.words.map(({ box }) => box[1]));
  return line.words.map(({ text, box: [left, , right] }) => drawn("text", {
    x: left, y: lower - height * 0.22, "font-size": height, textLength: right - left, lengthAdjust: "spacingAndGlyphs",
  }, text));
}
