// The tool for a microphone: what is said is written while it is said.

import { openSocket } from "./api.js";
import { element, setText } from "./dom.js";
import { form, labelled, ModelChoice } from "./forms.js";
import { languageField } from "./listen.js";
import { SegmentList } from "./segments.js";

const LOUDEST = 32768;
const CLOSED_WELL = 1000;

export class LiveTool {
  #model = new ModelChoice("transcribe");
  #language = languageField();
  #button = element("button", { type: "submit", class: "main" }, "Start");
  #line = element("span", { role: "status" });
  #trouble = element("p", { class: "trouble", role: "alert" });
  #level = element("meter", { min: 0, max: 1, low: 0.01, value: 0, "aria-label": "Loudness" });
  #result = element("div", { class: "result", "aria-live": "polite" });
  #session = null;
  node = element("section", { class: "card" }, element("h2", {}, "Live: what is being said?"), form(
    () => this.#toggle(),
    this.#model.node,
    labelled("Language", this.#language),
    element("p", { class: "row" }, this.#button, this.#line),
    this.#level,
    this.#trouble,
    this.#result,
  ));

  showModels(models) {
    this.#model.showModels(models);
  }

  async #toggle() {
    if (this.#session !== null) {
      this.#button.disabled = true;
      this.#session.end();
      return;
    }
    setText(this.#trouble, "");
    const list = new SegmentList();
    this.#result.replaceChildren(list.node);
    try {
      this.#session = new Session(this.#model.name, this.#language.value, {
        tell: (event) => this.#tell(event, list),
        showLevel: (level) => { this.#level.value = level; },
      });
      setText(this.#button, "Stop");
      setText(this.#line, "Opening the microphone …");
      await this.#session.run();
      setText(this.#line, "Ended.");
    } catch (error) {
      setText(this.#line, "");
      setText(this.#trouble, error.message);
    } finally {
      this.#session = null;
      this.#level.value = 0;
      list.revise(0, "");
      this.#button.disabled = false;
      setText(this.#button, "Start");
    }
  }

  #tell(event, list) {
    const said = {
      loading: "The model is loaded …",
      started: "Speak.",
      speech_started: "You speak.",
      speech_stopped: "Speak.",
    }[event.event];
    if (said) setText(this.#line, said);
    if (event.event === "partial") list.revise(event.start, event.text);
    if (event.event === "failed") setText(this.#trouble, `a sentence was lost: ${event.error}`);
    if (event.event !== "final") return;
    list.revise(0, "");
    for (const segment of event.segments) list.add(segment);
  }
}

// One microphone, one socket. `run` lasts until the last text has come; `end` asks for that.
class Session {
  #model;
  #language;
  #shown;
  #socket = null;
  #context = null;
  #stream = null;
  #hasEnded = false;

  constructor(model, language, shown) {
    this.#model = model;
    this.#language = language;
    this.#shown = shown;
  }

  end() {
    this.#hasEnded = true;
    this.#silence();
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send('{"type":"end"}');
    else this.#socket?.close();
  }

  async run() {
    try {
      const microphone = await this.#microphone();
      const query = new URLSearchParams({ model: this.#model, language: this.#language, sample_rate: this.#context.sampleRate });
      this.#socket = await openSocket(`api/transcribe/live?${query}`);
      if (this.#hasEnded) return;
      this.#shown.tell({ event: "loading" });
      microphone.port.onmessage = ({ data }) => this.#send(data);
      await this.#heard(this.#socket);
    } finally {
      this.#silence();
      this.#socket?.close();
    }
  }

  async #microphone() {
    if (!navigator.mediaDevices) throw new Error("browsers give a microphone to pages of https and of localhost only");
    // Sound that was cleaned for people to hear is harder for a model to read.
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false };
    this.#stream = await navigator.mediaDevices.getUserMedia({ audio });
    this.#context = new AudioContext();
    await this.#context.audioWorklet.addModule(new URL("microphone.js", import.meta.url));
    const node = new AudioWorkletNode(this.#context, "microphone", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    this.#context.createMediaStreamSource(this.#stream).connect(node);
    return node;
  }

  #send(samples) {
    if (this.#hasEnded || this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.send(samples.buffer);
    const loudest = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    this.#shown.showLevel(Math.sqrt(loudest / LOUDEST)); // as the ear has it, roughly
  }

  // Returns once the socket has closed well.
  #heard(socket) {
    return new Promise((resolve, reject) => {
      let trouble = "the connection broke";
      socket.onmessage = ({ data }) => {
        const event = JSON.parse(data);
        if (event.event === "error") trouble = event.error;
        else this.#shown.tell(event);
      };
      socket.onclose = ({ code }) => (code === CLOSED_WELL ? resolve() : reject(new Error(trouble)));
    });
  }

  #silence() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    if (this.#context !== null && this.#context.state !== "closed") this.#context.close();
  }
}
