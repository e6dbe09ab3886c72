// Owns what is known of the engine: asks /status gently, wakes it once, counts an estimate down. Knows no messages.

import { Countdown } from "./countdown.js";
import { key } from "./key.js";
import { get, post } from "./stream.js";

const WAKING_MS = 1000;
const IDLE_MS = 10000;

export class Lamp {
  /** `changed(lamp)` is called whenever the words may read differently. */
  constructor(changed) {
    Object.assign(this, { changed, state: "unknown", model: "", service: "", error: "", eta: null, count: new Countdown(), facts: {}, dumb: false });
    document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(this.poll) : this.look()));
  }

  /** Show this model from now on. */
  choose(model, dumb = false) {
    Object.assign(this, { model, dumb });
    this.count.stop();
    return this.look();
  }

  /** Start the engine, as soon as somebody can see the page. */
  async wake() {
    if (document.hidden) {
      document.addEventListener("visibilitychange", () => this.wake(), { once: true });
      return;
    }
    if (this.state === "unknown") await this.look();
    if (["unknown", "others"].includes(this.state) || key.isWanted) return; // somebody else's model, which nobody here can wake
    const response = await post(`models/${encodeURIComponent(this.model)}/wake`, {}).catch(() => null);
    const answer = response?.ok ? await response.json().catch(() => null) : null;
    if (!answer) return;
    this.set(answer.state, answer.eta_s);
    this.again();
  }

  /** A waiting answer heard that the engine is `state`, with `left` seconds to go. */
  hear(state, left) {
    this.set(state, left);
    this.again();
  }

  async look() {
    if (document.hidden) return;
    const status = key.isWanted ? null : await get("status");
    const model = status?.models?.[this.model];
    this.service = status?.service ?? this.service;
    this.error = model?.last_error ?? "";
    this.set(status ? (model?.state ?? this.elsewhere) : key.isWanted ? "locked" : "away", model?.eta_s);
    this.again();
  }

  /** The state of what is no engine here. */
  get elsewhere() {
    return this.dumb ? "dumb" : this.facts[this.model] ? "others" : "unknown";
  }

  again() {
    clearTimeout(this.poll);
    if (!document.hidden && this.state !== "locked") this.poll = setTimeout(() => this.look(), this.state === "waking" ? WAKING_MS : IDLE_MS);
  }

  set(state, eta) {
    this.state = state;
    this.eta = eta ?? null;
    if (state !== "waking") this.count.stop();
    else if (eta != null) this.count.expect(eta);
    clearInterval(this.tick);
    if (state === "waking") this.tick = setInterval(() => this.changed(this), 250);
    this.changed(this);
  }

  /** How far the wake has come, 0 to 1, from the estimate. */
  get progress() {
    if (this.state === "awake") return 1;
    return this.count.progress;
  }

  /** The state in words, such as "waking, about 4 s". */
  get words() {
    if (this.state === "waking") {
      const { left } = this.count;
      return left === null ? "waking" : left > 0 ? `waking, about ${seconds(left)}` : "waking, any moment";
    }
    return { asleep: "asleep", awake: "awake", draining: "finishing", failed: "failed", locked: "locked", others: "elsewhere", dumb: "no chat", away: "no connection" }[this.state] ?? "";
  }

  /** A headline and a sentence for a page without messages. */
  get welcome() {
    const soon = this.eta === null ? "" : ` in about ${seconds(this.eta)}`;
    switch (this.state) {
      case "asleep": return ["The light is off.", `Your first message wakes the model${soon}.`];
      case "waking": return ["Lighting up.", `${this.words[0].toUpperCase()}${this.words.slice(1)}. You can write already.`];
      case "draining": return ["The light goes out.", "A message brings it back."];
      case "failed": return ["It did not light.", this.error || "The engine did not start. A message tries again."];
      case "locked": return ["The door is locked.", "Whoever runs this service can give you a key."];
      case "away": return ["Nobody answers.", "This page cannot reach its server. It keeps trying."];
      case "awake": return ["The light is on.", "Ask away."];
      case "others": return ["Ask away.", `${(this.facts[this.model].fallback ?? [this.facts[this.model].backend]).join(", or else ")} will answer.`];
      case "dumb": return ["Nobody to talk to.", "The models of this service do not chat."];
      default: return ["", ""];
    }
  }
}

function seconds(value) {
  return `${Math.max(1, Math.ceil(value))} s`;
}
