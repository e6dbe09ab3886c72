// Owns what is known of the assistant's model: wakes it when somebody comes, and looks again only while it wakes.

import { Countdown } from "./countdown.js";
import { told } from "./words.js";

const LOOK_MS = 1000;

export class Light {
  /** `changed()` is called whenever the words may read differently, `learned(about)` when the service has told of itself. */
  constructor(service, words, { changed, learned }) {
    Object.assign(this, { service, words, changed, learned, state: "unknown", isWatched: false, count: new Countdown(), looks: 0, ticks: 0 });
    document.addEventListener("visibilitychange", () => !document.hidden && this.state === "waking" && this.look());
  }

  /** Somebody is here: wake the model, so that it is there when the question is. */
  async open() {
    this.isWatched = true;
    const about = this.learn();
    const woken = await this.service.wake();
    // What it says of itself may have been true before it was woken.
    this.take(woken?.state ? woken : await about);
  }

  /** Nobody looks any more. */
  close() {
    this.isWatched = false;
    clearTimeout(this.looks);
    clearInterval(this.ticks);
  }

  /** The model is `state`, with `left` seconds to go where that is known. */
  hear(state, left = null) {
    this.state = state;
    if (state !== "waking") this.count.stop();
    else if (left !== null) this.count.expect(left);
    clearInterval(this.ticks);
    clearTimeout(this.looks);
    if (state === "waking" && this.isWatched) {
      this.ticks = setInterval(this.changed, 250);
      this.looks = setTimeout(() => this.look(), LOOK_MS);
    }
    this.changed();
  }

  async look() {
    this.take(await this.learn());
  }

  async learn() {
    const about = await this.service.about();
    if (about) this.learned(about);
    return about;
  }

  /** What there is to know of its state; nothing, when it does not answer. */
  take(news) {
    if (news?.state) this.hear(news.state, news.eta_s ?? null);
    else if (news === null && this.state !== "awake") this.hear(this.service.pass.isWanted ? "locked" : "away");
  }

  get progress() {
    return this.state === "awake" || this.state === "provider" ? 1 : this.count.progress;
  }

  /** The state in words. */
  get said() {
    const { left } = this.count;
    if (this.state !== "waking" || left === null) return this.words[this.state] ?? "";
    return left > 0 ? told(this.words.wakingIn, left) : this.words.wakingSoon;
  }
}
