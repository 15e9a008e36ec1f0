// The table of clients: searched, sorted, and as many rows as somebody reads.
"use strict";

const COLUMNS = /** @type {[string, string][]} */ (
  [["name", "Name"], ["address", "Address"], ["node", "Node"], ["since", "Connected"]]);
const SHOWN = 50; // rows at first
const MORE = 500; // rows that the button adds
const KEY_STEPS = /** @type {Record<string, number>} */ (
  { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity });

class ClientTable {
  /**
   * @param {Mesh} mesh
   * @param {(target: string) => void} explain called with what somebody wants to know more of
   */
  constructor(mesh, explain) {
    this.mesh = mesh;
    this.explain = explain;
    this.node = "";
    this.order = "address";
    this.descending = false;
    this.limit = SHOWN;
    /** @type {Client[]} */ this.found = [];
    this.foundFor = "";
    /** @type {Map<string, {client: Client, fresh: boolean, row: HTMLTableRowElement}>} */
    this.rows = new Map();
    this.current = ""; // the address whose button the Tab key reaches
    this.search = /** @type {HTMLInputElement} */ (byId("search"));
    this.body = /** @type {HTMLTableElement} */ (byId("client-table")).tBodies[0];
    this.makeHeaders();
    this.listen();
  }

  makeHeaders() {
    this.headers = COLUMNS.map(([order, title]) => {
      const button = make("button", { type: "button" }, title);
      button.addEventListener("click", () => this.sortBy(order));
      const beside = order === "node" || order === "since";
      return make("th", { scope: "col", class: beside ? "beside" : "" }, button);
    });
    byId("client-table").tHead.rows[0].append(...this.headers);
  }

  listen() {
    this.search.addEventListener("input", () => this.restart());
    this.search.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown" && this.focusRow(0)) event.preventDefault();
      else if (event.key === "Escape" && this.search.value) {
        this.search.value = "";
        this.restart();
      }
    });
    byId("search-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.search.value.trim();
      if (text) this.explain(this.found.length === 1 ? this.found[0].address : text);
    });
    byId("more").addEventListener("click", () => {
      const first = Math.min(this.limit, this.found.length);
      this.limit += MORE;
      this.draw();
      this.focusRow(first);
    });
    this.body.addEventListener("click", (event) => {
      const row = /** @type {Element} */ (event.target).closest("tr");
      if (!row || String(getSelection())) return; // somebody selects text to copy it
      row.querySelector("button").focus();
      this.explain(row.dataset.address);
    });
    this.body.addEventListener("keydown", (event) => {
      if (!Object.hasOwn(KEY_STEPS, event.key)) return;
      event.preventDefault();
      const rows = [...this.body.rows];
      const index = rows.findIndex((row) => row.dataset.address === this.current);
      const next = Math.min(Math.max(index + KEY_STEPS[event.key], 0), rows.length - 1);
      if (event.key === "ArrowUp" && index === 0) this.search.focus();
      else this.focusRow(next);
    });
    this.body.addEventListener("focusin", (event) => {
      this.setCurrent(/** @type {Element} */ (event.target).closest("tr").dataset.address);
    });
  }

  /** @param {string} order */
  sortBy(order) {
    this.descending = order === this.order ? !this.descending : order === "since";
    this.order = order;
    this.restart();
  }

  /** @param {string} node only its clients; empty: those of all */
  showNode(node) {
    this.node = node;
    this.restart();
  }

  /** Show what is searched for now, from its beginning. */
  restart() {
    this.limit = SHOWN;
    this.current = "";
    byId("client-scroll").scrollTop = 0;
    this.draw();
  }

  draw() {
    const unnamed = this.mesh.unnamed;
    for (const id of ["search-form", "client-bar", "client-scroll"]) byId(id).hidden = Boolean(unnamed);
    byId("no-names").hidden = !unnamed;
    setText(byId("no-names"), unnamed);
    if (unnamed) return;
    this.find();
    this.drawRows(Date.now());
    this.drawAround();
  }

  find() {
    const text = this.search.value;
    const wanted = JSON.stringify([this.mesh.version, text, this.node, this.order, this.descending]);
    if (wanted === this.foundFor) return;
    this.foundFor = wanted;
    this.found = findClients(this.mesh.clients.values(), text, this.node);
    sortClients(this.found, this.order, this.descending);
  }

  drawRows(now) {
    const before = document.activeElement;
    const focused = this.body.contains(before);
    const index = [...this.body.rows].findIndex((row) => row.dataset.address === this.current);
    const old = this.rows;
    this.rows = new Map();
    this.fresh = false;
    for (const client of this.found.slice(0, this.limit)) {
      const fresh = Boolean(client.change) && now - client.changed < HIGHLIGHTED;
      const known = old.get(client.address);
      const same = known && known.client === client && known.fresh === fresh;
      this.rows.set(client.address, same ? known : { client, fresh, row: makeRow(client, fresh, now) });
      this.fresh ||= fresh;
    }
    arrange(this.body, [...this.rows.values()].map((entry) => entry.row));
    if (!this.rows.has(this.current)) {
      const rows = this.body.rows;
      const next = rows[Math.min(Math.max(index, 0), rows.length - 1)];
      this.current = next ? next.dataset.address : "";
    }
    this.setCurrent(this.current);
    if (focused && document.activeElement !== before) {
      if (this.current) this.button(this.current).focus({ preventScroll: true });
      else this.search.focus();
    }
  }

  drawAround() {
    COLUMNS.forEach(([order], index) => {
      const direction = this.descending ? "descending" : "ascending";
      this.headers[index].setAttribute("aria-sort", order === this.order ? direction : "none");
    });
    setText(byId("count"), this.countText());
    byId("every-node").hidden = !this.node;
    byId("hint").hidden = !this.found.length;
    /** @type {HTMLButtonElement} */ (byId("ask")).disabled = !this.search.value.trim();
    const hidden = this.found.length - this.rows.size;
    byId("more").hidden = hidden <= 0;
    setText(byId("more"), `Show ${Math.min(MORE, hidden)} more of ${hidden.toLocaleString("en")}`);
  }

  /** How many are found, and among which. */
  countText() {
    const all = this.mesh.clients.size;
    const where = this.node ? ` at ${this.node}` : "";
    if (!all) return this.mesh.status ? "no clients" : "";
    if (this.search.value.trim() || this.node)
      return `${this.found.length.toLocaleString("en")} of ${addresses(all)}${where}`;
    return addresses(all);
  }

  /** @param {string} address */
  button(address) {
    return this.rows.get(address).row.querySelector("button");
  }

  /** @param {string} address */
  setCurrent(address) {
    if (this.rows.has(this.current)) this.button(this.current).tabIndex = -1;
    this.current = address;
    if (this.rows.has(address)) this.button(address).tabIndex = 0;
  }

  /**
   * Focus the row at `index`; false if there is none.
   * @param {number} index
   */
  focusRow(index) {
    const row = this.body.rows[index];
    if (row) row.querySelector("button").focus();
    return Boolean(row);
  }
}

/** @param {number} number */
function addresses(number) {
  return number === 1 ? "1 address" : `${number.toLocaleString("en")} addresses`;
}

/**
 * An address that may be broken after a colon, as an IPv6 address on a phone.
 * @param {string} address
 */
function breakable(address) {
  return address.split(/(?<=:)/).flatMap((part, index) => (index ? [make("wbr"), part] : [part]));
}

/**
 * A row. On a phone, the node and the time stand below the name and the address.
 * @param {Client} client
 * @param {boolean} fresh its last change is shown
 * @param {number} now
 */
function makeRow(client, fresh, now) {
  const name = make("button", { type: "button", tabindex: "-1", class: nameClass(client.name) },
    client.name || "(no name)");
  const behind = client.kind === "network" ? make("span", { class: "more" }, "network behind it") : null;
  const node = () => [make("span", { class: nameClass(client.node) }, client.node),
    fresh ? make("span", { class: "change" }, ` ${client.change}`) : null];
  const since = () => (client.since ? timeLabel(client.since, now) : "-");
  return make("tr", { "data-address": client.address, class: fresh ? "fresh" : "" },
    make("th", { scope: "row" }, name, make("span", { class: "more below" }, ...node())),
    make("td", {}, make("span", { class: "address" }, ...breakable(client.address)), behind,
      make("span", { class: "more below" }, since())),
    make("td", { class: "node beside" }, ...node()),
    make("td", { class: "time beside" }, since()));
}
