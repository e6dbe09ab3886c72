// The assistant's conversation as nodes with their controls. Its page and the widget put the same panel into their frames.

import { Dialogue } from "./dialogue.js";
import { iconButton } from "./icons.js";
import { Light } from "./light.js";
import { copyText, element, write } from "./node.js";
import { QuestionView, ReplyView } from "./reply.js";
import { friendly } from "./words.js";

export class Panel {
  /** `place` names where the conversation is kept; `heading` is the tag of the title; `settings` overrule what the service says of itself. */
  constructor({ service, words, place, heading = "h2", settings = {} }) {
    Object.assign(this, { words, settings, cleared: null, follows: true, frame: 0, views: new Map() });
    this.dialogue = new Dialogue(service, place, {
      turn: (turn) => this.paintSoon(turn),
      waking: (seconds) => this.light.hear("waking", seconds),
      answering: () => this.light.state !== "provider" && this.light.hear("awake"),
    });
    this.light = new Light(service, words, { changed: () => this.showLight(), learned: (about) => this.learn(about) });
    this.build(heading);
    this.listen();
    this.learn(settings);
    this.box.value = this.dialogue.talk.draft;
    this.showAll();
  }

  /** Somebody looks at it: the model is woken. */
  open() {
    this.grow();
    this.scrollDown();
    return this.light.open();
  }

  close() {
    this.light.close();
  }

  // --- nodes ---------------------------------------------------------------------------------------------------

  build(heading) {
    const { words } = this;
    this.node = element("section", "panel");
    this.title = element(heading, "title", words.title);
    this.state = element("p", "state");
    this.tools = element("div", "tools");
    this.fresh = iconButton("fresh", words.fresh, "tool");
    this.tools.append(this.fresh);
    this.scroller = element("div", "scroll");
    this.turns = Object.assign(element("div", "turns"), { role: "group", ariaLabel: words.conversation });
    this.dock = element("footer", "dock");
    this.dock.append(this.makeComposer());
    this.log = Object.assign(element("div", "sr"), { role: "log", ariaLive: "polite" });
    const name = element("div", "name");
    name.append(this.title, this.state);
    const bar = element("header", "bar");
    bar.append(name, this.tools);
    this.scroller.append(this.makeWelcome(), this.turns);
    this.node.append(bar, this.scroller, this.dock, this.log);
  }

  makeWelcome() {
    this.welcome = element("div", "welcome");
    this.greeting = Object.assign(element("p", "greeting"), { dir: "auto" });
    this.suggestions = Object.assign(element("div", "suggestions"), { role: "group", ariaLabel: this.words.suggestions });
    this.undo = Object.assign(element("button", "link", this.words.undo), { type: "button" });
    this.welcome.append(this.greeting, this.suggestions, this.undo);
    return this.welcome;
  }

  makeComposer() {
    const { words } = this;
    this.form = Object.assign(element("form", "composer"), { ariaLabel: words.placeholder });
    this.box = Object.assign(element("textarea"), { rows: 1, placeholder: words.placeholder, ariaLabel: words.message, enterKeyHint: "send" });
    this.box.autocomplete = "off";
    this.send = iconButton("send", words.send, "send");
    this.send.type = "submit";
    this.stop = iconButton("stop", words.stop, "send stop");
    const filament = element("div", "filament");
    filament.ariaHidden = "true";
    this.form.append(filament, this.box, this.send, this.stop);
    return this.form;
  }

  // --- showing -------------------------------------------------------------------------------------------------

  /** What the service says of itself, as far as the page that embeds it does not say otherwise. */
  learn(about) {
    const { title, greeting, suggestions, accent, max_message: most } = { ...about, ...this.settings };
    if (most > 0) this.box.maxLength = most;
    if (title) write(this.title, title);
    if (greeting) write(this.greeting, greeting);
    if (accent && CSS.supports("color", accent)) this.node.style.setProperty("--given", accent);
    const asked = (suggestions ?? []).map(String).filter(Boolean);
    if (asked.join("|") !== this.asked) this.suggestions.replaceChildren(...asked.map(suggestion));
    this.asked = asked.join("|");
    this.onLearned?.({ title, accent });
  }

  showLight() {
    this.node.dataset.state = this.light.state;
    this.node.style.setProperty("--progress", this.light.progress.toFixed(3));
    write(this.state, this.light.said);
    if (this.dialogue.talk.last?.status === "waiting") this.views.get(this.dialogue.talk.last)?.wait(this.waitingWords());
  }

  waitingWords() {
    return this.light.state === "waking" ? this.light.said : this.words.thinking;
  }

  showAll() {
    this.views.clear();
    this.turns.replaceChildren();
    for (const turn of this.dialogue.turns) this.show(turn);
    this.settle();
  }

  show(turn) {
    const view = new (turn.role === "user" ? QuestionView : ReplyView)(turn, this.words);
    this.views.set(turn, view);
    this.turns.append(view.node);
    return view;
  }

  settle() {
    const { turns, isAnswering } = this.dialogue;
    for (const [turn, view] of this.views) view.offerRetry(turn === turns.at(-1) && !isAnswering);
    this.welcome.hidden = turns.length > 0;
    this.fresh.disabled = turns.length === 0;
    this.undo.hidden = !this.cleared;
    this.stop.hidden = !isAnswering;
    this.send.hidden = isAnswering;
    this.send.disabled = !this.box.value.trim();
  }

  /** Answers come faster than anybody reads: once a frame is enough. */
  paintSoon(turn) {
    if (!this.dialogue.turns.includes(turn)) return;
    this.dirty = turn;
    this.frame ||= requestAnimationFrame(() => this.paint());
  }

  paint() {
    this.frame = 0;
    for (const turn of this.dialogue.turns) if (!this.views.has(turn)) this.show(turn);
    this.views.get(this.dirty)?.paint();
    this.settle();
    this.showLight();
    if (this.follows) this.scrollDown();
  }

  scrollDown() {
    this.scroller.scrollTo({ top: this.scroller.scrollHeight, behavior: "instant" });
  }

  grow() {
    // Empty, it has no letters of its own to tell the direction by: then it is the page's.
    this.box.dir = this.box.value ? "auto" : "";
    this.box.style.height = "auto";
    if (this.box.scrollHeight) this.box.style.height = `${this.box.scrollHeight}px`;
  }

  /** Said to whoever listens instead of looking: whole answers, not every word of them. */
  announce(text) {
    this.log.replaceChildren(element("p", "", text));
  }

  // --- controls ------------------------------------------------------------------------------------------------

  listen() {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.submit();
    });
    this.box.addEventListener("input", () => {
      this.dialogue.talk.draft = this.box.value;
      this.dialogue.talk.saveSoon();
      this.grow();
      this.settle();
    });
    this.stop.addEventListener("click", () => {
      this.dialogue.stop();
      this.box.focus();
    });
    this.fresh.addEventListener("click", () => this.clear());
    this.undo.addEventListener("click", () => this.bringBack());
    this.suggestions.addEventListener("click", ({ target }) => this.put(target.closest("button")?.textContent));
    this.turns.addEventListener("click", (event) => this.act(event.target.closest("button[data-action]")));
    this.turns.addEventListener("submit", (event) => {
      event.preventDefault();
      this.tell(this.viewAround(event.target));
    });
    this.scroller.addEventListener("scroll", () => (this.follows = this.isAtEnd()), { passive: true });
    addEventListener("pagehide", () => this.dialogue.talk.save());
  }

  submit() {
    const text = this.box.value.trim();
    if (!text || this.dialogue.isAnswering) return;
    this.box.value = this.dialogue.talk.draft = "";
    this.grow();
    this.put(text);
  }

  put(text) {
    if (text && !this.dialogue.isAnswering) this.run(() => this.dialogue.ask(text));
  }

  /** From the question being sent to the answer being there. */
  async run(asked) {
    this.cleared = null;
    this.follows = true;
    const answer = asked();
    this.announce(`${this.words.sent} ${this.light.state === "waking" ? this.light.said : ""}`);
    await answer;
    const { last } = this.dialogue.talk;
    if (last?.role === "assistant") this.announce(this.spoken(last));
    this.settle();
  }

  spoken({ status, text, error }) {
    if (error) return friendly(error, this.words);
    return status === "stopped" ? this.words.stopped : `${this.words.answer}: ${text}`;
  }

  act(button) {
    const view = button && this.viewAround(button);
    if (!view) return;
    const { turn } = view;
    const acts = {
      copy: () => this.copy(button, turn.text, view.body),
      copyCode: () => this.copy(button, button.closest("figure").querySelector("code").textContent, button.closest("figure").querySelector("code")),
      retry: () => this.retry(),
      up: () => this.rate(view, "up"),
      down: () => this.rate(view, "down"),
      skip: () => this.hideComment(view),
    };
    acts[button.dataset.action]?.();
  }

  viewAround(node) {
    return [...this.views.values()].find((view) => view.node.contains(node));
  }

  retry() {
    if (this.dialogue.isAnswering) return;
    const { last } = this.dialogue.talk;
    this.views.get(last)?.node.remove();
    this.views.delete(last);
    this.box.focus();
    this.run(() => this.dialogue.again());
  }

  async rate(view, rating, comment = "") {
    try {
      view.complain("");
      await this.dialogue.rate(view.turn, rating, comment);
      const asks = rating === "down" && !comment;
      view.comment.hidden = !asks;
      if (asks) view.field.focus();
      else this.announce(this.words.thanks);
    } catch (error) {
      view.complain(error.say || this.words.unsaved);
      this.announce(error.say || this.words.unsaved);
    }
  }

  async tell(view) {
    const comment = view.field.value.trim();
    if (comment) await this.rate(view, "down", comment);
    if (!view.problem) this.hideComment(view);
  }

  hideComment(view) {
    view.comment.hidden = true;
    view.down.focus();
  }

  async copy(button, text, node) {
    const done = (await copyText(text, node)) ? this.words.copied : this.words.selected;
    this.announce(done);
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1500);
  }

  clear() {
    this.cleared = this.dialogue.clear();
    this.showAll();
    this.box.focus();
  }

  bringBack() {
    this.dialogue.restore(this.cleared);
    this.cleared = null;
    this.showAll();
    this.box.focus();
  }

  isAtEnd() {
    const { scrollHeight, clientHeight, scrollTop } = this.scroller;
    return scrollHeight - clientHeight - scrollTop < 60;
  }
}

function suggestion(text) {
  return Object.assign(element("button", "suggestion", text), { type: "button", dir: "auto" });
}
