// What is wrong, in the sentences of `cuberouted status`. Pure.
"use strict";

const SILENT = 10; // seconds without a message, from when on the way may be why a peer is down

/** The icon and colour of each state; all others are bad. @type {Record<string, string>} */
const STATE_LOOKS = {
  up: "ok", running: "ok", connected: "ok",
  syncing: "wait", restarting: "wait", connecting: "wait",
  incompatible: "differ",
};

/** @param {string} state */
function lookOf(state) {
  return Object.hasOwn(STATE_LOOKS, state) ? STATE_LOOKS[state] : "bad";
}

/**
 * @param {Status} status
 * @returns {{problems: string[], warnings: string[]}}
 */
function findings(status) {
  const ill = status.openvpn.filter((one) => one.detail || one.state !== "connected");
  const down = status.peers.filter((peer) => peer.state !== "up");
  const late = status.peers.filter((peer) => peer.state === "up" && peer.detail);
  return {
    problems: [
      ...ill.map((one) => `${one.name}: ${sentence(one, openvpnAdvice(one))}`),
      ...down.map((peer) => `peer ${peer.known_as || peer.name}: ${sentence(peer, peerAdvice(peer))}`),
      ...status.problems,
    ],
    warnings: [
      ...late.map((peer) => `peer ${peer.known_as || peer.name}: ${peer.detail}`),
      ...status.warnings,
    ],
  };
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
  if (openvpn.state !== "waiting" || openvpn.detail.includes("OpenVPN")) return "";
  return "is OpenVPN running, and is this its management interface or status file?";
}

/** @param {PeerRow} peer */
function peerAdvice(peer) {
  if (peer.state === "down" && (peer.last_heard === null || peer.last_heard > SILENT))
    return "is the tunnel up, and cuberouted running there? `cuberouted check --peers` looks";
  return peer.state === "incompatible" ? "install the same version of cuberouted on both" : "";
}
