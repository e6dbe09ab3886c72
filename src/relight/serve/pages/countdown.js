// Counts an estimate down, from one look at the server to the next. Knows no engine and no page.

export class Countdown {
  constructor() {
    this.stop();
  }

  /** It should take `seconds` from now on. */
  expect(seconds) {
    const at = performance.now() + seconds * 1000;
    // Two clocks and the network disagree by a little: a count that jumps back and forth says less than a steady one.
    if (this.readyAt !== null && Math.abs(at - this.readyAt) < 1000) return;
    this.readyAt = at;
    this.span = Math.max(this.span ?? 0, seconds);
  }

  /** Nothing is awaited. */
  stop() {
    this.readyAt = this.span = null;
  }

  /** Seconds that are left; `null` when nobody knows. */
  get left() {
    return this.readyAt === null ? null : (this.readyAt - performance.now()) / 1000;
  }

  /** How far it has come, 0 to 1: never quite either, for it is an estimate. */
  get progress() {
    return this.span ? Math.min(0.96, Math.max(0.04, 1 - this.left / this.span)) : 0.04;
  }
}
