// Turns an answer's Markdown into DOM nodes. Text only ever becomes text nodes; nothing here parses HTML.

import { codeFigure, element } from "./node.js";

const FENCE = /^\s*(`{3,}|~{3,})\s*([\w+#.-]*)[^`]*$/;
const HEADING = /^(#{1,6})\s+(.*?)\s*#*$/;
const BULLET = /^(\s*)(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/;
const INLINE = new RegExp(
  [
    "(?<tick>`+)(?<code>[^`](?:[^]*?[^`])?)\\k<tick>(?!`)",
    "\\*\\*(?=\\S)(?<bold>[^]*?\\S)\\*\\*",
    "(?<![\\w*])(?<mark>[*_])(?=[^\\s*_])(?<soft>[^*_\\n]*?\\S)\\k<mark>(?![\\w*])",
    "\\[(?<label>[^\\]\\n]+)\\]\\((?<href>https?://[^\\s)]+)\\)",
    "(?<bare>https?://[^\\s<>()\\[\\]\"'`*]*[^\\s<>()\\[\\]\"'`*.,;:!?])",
  ].join("|"),
  "g",
);

/** Bring `container` to show `text`; blocks that did not change keep their nodes, so a selection survives streaming. */
export function render(container, text) {
  const wanted = blocks(text);
  wanted.forEach((block, index) => {
    const old = container.children[index];
    if (old?.source === block.source) return;
    if (block.kind === "code" && old?.kind === "code" && old.language === block.language) {
      old.querySelector("code").textContent = block.text;
      old.source = block.source;
      return;
    }
    const node = build(block);
    Object.assign(node, { kind: block.kind, source: block.source, language: block.language });
    old ? old.replaceWith(node) : container.append(node);
  });
  while (container.children.length > wanted.length) container.lastChild.remove();
}

function blocks(text) {
  const lines = text.replaceAll("\r\n", "\n").split("\n");
  const found = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) at += 1;
    else {
      const block = take(lines, at);
      block.source = `${block.kind}:${lines.slice(at, block.end).join("\n")}`;
      found.push(block);
      at = block.end;
    }
  }
  return found;
}

function take(lines, at) {
  const line = lines[at];
  if (FENCE.test(line)) return takeCode(lines, at);
  if (HEADING.test(line)) return { kind: "heading", text: HEADING.exec(line)[2], end: at + 1 };
  if (BULLET.test(line)) return takeList(lines, at);
  let end = at + 1;
  while (end < lines.length && lines[end].trim() && ![FENCE, HEADING, BULLET].some((start) => start.test(lines[end]))) end += 1;
  return { kind: "paragraph", text: lines.slice(at, end).join("\n"), end };
}

function takeCode(lines, at) {
  const [, fence, language] = FENCE.exec(lines[at]);
  let end = at + 1;
  while (end < lines.length && !(lines[end].trim().startsWith(fence) && !lines[end].trim().slice(fence.length).trim())) end += 1;
  return { kind: "code", language, text: lines.slice(at + 1, end).join("\n"), end: Math.min(end + 1, lines.length) };
}

function takeList(lines, at) {
  const items = [];
  let end = at;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    const bullet = BULLET.exec(line);
    if (bullet) items.push({ depth: bullet[1].replaceAll("\t", "    ").length, number: bullet[2], text: bullet[3] });
    else if (!line.trim()) {
      if (!BULLET.test(lines[end + 1] ?? "")) break;
    } else if (/^\s/.test(line) && !FENCE.test(line)) items.at(-1).text += `\n${line.trim()}`;
    else break;
  }
  return { kind: "list", items, end };
}

function build(block) {
  if (block.kind === "code") return codeFigure(block.language, block.text);
  if (block.kind === "list") return buildList(block.items);
  return inline(element(block.kind === "heading" ? "h3" : "p"), block.text);
}

function buildList(items) {
  const list = element(items[0].number ? "ol" : "ul");
  if (items[0].number) list.start = Number(items[0].number);
  const depth = items[0].depth;
  for (let at = 0; at < items.length; ) {
    let next = at + 1;
    while (next < items.length && items[next].depth > depth + 1) next += 1;
    const item = inline(element("li"), items[at].text);
    if (next > at + 1) item.append(buildList(items.slice(at + 1, next)));
    list.append(item);
    at = next;
  }
  return list;
}

function inline(parent, text) {
  let from = 0;
  for (const match of text.matchAll(INLINE)) {
    parent.append(text.slice(from, match.index), piece(match.groups, match[0]));
    from = match.index + match[0].length;
  }
  parent.append(text.slice(from));
  return parent;
}

function piece({ code, bold, soft, label, href, bare }, whole) {
  if (code !== undefined) return element("code", "", code.replace(/^ (.+) $/s, "$1"));
  if (bold !== undefined) return inline(element("strong"), bold);
  if (soft !== undefined) return inline(element("em"), soft);
  return link(href ?? bare, label ?? bare) ?? document.createTextNode(whole);
}

function link(address, label) {
  if (!URL.canParse(address) || !/^https?:$/.test(new URL(address).protocol)) return null;
  return Object.assign(element("a", "", label), { href: address, rel: "noopener noreferrer", target: "_blank" });
}
