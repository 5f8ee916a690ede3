// Runs beside the page, on the browser's audio thread: samples of a microphone as int16, 50 ms at a time.

const FRAME_S = 0.05;

class Microphone extends AudioWorkletProcessor {
  #frame = new Int16Array(Math.round(sampleRate * FRAME_S));
  #n = 0;

  process([[samples]]) {
    for (const sample of samples ?? []) {
      this.#frame[this.#n] = Math.max(-1, Math.min(1, sample)) * 32767;
      this.#n += 1;
      if (this.#n === this.#frame.length) {
        this.port.postMessage(this.#frame.slice());
        this.#n = 0;
      }
    }
    return true;
  }
}

registerProcessor("microphone", Microphone);
