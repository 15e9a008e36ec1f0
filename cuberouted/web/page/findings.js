// What is wrong, in the sentences of `cuberouted status`. Pure.
"use strict";

const SILENT = 10; // seconds without a message, from when on the way may be why a peer is down
const REACHED = ["it rejects us", "no handshake"]; // in the details of a peer to which there is a way

/** The icon and colour of each state; all others are bad. @type {Record<string, string>} */
const STATE_LOOKS = {
  up: "ok", running: "ok", connected: "ok",
  syncing: "wait", restarting: "wait", connecting: "wait", draining: "wait", maintenance: "wait",
  incompatible: "differ", standby: "info",
};

/** @param {string} state */
function lookOf(state) {
  return Object.hasOwn(STATE_LOOKS, state) ? STATE_LOOKS[state] : "bad";
}

/**
 * Whether a node has said that it takes no clients.
 * @param {Maintained} row
 */
function isAway({ maintenance }) {
  return maintenance === "draining" || maintenance === "maintenance";
}

/**
 * The word for the state of a node: that of its connection, if it takes clients.
 * @param {NodeRow} node
 */
function stateOf(node) {
  return isAway(node) && lookOf(node.state) === "ok" ? node.maintenance : node.state;
}

/**
 * "draining for 4 min (56 min left), by root: kernel update"; empty if the node takes clients.
 * @param {Maintained} row
 * @param {number} now milliseconds since 1970
 */
function maintenanceText(row, now) {
  if (!isAway(row)) return "";
  const { maintenance, since, until, by, reason } = row;
  const what = maintenance === "maintenance" ? "in maintenance" : maintenance;
  const lasted = since && ` for ${age((now - Date.parse(since)) / 1000)}`;
  const left = until && ` (${age((Date.parse(until) - now) / 1000)} left)`;
  return `${what}${lasted}${left}${by && `, by ${by}`}${reason && `: ${reason}`}`;
}

/**
 * @param {Status} status
 * @param {number} now milliseconds since 1970
 * @returns {{problems: string[], warnings: string[]}}
 */
function findings(status, now) {
  const ill = status.openvpn.filter((one) =>
    one.state !== "standby" && (one.detail || one.state !== "connected"));
  const down = status.peers.filter((peer) => peer.state !== "up");
  const away = maintenanceText(status, now);
  return {
    problems: [
      ...ill.map((one) => `${one.name}: ${sentence(one, openvpnAdvice(one))}`),
      ...down.map((peer) => `peer ${peer.known_as || peer.name}: ${sentence(peer, peerAdvice(peer))}`),
      ...status.problems,
    ],
    warnings: [
      ...(away ? [`this node is ${away}`] : []),
      ...status.peers.flatMap((peer) => peerWarnings(peer, now)),
      ...status.warnings,
    ],
  };
}

/**
 * @param {PeerRow} peer
 * @param {number} now
 */
function peerWarnings(peer, now) {
  const name = `peer ${peer.known_as || peer.name}`;
  const away = maintenanceText(peer, now);
  const late = peer.state === "up" && peer.detail;
  return [away && `${name} is ${away}`, late && `${name}: ${late}`].filter(Boolean);
}

/**
 * The last line of `cuberouted status`.
 * @param {{problems: string[], warnings: string[]}} found
 */
function verdictOf({ problems, warnings }) {
  const counts = [];
  if (problems.length) counts.push(plural(problems.length, "problem"));
  if (warnings.length) counts.push(plural(warnings.length, "warning"));
  return counts.join(", ") || "all is well";
}

/**
 * The first line of `cuberouted status`, without the node's name.
 * @param {Status} status
 */
function summaryOf(status) {
  const up = status.peers.filter((peer) => peer.state === "up").length;
  const here = status.openvpn.reduce((sum, one) => sum + one.clients, 0);
  return [
    `running ${duration(status.uptime)}`,
    `${plural(here, "client")} here`,
    `${up} of ${plural(status.peers.length, "peer")} up`,
    `${status.routes.installed.toLocaleString("en")} of ${plural(status.routes.desired, "route")}`,
  ].join(", ");
}

/**
 * @param {{state: string, detail: string}} row
 * @param {string} advice
 */
function sentence(row, advice) {
  const what = row.detail || row.state;
  return advice ? `${what}; ${advice}` : what;
}

/** @param {OpenVPNRow} openvpn */
function openvpnAdvice(openvpn) {
  if (openvpn.detail.includes("the password file")) return "`cuberouted check` looks why";
  if (openvpn.state !== "waiting" || openvpn.detail.includes("OpenVPN")) return "";
  return "is OpenVPN running, and is this its management interface or status file?";
}

/** @param {PeerRow} peer */
function peerAdvice(peer) {
  const silent = peer.last_heard === null || peer.last_heard > SILENT;
  if (peer.state === "down" && silent && REACHED.some((what) => peer.detail.includes(what)))
    return "`cuberouted check --peers` looks";
  if (peer.state === "down" && silent)
    return "is the tunnel up, and cuberouted running there? `cuberouted check --peers` looks";
  return peer.state === "incompatible" ? "install the same version of cuberouted on both" : "";
}
