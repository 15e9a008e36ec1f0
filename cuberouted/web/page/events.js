// The last events, the newest first.
"use strict";

const SHOWN_EVENTS = 200;
const SEVERITIES = /** @type {Record<string, number>} */ ({ info: 1, warning: 2, error: 3 });
const LEVEL_LOOKS = /** @type {Record<string, string>} */ ({ warning: "warning", error: "bad" });

class EventList {
  /** @param {Mesh} mesh */
  constructor(mesh) {
    this.mesh = mesh;
    /** @type {Map<MeshEvent, HTMLElement>} */ this.items = new Map();
    this.list = byId("event-list");
    this.level = /** @type {HTMLSelectElement} */ (byId("level"));
    this.level.addEventListener("change", () => this.draw());
  }

  draw() {
    const wanted = SEVERITIES[this.level.value];
    const shown = this.mesh.events
      .filter((event) => (SEVERITIES[event.level] || 0) >= wanted)
      .slice(-SHOWN_EVENTS)
      .reverse();
    const old = this.items;
    this.items = new Map();
    for (const event of shown) this.items.set(event, old.get(event) || eventItem(event, Date.now()));
    arrange(this.list, [...this.items.values()]);
    const most = shown.length === SHOWN_EVENTS ? `the last ${SHOWN_EVENTS}` : "";
    setText(byId("event-count"), shown.length ? most : "none yet");
  }
}

/**
 * @param {MeshEvent} event
 * @param {number} now
 */
function eventItem(event, now) {
  const look = LEVEL_LOOKS[event.level] || "info";
  return make("li", { class: look }, timeLabel(Date.parse(event.time), now),
    make("span", { class: `state ${look}` }, icon(look), event.level),
    make("span", { class: "text" }, event.text));
}
