// The tool for an image or a PDF: one file, and the choice of what is done with it.

import { request } from "./api.js";
import { element, setText } from "./dom.js";
import { bytes } from "./format.js";
import { form, labelled, Work } from "./forms.js";
import { AskTask, ClassifyTask, DocumentTask, OcrTask } from "./tasks.js";

export class FileTool {
  #file = null;
  #picture = ""; // the address of an image that the browser can show; a PDF has none
  #showJobs;
  #input = element("input", { type: "file", accept: "image/*,application/pdf,.tif,.tiff", onchange: () => this.#take(this.#input.files[0]) });
  #chosen = element("p", { class: "hint" }, "An image or a PDF. It is sent to this server only.");
  #preview = element("img", { class: "preview", alt: "", hidden: true });
  #drop = element("div", {
    class: "drop",
    ondragover: () => this.#drop.classList.add("is-over"),
    ondragleave: () => this.#drop.classList.remove("is-over"),
    ondrop: (event) => this.#dropped(event),
  }, labelled("File: choose one, or drop it here", this.#input), this.#chosen, this.#preview);
  #page = element("input", { type: "number", min: 1, max: 100000, value: 1, required: true });
  #work = new Work();
  #result = element("div", { class: "result" });
  #tasks = [
    new ClassifyTask(),
    new OcrTask(),
    new DocumentTask(() => this.#begin()),
    new AskTask(),
  ];
  #task = this.#tasks[0];
  #pageField = labelled("Page", this.#page);
  #run = element("button", { type: "submit", class: "main" });
  node = element("section", { class: "card wide" }, element("h2", {}, "A page: what is on it?"), form(
    () => this.#work.run((signal) => this.#try(signal)),
    this.#drop,
    element("fieldset", { class: "choices" }, element("legend", {}, "What to do"), ...this.#tasks.map((task) => this.#choice(task))),
    this.#pageField,
    ...this.#tasks.map(({ fields }) => fields),
    element("p", { class: "row" }, this.#run),
    this.#work.node,
    this.#result,
  ));

  constructor(showJobs) {
    this.#showJobs = showJobs;
    this.#pick(this.#task);
  }

  showModels(models) {
    for (const task of this.#tasks) task.model?.showModels(models);
  }

  #choice(task) {
    const button = element("input", { type: "radio", name: "task", onchange: () => this.#pick(task), checked: task === this.#task });
    return element("label", { class: "check" }, button, ` ${task.title}`);
  }

  #pick(task) {
    this.#task = task;
    for (const each of this.#tasks) each.fields.hidden = each !== task;
    this.#pageField.hidden = !task.hasPage;
    this.#page.disabled = !task.hasPage; // else a wrong number in a hidden field keeps the form from being sent
    setText(this.#run, task.verb);
  }

  #dropped(event) {
    event.preventDefault();
    this.#drop.classList.remove("is-over");
    if (event.dataTransfer.files.length === 0) return;
    this.#input.files = event.dataTransfer.files; // so that the field shows its name
    this.#take(this.#input.files[0]);
  }

  #take(file) {
    if (!file) return;
    this.#file = file;
    URL.revokeObjectURL(this.#picture);
    this.#picture = "";
    this.#preview.hidden = true;
    setText(this.#chosen, `${file.name}, ${bytes(file.size)}`);
    if (!file.type.startsWith("image/")) return;
    const address = URL.createObjectURL(file);
    this.#picture = address;
    this.#preview.onload = () => { this.#preview.hidden = this.#picture !== address; };
    this.#preview.onerror = () => { // TIFF, in most browsers
      if (this.#picture === address) this.#picture = "";
      URL.revokeObjectURL(address);
    };
    this.#preview.src = address;
  }

  #form() {
    if (this.#file === null) throw new Error("choose a file first");
    const data = new FormData();
    data.set("file", this.#file, this.#file.name);
    return data;
  }

  async #try(signal) {
    const data = this.#form();
    if (this.#task.hasPage) data.set("page", this.#page.value);
    this.#result.replaceChildren();
    await this.#task.run({ form: data, signal, result: this.#result, picture: this.#picture, say: (text) => this.#work.say(text) });
  }

  async #begin() {
    await this.#work.run(async (signal) => {
      const data = this.#form();
      this.#task.describe(data);
      data.set("job", "true");
      await request("api/documents", { method: "POST", form: data, signal });
      this.#showJobs();
    });
  }
}
