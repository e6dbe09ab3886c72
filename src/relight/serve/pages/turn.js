// Shows one turn of the conversation. Knows a turn's fields and the page's nodes, not where answers come from.

import { render } from "./markdown.js";
import { button, element } from "./node.js";

const FAILED = { relight: "Relight could not answer", engine: "The engine failed", provider: "The provider failed", network: "No connection" };
const ENDED = { stopped: "Stopped.", interrupted: "Interrupted before it was complete.", length: "Cut off at the token limit." };

/** The nodes of one turn; `paint()` brings them up to date with it. */
export class TurnView {
  constructor(turn) {
    this.turn = turn;
    this.node = element("article", `turn ${turn.role}`);
    this.body = element("div", "text");
    this.node.append(element("h2", "sr", turn.role === "user" ? "You" : turn.model || "Answer"), this.body);
    if (turn.role === "assistant") this.dress();
    this.paint();
  }

  dress() {
    this.thinking = element("details", "thinking");
    this.thought = element("p");
    this.thinking.append(element("summary", "", "Thinking"), this.thought);
    this.waiting = element("p", "waiting");
    this.trouble = element("div", "trouble");
    this.foot = element("footer");
    this.stats = element("span", "stats");
    this.copy = button("Copy", "copy");
    this.retry = button("Retry", "retry");
    this.foot.append(this.stats, this.copy, this.retry);
    this.body.before(this.thinking);
    this.node.append(this.waiting, this.trouble, this.foot);
  }

  paint() {
    if (this.turn.role === "user") {
      this.body.textContent = this.turn.text;
      return;
    }
    const { text, thinking, status, error } = this.turn;
    const open = status === "waiting" || status === "streaming";
    this.node.dataset.status = status;
    this.node.setAttribute("aria-busy", String(open));
    render(this.body, text);
    this.thinking.hidden = !thinking;
    this.thought.textContent = thinking ?? "";
    this.waiting.hidden = !open || Boolean(text);
    this.foot.hidden = open;
    this.copy.hidden = !text;
    this.stats.textContent = summary(this.turn);
    this.trouble.hidden = !error;
    if (error && !this.trouble.hasChildNodes()) this.complain(error);
  }

  /** Words while nothing has come yet. */
  wait(words) {
    if (this.waiting.textContent !== words) this.waiting.textContent = words;
  }

  /** Only the newest answer can be asked for again. */
  offerRetry(offered) {
    if (this.retry) this.retry.hidden = !offered;
  }

  complain({ message, hint, source, code }) {
    this.trouble.append(element("strong", "", FAILED[source] ?? FAILED.relight), element("p", "", sentence(message)));
    if (hint) this.trouble.append(element("p", "hint", sentence(hint)));
    if (code === "context_length_exceeded") this.trouble.append(button("Start a new conversation", "clear"));
  }
}

function summary({ status, stats, finish }) {
  const parts = [ENDED[status] ?? ENDED[finish]];
  if (stats?.tokens) parts.push(`${stats.tokens} ${stats.tokens === 1 ? "token" : "tokens"}`);
  if (stats?.rate) parts.push(`${stats.rate.toFixed(stats.rate < 10 ? 1 : 0)} tokens/s`);
  if (stats?.firstMs != null) parts.push(`first token after ${time(stats.firstMs)}${stats.wakeMs ? `, ${time(stats.wakeMs)} of it waking` : ""}`);
  return parts.filter(Boolean).join(" · ");
}

function time(ms) {
  return ms < 100 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10000 ? 1 : 0)} s`;
}

function sentence(text) {
  const trimmed = text.trim();
  // A name before a colon ("smol: …", "relight.toml: …") keeps the case it has.
  const first = /^\S+:/.test(trimmed) ? trimmed[0] : trimmed[0]?.toUpperCase();
  return trimmed && `${first}${trimmed.slice(1)}${/[.!?:…]$/.test(trimmed) ? "" : "."}`;
}
