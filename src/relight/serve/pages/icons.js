// Draws the signs on the assistant's buttons.

import { element } from "./node.js";

const SVG = "http://www.w3.org/2000/svg";
/** Strokes on a grid of 20. */
const ICONS = {
  bubble: "M5.5 3.5h9a2 2 0 0 1 2 2v6a2 2 0 0 1-2 2h-5L6 16.7v-3.2h-.5a2 2 0 0 1-2-2v-6a2 2 0 0 1 2-2z",
  close: "M5 5l10 10M15 5L5 15",
  copy: "M7.5 7.5h9v9h-9zM12.5 4.5v-1h-9v9h1",
  down: "M4.5 7.5l5.5 5.5 5.5-5.5",
  fresh: "M10 4v12M4 10h12",
  contrast: "M10 3.8a6.2 6.2 0 0 0 0 12.4M10 3.8a6.2 6.2 0 0 1 0 12.4zM10 6h2.6M10 8h4M10 10h4.4M10 12h4M10 14h2.6",
  retry: "M15.6 10.4a5.7 5.7 0 1 1-1.8-4.6L16 8M16 4v4h-4",
  send: "M10 16V4M5 9l5-5 5 5",
  stop: "M7.2 6h5.6A1.2 1.2 0 0 1 14 7.2v5.6a1.2 1.2 0 0 1-1.2 1.2H7.2A1.2 1.2 0 0 1 6 12.8V7.2A1.2 1.2 0 0 1 7.2 6z",
  thumb: "M6.7 9v7.3H4.4a.9.9 0 0 1-.9-.9V9.9a.9.9 0 0 1 .9-.9zM6.7 9l2.9-6c1.2 0 2 .9 2 2 0 .9-.3 1.9-.6 2.8h4.1c1 0 1.7.9 1.5 1.9l-1 5c-.2 1-1 1.6-1.9 1.6h-7",
};

/** A button that shows `icon` and is called `name`. */
export function iconButton(icon, name, className, action = "") {
  const node = Object.assign(element("button", className), { type: "button", title: name, ariaLabel: name });
  if (action) node.dataset.action = action;
  node.append(drawing(icon));
  return node;
}

/** One of `ICONS`. */
export function drawing(icon) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[icon]);
  svg.append(path);
  return svg;
}
