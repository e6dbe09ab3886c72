// Makes the nodes that every view is built of. Text only ever becomes text nodes.

/** A node with a class and text. */
export function element(tag, className = "", text = "") {
  return Object.assign(document.createElement(tag), { className, textContent: text });
}

/** Have `node` say `text`. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A button that its view's click handler knows by its action. */
export function button(text, action) {
  const node = Object.assign(element("button", "quiet", text), { type: "button" });
  node.dataset.action = action;
  return node;
}

/** Code in a frame, with its language and a button that copies it. */
export function codeFigure(language, text, words = { code: "Code", copy: "Copy code" }) {
  const figure = element("figure", "code");
  const bar = element("figcaption", "", language || "text");
  const pre = Object.assign(element("pre"), { tabIndex: 0, role: "region", ariaLabel: `${words.code}, ${language || "text"}` });
  pre.append(element("code", "", text));
  bar.append(button(words.copy, "copyCode"));
  figure.append(bar, pre);
  figure.dir = "ltr";
  return figure;
}

/** Put `text` on the clipboard; where there is none (no secure origin), select `node`, so that one key press copies it. True when copied. */
export async function copyText(text, node) {
  const done = await navigator.clipboard.writeText(text).then(() => true, () => false);
  if (!done) getSelection().selectAllChildren(node);
  return done;
}
