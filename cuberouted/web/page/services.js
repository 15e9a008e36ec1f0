// The shared services: which node has the address of each, and what the others are to it.
"use strict";

/** The looks of the phases that are no normal one. @type {Record<string, string>} */
const PHASE_LOOKS = {
  holding: "ok", adopted: "ok", standby: "info",
  claiming: "wait", acquiring: "wait", releasing: "wait",
  unfit: "bad", last_resort: "bad",
};

/** The phases as words where they are not. @type {Record<string, string>} */
const PHASE_WORDS = { holding: "has the address", adopted: "has the address since before a restart",
  last_resort: "has the address, as nobody else can" };

class Services {
  constructor() {
    this.table = /** @type {HTMLTableElement} */ (byId("services"));
    this.drawn = "";
  }

  /** @param {Mesh} mesh */
  draw(mesh) {
    const { services } = mesh;
    const now = Date.now();
    const drawn = JSON.stringify([services, new Date(now).toDateString()]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    this.table.hidden = !services.length;
    this.table.tBodies[0].replaceChildren(...services.map((service) => serviceRow(service, now)));
  }
}

/**
 * @param {ServiceRow} service
 * @param {number} now
 */
function serviceRow(service, now) {
  const { name, address, placement, holders, nodes } = service;
  const look = holders.length === 1 || (holders.length && placement === "nearest") ? "ok" : "bad";
  const since = nodes.filter((row) => holders.includes(row.node) && row.since);
  const first = since.map((row) => Date.parse(row.since)).sort((a, b) => a - b)[0];
  return make("tr", { "data-service": name },
    make("th", { scope: "row" }, make("span", { class: nameClass(name) }, name),
      make("span", { class: "more address" }, address)),
    make("td", {}, make("span", { class: `state ${look}` }, icon(look), holders.join(", ") || "nobody"),
      placement === "nearest" ? make("span", { class: "more" }, "nearest: several may have it") : null),
    make("td", {}, first ? timeLabel(first, now) : "-"),
    make("td", {}, make("ul", { class: "phases" }, ...nodes.map(phaseItem))));
}

/** @param {ServiceNodeRow} row */
function phaseItem({ node, phase, priority, why }) {
  const look = PHASE_LOOKS[phase] || "info";
  return make("li", {}, make("span", { class: nameClass(node) }, node), " ",
    make("span", { class: `state ${look}` }, icon(look), PHASE_WORDS[phase] || phase),
    make("span", { class: "more" }, `priority ${priority}${why && `; ${why}`}`));
}
