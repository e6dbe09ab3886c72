// Shows one turn of the assistant's conversation. Knows a turn's fields and the nodes, not where answers come from.

import { OPEN } from "./conversation.js";
import { iconButton } from "./icons.js";
import { codeFigure, element, write } from "./node.js";
import { build, isAddress } from "./safe.js";
import { friendly, told } from "./words.js";

/** What somebody asked. */
export class QuestionView {
  constructor(turn, words) {
    this.node = element("article", "turn user");
    this.node.append(element("h3", "sr", words.you), Object.assign(element("div", "text", turn.text), { dir: "auto" }));
  }

  paint() {}
  wait() {}
  offerRetry() {}
}

/** What the assistant answered; `paint()` brings it up to date with its turn. */
export class ReplyView {
  constructor(turn, words) {
    Object.assign(this, { turn, words, problem: "", isOffered: false });
    this.node = element("article", "turn assistant");
    this.body = element("div", "text");
    this.rest = Object.assign(element("p", "rest"), { dir: "auto" });
    this.waiting = element("p", "waiting");
    this.trouble = element("div", "trouble");
    this.sources = element("div", "sources");
    this.foot = this.makeFoot();
    this.comment = this.makeComment();
    this.node.append(element("h3", "sr", words.answer), this.body, this.rest, this.waiting, this.trouble, this.sources, this.foot, this.comment);
    this.paint();
  }

  makeFoot() {
    const { words } = this;
    const foot = element("footer");
    this.badge = element("span", "badge");
    this.badge.append(element("span", "sr", `${words.mode}: `), (this.mode = element("span")));
    this.ended = element("span", "ended");
    this.copy = iconButton("copy", words.copy, "act", "copy");
    this.up = iconButton("thumb", words.up, "act", "up");
    this.down = iconButton("thumb", words.down, "act turned", "down");
    this.retry = iconButton("retry", words.retry, "act", "retry");
    this.said = element("span", "said");
    foot.append(this.badge, this.ended, this.copy, this.up, this.down, this.retry, this.said);
    return foot;
  }

  makeComment() {
    const { words } = this;
    const form = element("form", "comment");
    const label = element("label", "", words.wrong);
    this.field = Object.assign(element("textarea"), { rows: 2, maxLength: 2000, dir: "auto" });
    label.append(this.field);
    const send = Object.assign(element("button", "tell", words.tell), { type: "submit" });
    const skip = Object.assign(element("button", "quiet", words.skip), { type: "button" });
    skip.dataset.action = "skip";
    form.append(label, send, skip);
    form.hidden = true;
    return form;
  }

  paint() {
    const { turn, words } = this;
    const isOpen = OPEN.has(turn.status);
    const shown = turn.html === undefined ? 0 : turn.htmlTo;
    this.node.dataset.status = turn.status;
    this.node.setAttribute("aria-busy", String(isOpen));
    show(this.body, build(turn.html ?? ""), words);
    write(this.rest, turn.text.slice(shown).trim());
    this.rest.hidden = !this.rest.textContent;
    this.waiting.hidden = !isOpen || Boolean(turn.text);
    write(this.mode, (turn.mode ?? "").replaceAll(/[_-]/g, " "));
    this.badge.hidden = !turn.mode;
    if (turn.confidence != null && turn.by) this.badge.title = `${turn.by}, ${Math.round(turn.confidence * 100)} %`;
    const ends = { stopped: words.stopped, interrupted: words.interrupted, length: words.cut };
    write(this.ended, ends[turn.status] ?? ends[turn.finish] ?? "");
    this.ended.hidden = !this.ended.textContent;
    for (const act of [this.copy, this.up, this.down]) act.hidden = isOpen || !turn.text;
    this.paintRating();
    this.paintTrouble();
    if (!isOpen) this.paintSources();
    this.offerRetry(this.isOffered);
  }

  paintRating() {
    const { turn } = this;
    if (!turn.ticket) this.up.hidden = this.down.hidden = true;
    this.up.setAttribute("aria-pressed", String(turn.rating === "up"));
    this.down.setAttribute("aria-pressed", String(turn.rating === "down"));
    write(this.said, this.problem || (turn.rating === "up" || turn.comment ? this.words.thanks : ""));
    this.said.classList.toggle("wrong", Boolean(this.problem));
  }

  paintTrouble() {
    const { error } = this.turn;
    this.trouble.hidden = !error;
    if (!error || this.trouble.hasChildNodes()) return;
    const { words } = this;
    this.again = Object.assign(element("button", "quiet", words.retry), { type: "button" });
    this.again.dataset.action = "retry";
    this.trouble.append(Object.assign(element("p", "", friendly(error, words)), { dir: "auto" }), this.again);
    this.countDown();
  }

  /** Asking again is offered when the server said that it is worth it. */
  countDown() {
    const left = ((this.turn.error.until ?? 0) - Date.now()) / 1000;
    this.again.disabled = left > 0;
    write(this.again, left > 0 ? told(this.words.retryIn, left) : this.words.retry);
    if (left > 0) setTimeout(() => this.node.isConnected && this.countDown(), Math.min(1000, left * 1000 + 20));
  }

  paintSources() {
    const { sources } = this.turn;
    this.sources.hidden = !sources?.length;
    if (!sources?.length || this.sources.hasChildNodes()) return;
    const list = element("ol");
    for (const source of sources) {
      const item = element("li");
      item.append(cite(source));
      list.append(item);
    }
    this.sources.append(element("p", "", this.words.sources), list);
  }

  /** Words while nothing has come yet. */
  wait(words) {
    write(this.waiting, words);
  }

  /** Only the newest answer can be asked for again. */
  offerRetry(offered) {
    this.isOffered = offered;
    this.retry.hidden = !offered || Boolean(this.turn.error);
    if (this.again) this.again.hidden = !offered;
    const parts = [this.badge, this.ended, this.copy, this.up, this.down, this.retry];
    this.foot.hidden = parts.every((part) => part.hidden) && !this.said.textContent;
  }

  /** Say that the rating was not saved, or, with nothing, that all is well. */
  complain(problem) {
    this.problem = problem;
    this.paintRating();
  }
}

function cite({ title, source, url }) {
  const name = String(title || source || "");
  const node = isAddress(url ?? "") ? Object.assign(element("a"), { href: url, target: "_blank", rel: "noopener nofollow" }) : element("span");
  node.title = String(source ?? "");
  node.append(Object.assign(element("bdi", "", name)));
  return node;
}

/** Bring `container` to show `fragment`; blocks that did not change keep their nodes, so that a selection survives streaming. */
function show(container, fragment, words) {
  const wanted = [...fragment.childNodes].filter((node) => node.nodeType === Node.ELEMENT_NODE || node.data.trim());
  wanted.forEach((node, at) => {
    const old = container.children[at];
    if (old?.plain?.isEqualNode(node)) return;
    const made = dress(node, words);
    made.plain = node.cloneNode(true);
    old ? old.replaceWith(made) : container.append(made);
  });
  while (container.children.length > wanted.length) container.lastChild.remove();
}

/** A block with what this page adds to it. What holds code or a table inside is dressed there. */
function dress(block, words) {
  const root = element("div");
  root.append(block.nodeType === Node.ELEMENT_NODE ? block.cloneNode(true) : element("p", "", block.data));
  for (const pre of root.querySelectorAll("pre")) {
    const language = pre.querySelector("code")?.className.replace("language-", "") ?? "";
    pre.replaceWith(codeFigure(language, pre.textContent.replace(/\n$/, ""), { code: words.code, copy: words.copyCode }));
  }
  for (const table of root.querySelectorAll("table")) {
    const frame = Object.assign(element("div", "wide"), { tabIndex: 0 });
    table.replaceWith(frame);
    frame.append(table);
  }
  const made = root.firstChild;
  if (!made.dir) made.dir = "auto";
  return made;
}
