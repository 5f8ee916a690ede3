// The tool for a file with speech: its words as they are heard, as subtitles, or as a job.

import { asLines, request } from "./api.js";
import { element, setText } from "./dom.js";
import { bytes, duration } from "./format.js";
import { form, labelled, ModelChoice, Work } from "./forms.js";
import { SegmentList } from "./segments.js";

const WAYS = {
  text: "its words, as they are heard",
  srt: "subtitles as SRT",
  vtt: "subtitles as WebVTT",
  job: "a job, that lives on when this page is closed",
};

export class ListenTool {
  #file = null;
  #showJobs;
  #model = new ModelChoice("transcribe");
  #language = languageField();
  #way = element("select", {}, ...Object.entries(WAYS).map(([value, text]) => element("option", { value }, text)));
  #input = element("input", { type: "file", accept: "audio/*,video/*", onchange: () => this.#take(this.#input.files[0]) });
  #chosen = element("p", { class: "hint" }, "Sound, or a video of which the sound is heard. It is sent to this server only.");
  #player = element("audio", { controls: true, hidden: true });
  #work = new Work();
  #result = element("div", { class: "result" });
  node = element("section", { class: "card" }, element("h2", {}, "Speech: what is said in a file?"), form(
    () => this.#work.run((signal) => this.#listen(signal)),
    labelled("Sound file", this.#input),
    this.#chosen,
    this.#player,
    this.#model.node,
    labelled("Language", this.#language),
    labelled("What to give", this.#way),
    element("p", { class: "row" }, element("button", { type: "submit", class: "main" }, "Write it down")),
    this.#work.node,
    this.#result,
  ));

  constructor(showJobs) {
    this.#showJobs = showJobs;
  }

  showModels(models) {
    this.#model.showModels(models);
  }

  #take(file) {
    if (!file) return;
    this.#file = file;
    setText(this.#chosen, `${file.name}, ${bytes(file.size)}`);
    URL.revokeObjectURL(this.#player.src);
    this.#player.src = URL.createObjectURL(file);
    this.#player.hidden = false;
  }

  async #listen(signal) {
    if (this.#file === null) throw new Error("choose a file first");
    this.#result.replaceChildren();
    const way = this.#way.value;
    const data = new FormData();
    data.set("file", this.#file, this.#file.name);
    data.set("model", this.#model.name);
    data.set("language", this.#language.value);
    if (way === "text") return this.#tell(data, signal);
    data.set(way === "job" ? "job" : "format", way === "job" ? "true" : way);
    const response = await request("api/transcribe", { method: "POST", form: data, signal });
    if (way === "job") this.#showJobs();
    else this.#result.replaceChildren(download(await response.blob(), `${this.#file.name}.${way}`));
  }

  async #tell(data, signal) {
    data.set("stream", "true");
    const list = new SegmentList();
    this.#result.replaceChildren(list.node);
    for await (const line of asLines("api/transcribe", { method: "POST", form: data, signal })) {
      if (line.event === "error") throw new Error(line.error);
      if (line.event === "segment") list.add(line.segment);
      if (line.event === "progress") this.#work.say(progress(line));
      if (line.event === "done") this.#result.append(element("p", { class: "hint" }, summary(line)));
    }
  }
}

export function languageField() {
  return element("input", { type: "text", placeholder: "found out by itself, or such as en", autocomplete: "off", spellcheck: "false" });
}

// Returns a link that saves what was fetched; a link to the route itself could not bring the key.
export function download(blob, name) {
  return element("a", { href: URL.createObjectURL(blob), download: name }, `Save ${name}, ${bytes(blob.size)}`);
}

function progress({ done_s: doneS, duration_s: durationS }) {
  return durationS === null ? `${duration(doneS)} heard …` : `${duration(doneS)} of ${duration(durationS)} heard …`;
}

function summary({ language, duration: lengthS, timings }) {
  return `${language}, ${duration(lengthS)} of sound; the model took ${duration(timings.inference_ms / 1000)}`;
}
