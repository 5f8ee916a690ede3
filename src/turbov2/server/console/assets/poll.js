// Work that is repeated while somebody looks: not in a hidden tab, and ever more rarely while it fails.

const EVERY_MS = 2000;
const LONGEST_MS = 30000;

export class Poll {
  #work;
  #timer = 0;
  #isRunning = false;
  #isWanted = false; // once more, as soon as what runs has ended
  #failures = 0;
  #isPaused = false;

  // work() returns a promise. One that fails with `isFinal` is not repeated until `now` is called.
  constructor(work) {
    this.#work = work;
    document.addEventListener("visibilitychange", () => this.now());
  }

  get isPaused() {
    return this.#isPaused;
  }

  set isPaused(isPaused) {
    this.#isPaused = isPaused;
    this.now();
  }

  // Afterwards the work is under way, unless nobody would see it.
  async now() {
    clearTimeout(this.#timer);
    this.#isWanted = this.#isRunning;
    if (this.#isRunning || this.#isPaused || document.hidden) return;
    this.#isRunning = true;
    let waitMs = EVERY_MS;
    try {
      await this.#work();
      this.#failures = 0;
    } catch (error) {
      this.#failures += 1;
      const doubled = EVERY_MS * 2 ** Math.min(this.#failures, 10);
      waitMs = Math.max(Math.min(doubled, LONGEST_MS), (error.retryAfterS ?? 0) * 1000);
      if (error.status === 401) waitMs = Infinity; // until there is a key
    } finally {
      this.#isRunning = false;
    }
    if (this.#isWanted) waitMs = 0;
    if (waitMs < Infinity && !this.#isPaused && !document.hidden) {
      this.#timer = setTimeout(() => this.now(), waitMs);
    }
  }
}
