// Makes elements. Data becomes text and attributes, never markup.
"use strict";

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} id */
function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/**
 * An HTML element. `null` and empty strings among the children are left out.
 * @param {string} tag
 * @param {Record<string, string>} attributes
 * @param {...(Node | string | null)} children
 */
function make(tag, attributes = {}, ...children) {
  return equip(document.createElement(tag), attributes, children);
}

/**
 * An SVG element.
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {...(Node | string | null)} children
 */
function makeSvg(tag, attributes = {}, ...children) {
  return equip(document.createElementNS(SVG, tag), attributes, children);
}

function equip(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

const LONG_NAME = 24; // letters, above which a name may be broken anywhere

/**
 * The class of a name: on how many lines it may stand.
 * @param {string} name
 */
function nameClass(name) {
  return name.length > LONG_NAME ? "long" : "short";
}

/** @param {string} name of a symbol in index.html, without "i-" */
function icon(name) {
  const use = makeSvg("use", { href: `#i-${name}` });
  return makeSvg("svg", { class: "icon", "aria-hidden": "true" }, use);
}

/**
 * A state with its icon and colour.
 * @param {string} state
 */
function stateLabel(state) {
  const look = lookOf(state);
  return make("span", { class: `state ${look}` }, icon(look), state);
}

/**
 * Text in which `commands` in backticks are code.
 * @param {string} text
 * @returns {(Node | string)[]}
 */
function prose(text) {
  const parts = text.split("`");
  if (parts.length % 2 === 0) return [text];
  return parts.map((part, index) => (index % 2 ? make("code", {}, part) : part));
}

/**
 * A local time, with the same in UTC as its title.
 * @param {number} time milliseconds since 1970
 * @param {number} now
 */
function timeLabel(time, now) {
  const [date, clock] = localTime(time, now);
  const attributes = { datetime: new Date(time).toISOString(), title: utcTime(time) };
  const day = date ? make("span", {}, date) : null;
  return make("time", attributes, day, date ? " " : null, make("span", {}, clock));
}

/**
 * Make these the children of `parent`, in this order. Those that stay where they are, are not
 * touched, so that they keep the focus.
 * @param {Element} parent
 * @param {Element[]} elements
 */
function arrange(parent, elements) {
  const wanted = new Set(elements);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let at = parent.firstElementChild;
  for (const element of elements) {
    if (element === at) at = at.nextElementSibling;
    else parent.insertBefore(element, at);
  }
}

/**
 * Set a text, unless it is there already: a screen reader would read it again.
 * @param {Element} element
 * @param {string} text
 */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
