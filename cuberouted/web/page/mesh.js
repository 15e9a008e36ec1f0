// What is known of the mesh: a snapshot, and the events since. Pure.
"use strict";

/**
 * Rows of GET /v1/status and /v1/nodes; docs/schemas/ describes their fields.
 * @typedef {{name: string, state: string, version: string | null, clients: number, detail: string,
 *   counted: number | null}} OpenVPNRow
 * @typedef {{name: string, state: string, clients: number, last_heard: number | null,
 *   detail: string, known_as: string} & Maintained} PeerRow
 * @typedef {{node: string, uptime: number, openvpn: OpenVPNRow[], peers: PeerRow[],
 *   routes: {desired: number, installed: number, conflicts: number}, problems: string[],
 *   warnings: string[], rejected_connections: number} & Maintained} Status
 * @typedef {{name: string, local: boolean, state: string, clients: number,
 *   last_heard: number | null, address: string | null, interface: string | null,
 *   encrypted: boolean | null} & Maintained} NodeRow
 */

/**
 * Whether a node takes clients: `maintenance` is active, draining or maintenance, or empty while
 * that is not known. The others are empty where there is nothing to tell; times are ISO 8601.
 * @typedef {{maintenance: string, by: string, since: string, until: string, reason: string}}
 *   Maintained
 */

/**
 * Rows of GET /v1/services: a service, and what each node is to it.
 * @typedef {{node: string, phase: string, priority: number, since: string, why: string}}
 *   ServiceNodeRow
 * @typedef {{name: string, address: string, placement: string, holders: string[], why: string,
 *   nodes: ServiceNodeRow[], problems: string[]}} ServiceRow
 */

/**
 * A line of /v1/events, and the data of an event of /events; docs/events.md has all types.
 * @typedef {{type: string, number: number, time: string, node: string, level: string, text: string,
 *   address?: string, client?: string, kind?: string, to_node?: string, from_node?: string,
 *   since?: number, found?: boolean}} MeshEvent
 */

/**
 * A client, or a network behind one. `since`: milliseconds since 1970, 0 if unknown. `change`: what
 * happened to it last, at `changed` (milliseconds); `words`: what a search goes through.
 * @typedef {{address: string, name: string, node: string, kind: string, since: number,
 *   prefix: Prefix | null, key: string, nameKey: string, words: string, change: string,
 *   changed: number}} Client
 */

const HIGHLIGHTED = 6000; // milliseconds for which a change of a client is shown
const MAX_EVENTS = 1000; // kept, so that there are some of each level

class Mesh {
  constructor() {
    /** @type {Status | null} */ this.status = null;
    /** @type {NodeRow[]} */ this.nodes = [];
    /** @type {ServiceRow[]} */ this.services = [];
    /** @type {Map<string, Client>} */ this.clients = new Map();
    /** @type {MeshEvent[]} the newest last */ this.events = [];
    /** Why names of clients are not served; empty if they are. */ this.unnamed = "";
    /** Grows with each change of the clients. */ this.version = 0;
    /** The number of the newest event, of this run of the daemon. */ this.last = 0;
    /** @type {Map<string, number[]>} by node: clients with an IPv4 and with an IPv6 address */
    this.counts = new Map();
    /** @type {MeshEvent[] | null} what came while a snapshot is being made */ this.late = null;
  }

  /** What is received from now on may be missing in the snapshot that is being made. */
  beginSnapshot() {
    this.late = [];
  }

  /**
   * Replace what was known. What has not changed keeps its highlight.
   * @param {object[] | null} rows of /v1/clients; null: they are not served
   * @param {MeshEvent[]} events that are kept, after the last one we know, the newest last
   */
  finishSnapshot(rows, events) {
    const late = this.late || [];
    const old = this.clients;
    this.late = null;
    this.clients = new Map();
    this.counts = new Map();
    for (const row of rows || []) {
      const before = old.get(row.address);
      const same = before !== undefined && before.node === row.node;
      this.put(makeClient(row, Date.parse(row.since) || 0, same ? before.change : "",
        same ? before.changed : 0));
    }
    if (events.length && events[0].number <= this.last) this.events = []; // of another run
    for (const event of events) this.keep(event);
    for (const event of late) {
      this.apply(event, Date.now());
      if (event.number > this.last) this.keep(event);
    }
    this.version += 1;
  }

  /**
   * Something has happened.
   * @param {MeshEvent} event
   * @param {number} now milliseconds since 1970
   */
  receive(event, now) {
    if (event.level === "debug") return;
    if (this.late) {
      this.late.push(event);
      return;
    }
    this.keep(event);
    this.apply(event, now);
  }

  /** @param {MeshEvent} event */
  keep(event) {
    this.last = event.number;
    this.events.push(event);
    if (this.events.length > 2 * MAX_EVENTS) this.events = this.events.slice(-MAX_EVENTS);
  }

  /**
   * Let the clients follow. An event that the snapshot has already changes nothing.
   * @param {MeshEvent} event
   * @param {number} now
   */
  apply(event, now) {
    let change;
    if (event.type === "client_left") {
      this.remove(event.address);
      return;
    } else if (event.type === "client_joined") change = event.found ? "found" : "joined";
    else if (event.type === "client_moved") change = `moved from ${event.from_node}`;
    else if (event.type === "client_renewed") change = "reconnected";
    else return;
    const row = { address: event.address, name: event.client, node: event.to_node, kind: event.kind };
    this.put(makeClient(row, event.since * 1000, change, now));
  }

  /** @param {Client} client */
  put(client) {
    const old = this.clients.get(client.address);
    if (old) this.count(old, -1);
    this.clients.set(client.address, client); // where the old one was: they stay nearly sorted
    this.count(client, 1);
    this.version += 1;
  }

  /** @param {string} address */
  remove(address) {
    const client = this.clients.get(address);
    if (!client) return;
    this.clients.delete(address);
    this.count(client, -1);
    this.version += 1;
  }

  /**
   * @param {Client} client
   * @param {number} step
   */
  count(client, step) {
    if (client.kind !== "client") return;
    const counts = this.counts.get(client.node) || [0, 0];
    counts[client.address.includes(":") ? 1 : 0] += step;
    this.counts.set(client.node, counts);
  }

  /**
   * The number of clients at a node; one with an IPv4 and an IPv6 address counts once.
   * @param {NodeRow} node
   */
  clientsAt(node) {
    return this.unnamed ? node.clients : Math.max(...(this.counts.get(node.name) || [0]));
  }
}

/**
 * @param {{address: string, name: string, node: string, kind: string}} row
 * @param {number} since
 * @param {string} change
 * @param {number} changed
 * @returns {Client}
 */
function makeClient({ address, name, node, kind }, since, change, changed) {
  const prefix = parsePrefix(address);
  return {
    address, name, node, kind, since, change, changed, prefix,
    key: prefix ? prefix.key : address,
    nameKey: name.toLowerCase().replace(/\d+/g, (digits) => digits.padStart(10, "0")),
    words: `${address} ${name} ${node}`.toLowerCase(),
  };
}
