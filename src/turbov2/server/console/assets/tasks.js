// What can be done with a file: each task has a title, a verb, its own fields, and `run`, which fills the result.

import { asJson, asLines } from "./api.js";
import { element } from "./dom.js";
import { count } from "./format.js";
import { checked, labelled, ModelChoice } from "./forms.js";
import { PageList } from "./pagelist.js";
import { pageView } from "./pageview.js";

export class ClassifyTask {
  title = "Classify the page";
  verb = "Classify";
  hasPage = true;
  model = new ModelChoice("classify");
  fields = element("div", {}, this.model.node);

  async run({ form: data, signal, result }) {
    data.set("model", this.model.name);
    const told = await asJson("api/classify", { method: "POST", form: data, signal });
    const high = told.probabilities.HIGH;
    result.replaceChildren(
      element("p", {}, element("strong", { class: "figure" }, told.class_name), ` ${told.routing_decision}`),
      element("meter", { min: 0, max: 1, value: high, "aria-label": "Probability of HIGH" }),
      element("p", { class: "hint" }, `Probability of HIGH ${high.toFixed(3)}, HIGH from ${told.threshold.toFixed(3)} on; `
        + `${told.image.format}, ${told.image.width} × ${told.image.height} px, ${count(told.image.pages, "page")}; `
        + `decoding ${told.decode_ms} ms, model ${told.inference_ms} ms`),
    );
  }
}

export class OcrTask {
  title = "Read its text, with boxes";
  verb = "Read";
  hasPage = true;
  model = new ModelChoice("ocr");
  #look = element("input", { type: "checkbox" });
  fields = element("div", {}, this.model.node, checked("Look at the picture of a PDF's page, also where the file has its text", this.#look));

  async run({ form: data, signal, result, picture }) {
    data.set("model", this.model.name);
    data.set("format", "json");
    data.set("use_text_layer", String(!this.#look.checked));
    const told = await asJson("api/ocr", { method: "POST", form: data, signal });
    for (const page of told.pages) result.append(pageView(page, picture));
  }
}

export class DocumentTask {
  title = "Read the whole document";
  verb = "Read the document";
  hasPage = false;
  #pages = element("input", { type: "text", placeholder: "all, or 1-3,7", autocomplete: "off" });
  fields;

  constructor(begin) {
    const button = element("button", { type: "button", onclick: begin }, "Do it as a job instead");
    this.fields = element("div", {}, labelled("Pages", this.#pages), element("p", {}, button));
  }

  describe(data) {
    data.set("pages", this.#pages.value.trim());
  }

  async run({ form: data, signal, result, say }) {
    this.describe(data);
    data.set("stream", "true");
    const pages = new PageList();
    result.replaceChildren(pages.node);
    for await (const line of asLines("api/documents", { method: "POST", form: data, signal })) {
      if (typeof line.error === "string") throw new Error(`after ${count(line.pages, "page")}: ${line.error}`);
      if (line.page === undefined) continue; // the last line only says that all went well
      pages.add(line);
      say(`${line.done} of ${count(line.total, "page")} …`);
    }
  }
}

export class AskTask {
  title = "Ask about it";
  verb = "Ask";
  hasPage = true;
  model = new ModelChoice("vision");
  #prompt = element("textarea", { rows: 2 }, "What is on this page?");
  fields = element("div", {}, this.model.node, labelled("Question", this.#prompt));

  async run({ form: data, signal, result, say }) {
    data.set("model", this.model.name);
    data.set("prompt", this.#prompt.value);
    data.set("stream", "true");
    const answer = element("pre", { class: "answer", "aria-live": "polite" });
    result.replaceChildren(answer);
    for await (const line of asLines("api/vision", { method: "POST", form: data, signal })) {
      if (line.error) throw new Error(line.error);
      answer.append(line.response);
      if (!line.done) say("It writes …");
      else result.append(element("p", { class: "hint" }, `${count(line.output_tokens, "token")} written, ${line.prompt_tokens} read`));
    }
  }
}
