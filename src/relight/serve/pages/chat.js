// The chat page: brings the conversation, the lamp and the controls together.

import { Conversation } from "./conversation.js";
import { Failure } from "./events.js";
import { key } from "./key.js";
import { Lamp } from "./lamp.js";
import { copyText } from "./node.js";
import { themeSwitch } from "./scheme.js";
import { ask, get } from "./stream.js";
import { TurnView } from "./turn.js";

const $ = (id) => document.getElementById(id);
const box = $("message");
const talk = new Conversation("localStorage", "relight.chat.1");
const lamp = new Lamp(showLamp);
const views = new Map();
let abort = null;
let cleared = null;
let follows = true;

// --- showing ---------------------------------------------------------------------------------------------------

function showAll() {
  for (const view of views.values()) view.node.remove();
  views.clear();
  for (const turn of talk.turns) show(turn);
  settle();
}

function show(turn) {
  const view = new TurnView(turn);
  views.set(turn, view);
  $("conversation").append(view.node);
  return view;
}

function settle() {
  for (const [turn, view] of views) view.offerRetry(turn === talk.last && !abort);
  $("welcome").hidden = talk.turns.length > 0;
  $("clear").disabled = talk.turns.length === 0;
  $("undo").hidden = !cleared;
  $("stop").hidden = !abort;
  $("send").hidden = Boolean(abort);
  $("send").disabled = !box.value.trim();
}

function showLamp() {
  document.documentElement.dataset.state = lamp.state;
  document.documentElement.style.setProperty("--progress", lamp.progress.toFixed(3));
  write($("state"), lamp.words);
  const [headline, lead] = lamp.welcome;
  write($("headline"), headline || "\u00a0");
  write($("lead"), lead || "\u00a0");
  if (lamp.service && document.title !== lamp.service) document.title = write($("service"), lamp.service);
  if (talk.last?.status === "waiting") views.get(talk.last)?.wait(waitingWords());
}

function showDoor() {
  $("door").hidden = !key.isWanted;
  $("composer").hidden = $("keys").hidden = key.isWanted;
  write($("wanted"), key.isWrong ? "Wrong key. Check it and try again." : "This service asks for a key.");
  $("key").setAttribute("aria-invalid", key.isWrong);
  $("key").value = "";
  if (!key.isWanted) return;
  $("key").focus();
  announce($("wanted").textContent);
  lamp.look();
}

function waitingWords() {
  return lamp.state === "waking" ? lamp.words : "reading";
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
  return text;
}

function announce(text) {
  $("live").textContent = text;
}

function scrollDown() {
  if (follows) scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
}

function grow() {
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}

// --- answering -------------------------------------------------------------------------------------------------

async function send(text) {
  talk.add("user", { text });
  show(talk.last);
  follows = true;
  cleared = null;
  await answer();
}

async function answer() {
  abort = new AbortController();
  const request = { model: talk.model || undefined, messages: talk.messages() };
  const turn = talk.add("assistant", { status: "waiting", model: talk.model, stats: {} });
  const view = show(turn);
  view.wait(waitingWords());
  settle();
  talk.save();
  scrollDown();
  announce(lamp.state === "waking" || lamp.state === "asleep" ? `Sent. The model is ${lamp.words}.` : "Sent.");
  try {
    await receive(turn, view, ask(request, abort.signal));
    turn.status = "done";
  } catch (error) {
    // A reload breaks the connection before it takes the page: whoever is still here afterwards has lost the server.
    if (error.source === "network") await new Promise((resolve) => setTimeout(resolve, 300));
    fail(turn, error);
  }
  abort = null;
  view.paint();
  settle();
  talk.save();
  scrollDown();
  announce(spoken(turn));
  lamp.look();
}

async function receive(turn, view, pieces) {
  const began = performance.now();
  let frame = 0;
  const paint = () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      view.paint();
      scrollDown();
    });
  };
  for await (const piece of pieces) {
    if (piece.note) hear(piece.note);
    if (piece.text || piece.thinking) take(turn, piece, performance.now() - began);
    if (piece.open?.wakeMs) turn.stats.wakeMs = piece.open.wakeMs;
    if (piece.finish) turn.finish = piece.finish;
    if (piece.usage || piece.timings) count(turn, piece, performance.now() - began);
    paint();
  }
}

function hear(note) {
  if (!note.startsWith("waking ")) return;
  const left = [...(/about (.+) left/.exec(note)?.[1] ?? "").matchAll(/([\d.]+) ?(ms|s|m|h)/g)];
  lamp.hear("waking", left.length ? left.reduce((sum, [, count, unit]) => sum + count * { ms: 0.001, s: 1, m: 60, h: 3600 }[unit], 0) : null);
}

function take(turn, { text, thinking }, ms) {
  if (turn.status === "waiting") {
    turn.stats.firstMs = ms;
    if (lamp.state !== "awake") lamp.hear("awake");
  }
  turn.status = "streaming";
  turn.text += text ?? "";
  if (thinking) turn.thinking = (turn.thinking ?? "") + thinking;
  talk.saveSoon();
}

function count(turn, { usage, timings }, ms) {
  turn.stats.tokens = usage?.completion_tokens ?? timings?.predicted_n ?? turn.stats.tokens;
  const spent = (ms - (turn.stats.firstMs ?? ms)) / 1000;
  // The engine's own figure counts decoding only; ours, the gaps between the first token and the last.
  turn.stats.rate = timings?.predicted_per_second ?? (turn.stats.tokens > 1 && spent > 0.05 ? (turn.stats.tokens - 1) / spent : null);
}

function fail(turn, error) {
  if (error.name === "AbortError") {
    turn.status = "stopped";
    return;
  }
  const { message, hint, source, code } = error instanceof Failure ? error : new Failure({ message: `This page failed: ${error.message}` });
  turn.status = turn.text ? "interrupted" : "failed";
  turn.error = { message, hint, source, code };
}

function spoken({ status, text, error }) {
  if (error) return `No answer. ${error.message} ${error.hint}`;
  return status === "stopped" ? "Stopped." : `Answer: ${text}`;
}

// --- controls --------------------------------------------------------------------------------------------------

const actions = {
  copy: (button, turn) => copy(turn.text, button),
  copyCode: (button) => copy(button.closest("figure").querySelector("code").textContent, button),
  retry: () => {
    if (abort) return;
    views.get(talk.last).node.remove();
    views.delete(talk.turns.pop());
    box.focus();
    answer();
  },
  clear: () => clear(),
};

function submit() {
  const text = box.value.trim();
  if (!text || abort) return;
  box.value = talk.draft = "";
  grow();
  send(text);
}

function clear() {
  abort?.abort();
  cleared = talk.clear();
  showAll();
  announce("New conversation.");
  box.focus();
}

function undo() {
  talk.turns = cleared;
  cleared = null;
  talk.save();
  showAll();
  box.focus();
}

async function copy(text, button) {
  const label = button.textContent;
  const done = await copyText(text, button.closest("figure")?.querySelector("code") ?? button.closest(".turn").querySelector(".text"));
  button.textContent = done ? "Copied" : "Selected";
  announce(button.textContent);
  setTimeout(() => (button.textContent = label), 1500);
}

function onKey(event) {
  if (event.key === "Escape" && abort) abort.abort();
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    box.focus();
  }
}

function onBoxKey(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  submit();
}

function onClick(event) {
  const button = event.target.closest("button[data-action]");
  if (button) actions[button.dataset.action](button, talk.turns.find((turn) => views.get(turn).node.contains(button)));
}

function onScroll() {
  const root = document.documentElement;
  follows = root.scrollHeight - innerHeight - scrollY < 80;
}

function listen() {
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  $("door").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!key.use($("key").value)) return;
    await start();
    if (!key.isWanted) box.focus();
  });
  $("stop").addEventListener("click", () => {
    abort?.abort();
    box.focus();
  });
  $("clear").addEventListener("click", clear);
  $("undo").addEventListener("click", undo);
  $("model").addEventListener("change", () => choose($("model").value).then(() => lamp.wake()));
  $("conversation").addEventListener("click", onClick);
  box.addEventListener("keydown", onBoxKey);
  box.addEventListener("input", () => {
    talk.draft = box.value;
    talk.saveSoon();
    grow();
    settle();
  });
  document.addEventListener("keydown", onKey);
  addEventListener("scroll", onScroll, { passive: true });
  addEventListener("pagehide", () => talk.save());
  talk.follow(() => {
    if (abort) return;
    talk.load();
    showAll();
  });
}

// --- models ----------------------------------------------------------------------------------------------------

async function findModels() {
  const listed = (await get("v1/models"))?.data;
  const found = listed?.filter(({ capabilities }) => capabilities.includes("completion")) ?? [];
  lamp.facts = Object.fromEntries(found.map(({ id, relight }) => [id, relight]));
  const known = found.find(({ id }) => id === talk.model) ?? found.find(({ relight }) => relight?.default) ?? found[0];
  $("model").replaceChildren(...found.map(({ id }) => new Option(id, id)));
  $("model").parentElement.hidden = found.length < 2;
  if (known) await choose(known.id);
  else await lamp.choose("", Boolean(listed));
}

function choose(model) {
  talk.model = $("model").value = model;
  talk.save();
  return lamp.choose(model);
}

async function start() {
  await findModels();
  if (lamp.model) lamp.wake();
}

key.changed = showDoor;
listen();
themeSwitch($("theme"));
box.value = talk.draft;
grow();
showAll();
scrollDown();
if (matchMedia("(pointer: fine)").matches) box.focus();
start();
