// The connection to the daemon: a snapshot, then events; and both again when it is lost.
"use strict";

const FIRST_RETRY = 1000; // milliseconds until the next attempt; doubled up to LAST_RETRY
const LAST_RETRY = 30000;
const POLL = 10000; // between two looks at the state of peers and OpenVPN
const AT_ONCE = 100; // until a look after an event that may have changed it, and those with it
const SOON = 1000; // between two such looks
const SNAPSHOT_PAUSE = 3000; // between two snapshots at least, however often events are lost
const SHORT_REPLY = 10000; // within which a reply has to come
const LONG_REPLY = 60000; // the same for the lists of all clients and events
const NO_ANSWER = "the daemon does not answer";
const LATE_ANSWER = "the daemon does not answer in time";
const ANNOUNCED = new Set(["peer_state_changed", "openvpn_state_changed", "service_moved",
  "node_state_changed", "drain_finished"]);
const CLIENT_EVENTS = new Set(["client_joined", "client_moved", "client_renewed", "client_left"]);

/** A reply of the daemon that says why not. */
class Refused extends Error {
  /**
   * @param {number} status
   * @param {string} text
   */
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/**
 * GET `path`, which is relative: a proxy may have put us below another path.
 * @param {string} path
 * @param {AbortSignal} signal
 * @param {number} time milliseconds
 */
async function request(path, signal, time) {
  const reply = await fetch(path, { signal: AbortSignal.any([signal, AbortSignal.timeout(time)]) });
  if (reply.ok) return reply;
  const { error } = await reply.json().catch(() => ({}));
  throw new Refused(reply.status, error || `status ${reply.status}`);
}

/**
 * @param {string} path
 * @param {AbortSignal} signal
 */
async function getJson(path, signal, time = SHORT_REPLY) {
  return (await request(path, signal, time)).json();
}

class Feed {
  /**
   * @param {Mesh} mesh
   * @param {() => void} changed called after each change of the mesh, or of the connection
   * @param {(text: string) => void} announce called with what everybody should be told
   */
  constructor(mesh, changed, announce) {
    this.mesh = mesh;
    this.changed = changed;
    this.announce = announce;
    /** @type {"connecting" | "live" | "lost" | "hidden"} */ this.state = "connecting";
    this.why = "";
    this.asOf = 0; // when the mesh was as it is shown, milliseconds since 1970
    this.delay = FIRST_RETRY;
    this.stop = new AbortController();
    this.timers = { open: 0, retry: 0, settle: 0, poll: 0, snapshot: 0 };
    this.soon = false; // an event asks for a look; the next one is due within SOON
    this.polled = 0; // when the last poll began
    document.addEventListener("visibilitychange", () => (document.hidden ? this.hide() : this.open()));
  }

  /** Connect; what was known stays until the new snapshot is there. */
  open() {
    this.close();
    const stop = (this.stop = new AbortController());
    this.state = "connecting";
    this.changed();
    const source = new EventSource("events?level=info");
    stop.signal.addEventListener("abort", () => source.close());
    source.onopen = () => {
      clearTimeout(this.timers.open);
      this.takeSnapshot();
    };
    source.onmessage = ({ data }) => this.receive(JSON.parse(data));
    source.onerror = () => this.lose(NO_ANSWER);
    this.timers.open = setTimeout(() => this.lose(LATE_ANSWER), SHORT_REPLY);
  }

  close() {
    this.stop.abort();
    for (const timer of Object.values(this.timers)) clearTimeout(timer);
    this.timers.snapshot = 0;
    this.soon = false;
  }

  hide() {
    this.close();
    this.state = "hidden";
    this.changed();
  }

  /** @param {string} why */
  lose(why) {
    const was = this.state;
    this.close();
    this.state = "lost";
    this.why = why;
    this.timers.retry = setTimeout(() => this.open(), this.delay);
    this.delay = Math.min(2 * this.delay, LAST_RETRY);
    if (was === "live") this.announce("connection lost, trying again");
    this.changed();
  }

  async takeSnapshot() {
    const { signal } = this.stop;
    this.mesh.beginSnapshot();
    await this.guard(signal, async () => {
      const [clients, lines] = await Promise.all([
        this.getClients(signal),
        request(`v1/events?follow=0&level=info&after=${this.mesh.last}`, signal, LONG_REPLY)
          .then((reply) => reply.text()),
        this.getState(signal),
      ]);
      if (signal.aborted) return;
      const events = lines.split("\n").filter(Boolean).slice(-MAX_EVENTS);
      this.mesh.finishSnapshot(clients, events.map((line) => JSON.parse(line)));
      if (this.state !== "live" && this.why) this.announce("connected again");
      this.state = "live";
      this.why = "";
      this.timers.settle = setTimeout(() => (this.delay = FIRST_RETRY), POLL);
      this.pollIn(this.soon ? SOON : POLL); // a peer may have changed after the look at it
    });
  }

  /** The rows of all clients; null if the daemon does not serve them. */
  async getClients(signal) {
    try {
      const { clients } = await getJson("v1/clients", signal, LONG_REPLY);
      this.mesh.unnamed = "";
      return clients;
    } catch (error) {
      if (!(error instanceof Refused && error.status === 403)) throw error;
      this.mesh.unnamed = error.message;
      return null;
    }
  }

  async getState(signal) {
    const [status, { nodes }, { services }] = await Promise.all(
      ["v1/status", "v1/nodes", "v1/services"].map((path) => getJson(path, signal)));
    if (signal.aborted) return;
    this.mesh.status = status;
    this.mesh.nodes = nodes;
    this.mesh.services = services;
    this.asOf = Date.now();
    this.changed();
  }

  /** Do `work`; if it fails, the connection is lost. */
  async guard(signal, work) {
    try {
      await work();
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused) this.lose(error.message);
      else this.lose(error.name === "TimeoutError" ? LATE_ANSWER : NO_ANSWER);
    }
    this.changed();
  }

  /** @param {number} time milliseconds until peers and OpenVPN are looked at */
  pollIn(time) {
    const { signal } = this.stop;
    clearTimeout(this.timers.poll);
    this.timers.poll = setTimeout(() => {
      this.soon = false;
      this.polled = Date.now();
      this.guard(signal, async () => {
        await this.getState(signal);
        if (!signal.aborted && !this.soon) this.pollIn(POLL);
      });
    }, time);
  }

  /** @param {MeshEvent} event */
  receive(event) {
    this.mesh.receive(event, Date.now());
    this.asOf = Date.now();
    if (event.type === "events_lost") this.snapshotSoon();
    if (ANNOUNCED.has(event.type)) this.announce(event.text);
    if (!CLIENT_EVENTS.has(event.type) && !this.soon) {
      this.soon = true;
      if (this.state === "live") this.pollIn(Math.max(AT_ONCE, this.polled + SOON - Date.now()));
    }
    this.changed();
  }

  snapshotSoon() {
    if (this.timers.snapshot) return;
    this.timers.snapshot = setTimeout(() => {
      this.timers.snapshot = 0;
      if (this.mesh.late) this.snapshotSoon(); // one is still being made
      else this.takeSnapshot();
    }, SNAPSHOT_PAUSE);
  }
}
