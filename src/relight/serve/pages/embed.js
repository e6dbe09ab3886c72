// The widget: a button in the corner of somebody's page, and the assistant's panel in a shadow tree behind it. `STYLE` and `SERVICE`
// stand before it in `widget.js`: the styles of the panel, and what the service says of itself.

import { drawing, iconButton } from "./icons.js";
import { element, write } from "./node.js";
import { Panel } from "./panel.js";
import { Service } from "./service.js";
import { wordsFor } from "./words.js";

/* global STYLE, SERVICE */

const PHONE = "(max-width: 480px)";
const TAG = "relight-widget";

class Widget {
  /** `base` is where the service is, `data` the attributes of the script tag. */
  constructor(base, data) {
    const language = data.lang || document.documentElement.lang || "en";
    this.words = wordsFor(language);
    this.host = document.createElement(TAG);
    this.host.dataset.theme = ["light", "dark"].includes(data.theme) ? data.theme : "auto";
    this.root = element("div", "widget");
    this.root.lang = language;
    this.root.dir = ["rtl", "ltr"].includes(data.dir) ? data.dir : getComputedStyle(document.documentElement).direction;
    this.root.classList.add(data.position === "left" || (!data.position && this.root.dir === "rtl") ? "left" : "right");
    this.panel = new Panel({ service: new Service(base), words: this.words, place: `relight.widget.1 ${base}`, settings: chosen(data) });
    this.build();
    this.listen();
    this.panel.onLearned = (known) => this.learn(known);
    this.panel.learn(SERVICE);
  }

  build() {
    const shadow = this.host.attachShadow({ mode: "open" });
    const style = new CSSStyleSheet();
    style.replaceSync(STYLE);
    shadow.adoptedStyleSheets = [style];
    this.panel.node.id = "panel";
    Object.assign(this.panel.node, { hidden: true, role: "dialog", tabIndex: -1 });
    this.leave = iconButton("close", this.words.close, "tool");
    this.panel.tools.append(this.leave);
    this.button = Object.assign(element("button", "launcher"), { type: "button", ariaExpanded: "false" });
    this.button.setAttribute("aria-controls", "panel");
    this.label = element("span", "label", this.words.title);
    this.button.append(drawing("bubble"), drawing("down"), this.label);
    this.root.append(this.panel.node, this.button);
    shadow.append(this.root);
  }

  learn({ title, accent }) {
    if (accent && CSS.supports("color", accent)) this.root.style.setProperty("--given", accent);
    write(this.label, title || this.words.title);
    this.panel.node.ariaLabel = title || this.words.title;
  }

  listen() {
    this.button.addEventListener("click", () => (this.isOpen ? this.close() : this.open()));
    this.leave.addEventListener("click", () => this.close());
    this.root.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.isOpen && !event.isComposing) this.close();
    });
    // The page sees an event in here as one on its own element, and may have shortcuts on bare letters.
    for (const name of ["keydown", "keyup", "keypress"]) this.root.addEventListener(name, (event) => event.stopPropagation());
    document.addEventListener("click", (event) => {
      if (!event.target.closest?.("[data-relight-open]")) return;
      event.preventDefault();
      this.open();
    });
    const seen = globalThis.visualViewport;
    for (const name of ["resize", "scroll"]) seen?.addEventListener(name, () => this.fit());
    matchMedia(PHONE).addEventListener("change", () => this.isOpen && this.lock());
  }

  get isOpen() {
    return !this.panel.node.hidden;
  }

  open() {
    if (this.isOpen) return;
    this.panel.node.hidden = false;
    this.button.ariaExpanded = "true";
    this.lock();
    this.fit();
    this.panel.open();
    // On a phone the focus would bring the keyboard up, over the suggested questions.
    (matchMedia("(pointer: coarse)").matches ? this.panel.node : this.panel.box).focus();
  }

  close() {
    this.panel.node.hidden = true;
    this.button.ariaExpanded = "false";
    this.panel.close();
    this.unlock();
    this.button.focus();
  }

  /** On a phone the panel is the screen: what lies behind it stays where it is. */
  lock() {
    const { style } = document.documentElement;
    if (!matchMedia(PHONE).matches) return this.unlock();
    this.overflow ??= style.overflow;
    style.overflow = "hidden";
    return undefined;
  }

  unlock() {
    if (this.overflow === undefined) return;
    document.documentElement.style.overflow = this.overflow;
    this.overflow = undefined;
  }

  /** A phone's keyboard takes part of the screen without telling the layout. */
  fit() {
    const { height = innerHeight, offsetTop = 0 } = globalThis.visualViewport ?? {};
    this.root.style.setProperty("--seen", `${Math.round(height)}px`);
    this.root.style.setProperty("--top", `${Math.round(offsetTop)}px`);
  }
}

/** What the page that embeds it wants otherwise than the service says. */
function chosen({ title, greeting, accent, suggestions }) {
  const all = { title, greeting, accent, suggestions: suggestions?.split("|").map((text) => text.trim()).filter(Boolean) };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value?.length));
}

function start(script) {
  const base = new URL(".", script.src).href;
  if (document.querySelector(TAG)) return;
  document.body.append(new Widget(base, script.dataset).host);
}

const tag = document.currentScript ?? document.querySelector('script[src*="/widget.js"]');
if (document.body) start(tag);
else document.addEventListener("DOMContentLoaded", () => start(tag), { once: true });
