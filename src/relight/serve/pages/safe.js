// Builds the nodes of an answer from the HTML that the server has sanitised. The browser's own parser never sees it: whatever a
// tag here is not known for is left out, whatever is no tag is text. So it holds under `require-trusted-types-for 'script'`, too.

/** Elements of an answer, with the attributes that each may have. `TAGS` in `assistant/markdown.py` is the same list. */
const ALLOWED = {
  p: {}, br: {}, hr: {}, strong: {}, em: {}, s: {}, pre: {}, blockquote: {}, ul: {}, li: {}, h3: {}, h4: {}, h5: {}, h6: {},
  table: {}, thead: {}, tbody: {}, tr: {},
  a: { href: isAddress },
  code: { class: (value) => /^language-[\w+#.-]{1,32}$/.test(value) },
  ol: { start: (value) => /^\d{1,9}$/.test(value) },
  th: { align: isSide },
  td: { align: isSide },
};
const EMPTY = new Set(["BR", "HR"]);
const PIECE = /<(?<close>\/?)(?<tag>[a-z][a-z0-9]*)(?<rest>(?: [a-z-]+="[^"]*")*) ?\/?>|<!--[^]*?-->|(?<text>[^<]+|<)/g;
const ATTRIBUTE = / ([a-z-]+)="([^"]*)"/g;
const NAMED = { amp: "&", lt: "<", gt: ">", quot: '"', nbsp: "\u00a0" };

/** A fragment with what `html` may show. */
export function build(html) {
  const root = document.createDocumentFragment();
  const open = [root];
  for (const { groups } of html.matchAll(PIECE)) {
    if (groups.text) open.at(-1).append(decoded(groups.text));
    else if (Object.hasOwn(ALLOWED, groups.tag ?? "")) groups.close ? end(open, groups.tag) : begin(open, groups.tag, groups.rest);
  }
  return root;
}

function begin(open, tag, rest) {
  const node = document.createElement(tag);
  for (const [, name, value] of rest.matchAll(ATTRIBUTE)) {
    const text = decoded(value);
    if (Object.hasOwn(ALLOWED[tag], name) && ALLOWED[tag][name](text)) node.setAttribute(name, text);
  }
  if (tag === "a") Object.assign(node, { target: "_blank", rel: "noopener nofollow" });
  open.at(-1).append(node);
  if (!EMPTY.has(node.tagName)) open.push(node);
}

function end(open, tag) {
  const at = open.findLastIndex((node) => node.localName === tag);
  if (at > 0) open.length = at;
}

function decoded(text) {
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]+));/gi, (whole, decimal, hex, name) => {
    if (name) return NAMED[name] ?? whole;
    const point = decimal ? Number(decimal) : Number.parseInt(hex, 16);
    return point <= 0x10ffff ? String.fromCodePoint(point) : whole;
  });
}

/** Whether a link may lead there. */
export function isAddress(value) {
  return URL.canParse(value) && /^(?:https?|mailto|tel):$/.test(new URL(value).protocol);
}

function isSide(value) {
  return /^(?:left|right|center)$/.test(value);
}
