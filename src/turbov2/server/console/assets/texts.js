// Tools for texts: how alike two are, and which of several answers a query best.

import { asJson } from "./api.js";
import { element } from "./dom.js";
import { form, labelled, ModelChoice, Work } from "./forms.js";

export class EmbedTool {
  #model = new ModelChoice("embed");
  #texts = ["A cat sleeps on the sofa.", "The kitten is napping on the couch."].map(textArea);
  #work = new Work();
  #result = element("div", { class: "result" });
  node = card("Embed: how alike are two texts?", form(
    () => this.#work.run((signal) => this.#embed(signal)),
    this.#model.node,
    labelled("First text", this.#texts[0]),
    labelled("Second text", this.#texts[1]),
    element("p", { class: "row" }, element("button", { type: "submit", class: "main" }, "Compare")),
    this.#work.node,
    this.#result,
  ));

  showModels(models) {
    this.#model.showModels(models);
  }

  async #embed(signal) {
    this.#result.replaceChildren();
    const json = { model: this.#model.name, input: this.#texts.map(({ value }) => value) };
    const { embeddings } = await asJson("api/embed", { method: "POST", json, signal });
    const alike = cosine(...embeddings);
    this.#result.replaceChildren(
      element("p", {}, "Cosine ", element("strong", { class: "figure" }, alike.toFixed(4))),
      element("meter", { min: -1, max: 1, value: alike, "aria-label": "Cosine, from -1 to 1" }),
      ...embeddings.map((vector, index) => element("p", { class: "hint vector" },
        `Text ${index + 1}: ${vector.length} values, ${vector.slice(0, 6).map((value) => value.toFixed(3)).join(", ")}, …`)),
    );
  }
}

// Returns the cosine of the angle between two vectors, 0 where one has no length.
function cosine(a, b) {
  const dot = (u, v) => u.reduce((sum, value, index) => sum + value * v[index], 0);
  const lengths = Math.sqrt(dot(a, a) * dot(b, b));
  return lengths === 0 ? 0 : dot(a, b) / lengths;
}

export class RerankTool {
  #model = new ModelChoice("rerank", "embed");
  #query = textArea("How do cats sleep?");
  #documents = textArea("The stock market fell today.\nCats sleep sixteen hours a day.\nA cat is an animal.", 5);
  #work = new Work();
  #result = element("ol", { class: "result ranked" });
  node = card("Rerank: which text answers best?", form(
    () => this.#work.run((signal) => this.#rerank(signal)),
    this.#model.node,
    labelled("Query", this.#query),
    labelled("Documents, one a line", this.#documents),
    element("p", { class: "row" }, element("button", { type: "submit", class: "main" }, "Rank")),
    this.#work.node,
    this.#result,
  ));

  showModels(models) {
    this.#model.showModels(models);
  }

  async #rerank(signal) {
    this.#result.replaceChildren();
    const documents = this.#documents.value.split("\n").filter((line) => line.trim());
    const json = { model: this.#model.name, query: this.#query.value, documents, normalize: true };
    const { results } = await asJson("api/rerank", { method: "POST", json, signal });
    this.#result.replaceChildren(...results.map(({ index, relevance_score: score }) => element("li", {},
      element("meter", { min: 0, max: 1, value: score, "aria-label": "Score" }),
      element("span", { class: "figure" }, score.toFixed(4)),
      element("span", {}, documents[index]))));
  }
}

function textArea(text, rows = 2) {
  return element("textarea", { rows, required: true }, text);
}

function card(title, content) {
  return element("section", { class: "card" }, element("h2", {}, title), content);
}
