// Owns the conversation and the draft, and keeps them over a reload. Knows no DOM and no network.

/** Of an answer that is still to come, or coming. */
export const OPEN = new Set(["waiting", "streaming"]);

export class Conversation {
  /**
   * Kept in `store` ("localStorage" or "sessionStorage") at `place`.
   * Turns are `{role, text, thinking, status, model, error, stats}`; status: done, waiting, streaming, stopped, interrupted, failed.
   */
  constructor(store, place) {
    Object.assign(this, { store, place });
    this.turns = [];
    this.draft = "";
    this.model = "";
    this.session = "";
    this.saveTimer = 0;
    this.load();
  }

  get last() {
    return this.turns.at(-1);
  }

  add(role, fields) {
    const turn = { role, text: "", status: "done", ...fields };
    this.turns.push(turn);
    return turn;
  }

  clear() {
    const before = this.turns;
    this.turns = [];
    this.session = newSession();
    this.save();
    return before;
  }

  /** The whole conversation as a request carries it: no failed turns without text, neighbours of one role joined. */
  messages() {
    const sent = [];
    for (const { role, text } of this.turns) {
      if (!text) continue;
      if (sent.at(-1)?.role === role) sent.at(-1).content += `\n\n${text}`;
      else sent.push({ role, content: text });
    }
    return sent;
  }

  load() {
    const stored = this.read();
    this.turns = Array.isArray(stored.turns) ? stored.turns : [];
    this.draft = String(stored.draft ?? "");
    this.model = String(stored.model ?? "");
    this.session = String(stored.session ?? newSession());
    // Whoever was streaming it is gone with the page that was reloaded.
    for (const turn of this.turns) if (OPEN.has(turn.status)) turn.status = "interrupted";
  }

  save() {
    clearTimeout(this.saveTimer);
    this.saveTimer = 0;
    try {
      globalThis[this.store].setItem(this.place, JSON.stringify({ turns: this.turns, draft: this.draft, model: this.model, session: this.session }));
    } catch {
      // Storage is full or forbidden: the conversation still works, it only does not survive a reload.
    }
  }

  /** Save within a third of a second, however often this is called. */
  saveSoon() {
    this.saveTimer ||= setTimeout(() => this.save(), 300);
  }

  /** Call `changed` when another tab has finished changing the same conversation. */
  follow(changed) {
    addEventListener("storage", (event) => {
      if (event.key !== this.place || this.read().turns?.some((turn) => OPEN.has(turn.status))) return;
      changed();
    });
  }

  read() {
    try {
      return JSON.parse(globalThis[this.store].getItem(this.place)) ?? {};
    } catch {
      return {};
    }
  }
}

/** Says which messages belong together, and nothing about who wrote them. */
function newSession() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
