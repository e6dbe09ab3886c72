// The assistant's page: the panel as a whole page, with a switch for the colours and a field for a key where one is asked for.

import { iconButton } from "./icons.js";
import { key } from "./key.js";
import { element } from "./node.js";
import { Panel } from "./panel.js";
import { themeSwitch } from "./scheme.js";
import { Service } from "./service.js";
import { wordsFor } from "./words.js";

const door = document.getElementById("door");
const theme = iconButton("contrast", "", "tool");
const panel = new Panel({
  service: new Service(new URL(".", location.href).href, key),
  words: wordsFor(document.documentElement.lang),
  place: "relight.assistant.1",
  heading: "h1",
});

function showDoor() {
  door.hidden = !key.isWanted;
  panel.form.hidden = key.isWanted;
  const wanted = document.getElementById("wanted");
  wanted.textContent = key.isWrong ? "Wrong key. Check it and try again." : "This service asks for a key.";
  const field = document.getElementById("key");
  field.setAttribute("aria-invalid", key.isWrong);
  field.value = "";
  if (!key.isWanted) return;
  field.focus();
  panel.announce(wanted.textContent);
}

function open() {
  if (!document.hidden) return panel.open();
  return document.addEventListener("visibilitychange", open, { once: true });
}

function onKey(event) {
  if (event.key === "Escape") panel.dialogue.stop();
  const isTyping = /^(INPUT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  panel.box.focus();
}

door.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!key.use(document.getElementById("key").value)) return;
  await panel.open();
  if (!key.isWanted) panel.box.focus();
});
key.changed = showDoor;
panel.onLearned = ({ title }) => {
  if (title) document.title = title;
};
document.addEventListener("keydown", onKey);
panel.tools.append(theme);
themeSwitch(theme);
panel.dock.prepend(door);
panel.dock.append(Object.assign(element("p", "keys"), { textContent: "Enter sends, Shift Enter starts a line, Esc stops" }));
panel.node.classList.add("page");
document.getElementById("assistant").replaceChildren(panel.node);
if (matchMedia("(pointer: fine)").matches) panel.box.focus();
open();
