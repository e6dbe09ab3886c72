// Owns a conversation with the assistant: asks, takes what comes into its turns, stops, asks again, rates. Knows no DOM.

import { Conversation } from "./conversation.js";
import { Failure } from "./events.js";

/** Messages that go along with a question. The server has the last word on how much of that it reads. */
const HISTORY = 40;

export class Dialogue {
  /** Kept for this tab at `place`. `on.turn(turn)`: it has changed. `on.waking(seconds)`: the model wakes. `on.answering()`: it has begun to speak. */
  constructor(service, place, on) {
    Object.assign(this, { service, on, abort: null, talk: new Conversation("sessionStorage", place) });
  }

  get turns() {
    return this.talk.turns;
  }

  get isAnswering() {
    return this.abort !== null;
  }

  async ask(message) {
    const history = answered(this.turns);
    this.talk.add("user", { text: message });
    await this.answer(message, history);
  }

  /** The last question once more. */
  async again() {
    this.turns.pop();
    await this.answer(this.talk.last.text, answered(this.turns));
  }

  stop() {
    this.abort?.abort();
  }

  /** Start anew; returns the turns that were. */
  clear() {
    this.stop();
    return this.talk.clear();
  }

  restore(turns) {
    this.talk.turns = turns;
    this.talk.save();
  }

  /** Throws `Failure` when the server did not take it; the turn then says what it said before. */
  async rate(turn, rating, comment) {
    const before = { rating: turn.rating, comment: turn.comment };
    Object.assign(turn, { rating, comment });
    this.on.turn(turn);
    try {
      await this.service.rate({ interaction: turn.interaction, ticket: turn.ticket, rating, comment: comment || undefined });
    } catch (error) {
      Object.assign(turn, before);
      throw error;
    } finally {
      this.talk.save();
      this.on.turn(turn);
    }
  }

  async answer(message, history) {
    const abort = (this.abort = new AbortController());
    const turn = this.talk.add("assistant", { status: "waiting" });
    this.on.turn(turn);
    this.talk.save();
    try {
      for await (const { name, data } of this.service.ask({ message, history, session: this.talk.session }, abort.signal)) {
        this.take(turn, name, data);
        this.talk.saveSoon();
        this.on.turn(turn);
      }
      turn.status = "done";
    } catch (error) {
      // A reload breaks the connection before it takes the page: whoever is still here afterwards has lost the server.
      if (error.source === "network") await new Promise((resolve) => setTimeout(resolve, 300));
      fail(turn, error);
    }
    if (this.abort === abort) this.abort = null;
    if (this.turns.includes(turn)) this.talk.save();
    this.on.turn(turn);
  }

  take(turn, name, data) {
    if (name === "waking") this.on.waking(data.eta_s ?? null);
    if (name === "start" || name === "done") Object.assign(turn, known(data));
    if (name === "delta") {
      if (turn.status === "waiting") this.on.answering();
      turn.status = "streaming";
      turn.text += data.text ?? "";
    }
    if (name === "done") turn.text = data.reply ?? turn.text;
    // What is shown: this HTML, and behind it the text that came since.
    if (typeof data.html === "string") Object.assign(turn, { html: data.html, htmlTo: turn.text.length });
  }
}

function known({ mode, confidence, by, interaction, ticket, finish, sources }) {
  const all = { mode, confidence, by, interaction, ticket, finish, sources: Array.isArray(sources) ? sources : undefined };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** The questions that got an answer, with it, as a request carries them. */
function answered(turns) {
  const pairs = turns.flatMap(({ role, text }, at) => {
    const next = turns[at + 1];
    if (role !== "user" || next?.role !== "assistant" || !next.text) return [];
    return [{ role, content: text }, { role: "assistant", content: next.text }];
  });
  return pairs.slice(-HISTORY);
}

function fail(turn, error) {
  if (error.name === "AbortError") {
    turn.status = "stopped";
    return;
  }
  const { message, hint, source, code, say, wait } = error instanceof Failure ? error : new Failure({ message: `The page failed: ${error.message}`, source: "page" });
  turn.status = turn.text ? "interrupted" : "failed";
  turn.error = { message, hint, source, code, say, until: wait ? Date.now() + wait * 1000 : 0 };
}
