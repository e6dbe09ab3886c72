// Speaks with the assistant's routes: what it is, waking it, questions, ratings. Knows no page and keeps nothing.

import { events, Failure, number, parsed, unreachable } from "./events.js";

/** Where no key is asked for. */
const ANYBODY = { text: "", headers: {}, accept() {}, refuse() {} };

export class Service {
  /** The routes lie under `base`, an address that ends with a slash; `pass` (as `key.js` has it) opens them. */
  constructor(base, pass = ANYBODY) {
    Object.assign(this, { base, pass });
  }

  /** What the assistant says of itself, or `null`. Wakes nobody. */
  about() {
    return this.told("assistant", { headers: { accept: "application/json" } });
  }

  /** Have its model woken. Answers with what there is to know of its state, or `null`. */
  wake() {
    return this.told("assistant/wake", { method: "POST" });
  }

  /** One question `{message, history, session}`. Yields `{name, data}`, the last of them `done`; throws `Failure` or, stopped, `AbortError`. */
  async *ask(question, signal) {
    const response = await this.post("chat", { ...question, stream: true, html: true }, signal);
    for await (const { name, data } of events(response.body)) {
      const value = data === undefined ? null : parsed(data);
      if (value === null) continue;
      if (name === "error") throw new Failure(envelope(value.error));
      yield { name, data: value };
      if (name === "done") return;
    }
    throw new Failure({ message: "The connection ended before the answer was complete.", source: "network" });
  }

  /** Rate an answer: `{interaction, ticket, rating, comment}`. Throws `Failure` when that was not taken. */
  async rate(rating) {
    await this.post("feedback", rating);
  }

  async post(path, body, signal) {
    const response = await this.call(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal });
    if (response.ok) return response;
    const error = parsed(await response.text().catch(() => ""))?.error;
    throw new Failure({ ...envelope(error), wait: number(response.headers.get("retry-after")) ?? 0 });
  }

  async told(path, init) {
    try {
      const response = await this.call(path, init);
      return response.ok ? parsed(await response.text()) ?? {} : null;
    } catch {
      return null;
    }
  }

  async call(path, init) {
    const sent = this.pass.text;
    const headers = { ...init.headers, ...this.pass.headers };
    const response = await fetch(this.base + path, { ...init, headers, cache: "no-store", credentials: "omit" }).catch((error) => {
      throw error.name === "AbortError" ? error : unreachable();
    });
    if (response.status === 401) this.pass.refuse(sent);
    else this.pass.accept(sent);
    return response;
  }
}

function envelope(error) {
  const { message, hint, source, code, say } = error && typeof error === "object" ? error : {};
  return { message: String(message || "No reason was given."), hint: String(hint || ""), source: source || "relight", code: String(code ?? ""), say: String(say || "") };
}
