// Owns the key that this page shows the server, kept for this tab only. Knows neither the page nor what is asked.

const PLACE = "relight.key";

class Key {
  constructor() {
    this.text = recall();
    this.isWanted = this.isWrong = false;
    /** Called whenever `isWanted` or `isWrong` may have changed. */
    this.changed = () => {};
  }

  /** What every call sends along. */
  get headers() {
    return this.text ? { authorization: `Bearer ${this.text}` } : {};
  }

  /** Try this one; whether it opens is for the server to say. False when it cannot be a key. */
  use(text) {
    this.text = /^[!-~]+$/.test(text.trim()) ? text.trim() : "";
    if (!this.text) this.refuse("", true);
    return Boolean(this.text);
  }

  /** A call that was sent with `sent` was answered. */
  accept(sent) {
    if (!this.isWanted || sent !== this.text) return;
    this.isWanted = this.isWrong = false;
    remember(sent);
    this.changed();
  }

  /** A call that was sent with `sent` was refused. A late refusal of an older key says nothing about this one. */
  refuse(sent, isWrong = Boolean(sent)) {
    if (sent !== this.text) return;
    Object.assign(this, { text: "", isWanted: true, isWrong });
    remember("");
    this.changed();
  }
}

export const key = new Key();

function recall() {
  try {
    return sessionStorage.getItem(PLACE) ?? "";
  } catch {
    return "";
  }
}

function remember(text) {
  try {
    if (text) sessionStorage.setItem(PLACE, text);
    else sessionStorage.removeItem(PLACE);
  } catch {
    // Storage may be forbidden: the key then holds until the page is left.
  }
}
