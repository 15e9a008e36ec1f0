// The mesh as a picture: this node, its peers, and the tunnels between them.
"use strict";

const LINE = 16; // pixels: the height of a line of text in a box
const EDGES = 12; // above and below the lines of a box
const GAP = 14; // between two boxes
const MAX_BOX_WIDTH = 220;
const TUNNEL = 65; // the width of a tunnel at least
const BESIDE = 520; // from this width on, the peers are beside this node; else below it
const BRANCH = 44; // the width of a tunnel to a peer below
const MANY = 8; // peers, above which their boxes have two lines instead of three

/**
 * `icon`: the middle of what shows a tunnel's state. `trunk`: what tunnels have in common.
 * @typedef {{x: number, y: number, width: number, height: number}} Rect
 * @typedef {{height: number, here: Rect, peers: Rect[], trunk: string,
 *   tunnels: {path: string, icon: [number, number]}[]}} Layout
 */

/**
 * Where everything is, in `width` pixels.
 * @param {number} width
 * @param {number} count of peers
 * @param {number} processes of OpenVPN on this node
 * @returns {Layout}
 */
function layOut(width, count, processes) {
  const peerHeight = EDGES + LINE * (count > MANY ? 2 : 3);
  const hereHeight = EDGES + LINE * (3 + processes);
  const place = width < BESIDE ? layOutBelow : layOutBeside;
  return place(width, count, hereHeight, peerHeight);
}

/** Peers on both sides, in reading order. @returns {Layout} */
function layOutBeside(width, count, hereHeight, peerHeight) {
  const sides = count > 1 ? 2 : 1;
  const boxWidth = Math.min(MAX_BOX_WIDTH, (width - 2 - TUNNEL * sides) / (sides + 1));
  const row = peerHeight + GAP;
  const rows = Math.ceil(count / sides);
  const height = Math.max(rows * row, hereHeight + GAP);
  const middle = height / 2;
  const hereX = sides === 2 ? (width - boxWidth) / 2 : 1;
  const here = { x: hereX, y: middle - hereHeight / 2, width: boxWidth, height: hereHeight };
  const peers = [];
  const tunnels = [];
  for (let index = 0; index < count; index += 1) {
    const left = sides === 2 && index % 2 === 0;
    const inColumn = sides === 1 || left ? rows : Math.floor(count / 2);
    const y = middle + (Math.floor(index / sides) - (inColumn - 1) / 2) * row;
    const start = left ? hereX : hereX + boxWidth;
    const end = left ? 1 + boxWidth : width - boxWidth - 1;
    const straight = end + (left ? 24 : -24); // before it, the tunnel is bent
    const bend = (start + straight) / 2;
    peers.push({ x: left ? 1 : end, y: y - peerHeight / 2, width: boxWidth, height: peerHeight });
    tunnels.push({
      path: `M${start} ${middle}C${bend} ${middle} ${bend} ${y} ${straight} ${y}H${end}`,
      icon: /** @type {[number, number]} */ ([straight, y]),
    });
  }
  return { height, here, peers, trunk: "", tunnels };
}

/** Peers below this node, one below the other. @returns {Layout} */
function layOutBelow(width, count, hereHeight, peerHeight) {
  const here = { x: 1, y: 1, width: width - 2, height: hereHeight };
  const trunkX = 16;
  const peers = [];
  const tunnels = [];
  let y = 1 + hereHeight;
  for (let index = 0; index < count; index += 1) {
    y += GAP;
    const x = trunkX + BRANCH;
    const middle = y + peerHeight / 2;
    peers.push({ x, y, width: width - x - 1, height: peerHeight });
    tunnels.push({ path: `M${trunkX} ${middle}H${x}`, icon: [trunkX + BRANCH / 2, middle] });
    y += peerHeight;
  }
  const trunk = count ? `M${trunkX} ${1 + hereHeight}V${y - peerHeight / 2}` : "";
  return { height: y + 1, here, peers, trunk, tunnels };
}

class Picture {
  /**
   * @param {SVGSVGElement} svg
   * @param {(node: string) => void} select called with the name of a node that is clicked
   */
  constructor(svg, select) {
    this.svg = svg;
    this.drawn = "";
    /** @type {Map<string, {text: Element, room: number}>} the number of clients, by node */
    this.numbers = new Map();
    this.canvas = document.createElement("canvas").getContext("2d");
    svg.addEventListener("click", (event) => {
      const box = /** @type {Element} */ (event.target).closest("[data-node]");
      if (box) select(box.getAttribute("data-node"));
    });
  }

  /**
   * @param {Mesh} mesh
   * @param {string} selected the node whose clients are shown; empty: all
   */
  draw(mesh, selected) {
    const width = this.svg.parentElement.clientWidth;
    const here = mesh.nodes.find((node) => node.local);
    if (!here || !width || !mesh.status) return;
    const peers = mesh.nodes.filter((node) => !node.local);
    const openvpn = mesh.status.openvpn.map(({ name, state }) => [name, state]);
    const states = mesh.nodes.map((node) => [node.name, node.state, stateOf(node)]);
    const drawn = JSON.stringify([width, selected, openvpn, states]);
    if (drawn !== this.drawn) {
      this.drawn = drawn;
      this.numbers.clear();
      this.svg.setAttribute("aria-label", describe(here.name, peers));
      this.build(width, here, openvpn, peers, selected);
    }
    for (const node of mesh.nodes) {
      const { text, room } = this.numbers.get(node.name);
      const words = plural(mesh.clientsAt(node), "client");
      setText(text, this.measure(words, false) <= room ? words : words.split(" ")[0]);
    }
  }

  build(width, here, openvpn, peers, selected) {
    const layout = layOut(width, peers.length, openvpn.length);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${layout.height}`);
    this.svg.setAttribute("height", String(layout.height));
    this.svg.replaceChildren(
      makeSvg("path", { class: "trunk", d: layout.trunk }),
      ...peers.map((peer, index) => tunnel(peer.state, layout.tunnels[index])),
      ...peers.map((peer, index) => this.peerBox(peer, layout.peers[index], selected)),
      this.hereBox(here, openvpn, layout.here, selected),
    );
  }

  peerBox(peer, rect, selected) {
    const shown = stateOf(peer);
    const state = stateText(shown, shown);
    const lines = [this.text("name", peer.name, rect.width - 20), state];
    if (rect.height > EDGES + 2 * LINE) lines.push(this.number(peer.name, 0, rect.width - 20));
    else {
      const x = 26 + this.measure(shown, false);
      state.append(this.number(peer.name, x, rect.width - x - 16));
    }
    return box(peer.name, rect, lookOf(shown), selected, lines);
  }

  hereBox(here, openvpn, rect, selected) {
    return box(here.name, rect, "here", selected, [
      this.text("name", here.name, rect.width - 20),
      isAway(here) ? stateText(here.maintenance, here.maintenance)
        : this.text("", "this node", rect.width - 20),
      this.number(here.name, 0, rect.width - 20),
      ...openvpn.map(([name, state]) => {
        const rest = rect.width - 34 - this.measure(` ${state}`, false);
        return stateText(state, `${this.fit(name, rest, false)} ${state}`);
      }),
    ]);
  }

  number(name, x, room) {
    const text = makeSvg("text", { class: "number", x });
    this.numbers.set(name, { text, room });
    return text;
  }

  text(kind, text, width) {
    return makeSvg("text", { class: kind }, this.fit(text, width, kind === "name"));
  }

  /** A text without its middle, if it is wider than `width` pixels: names differ at their ends. */
  fit(text, width, bold) {
    const letters = [...text];
    let kept = letters.length;
    let shown = text;
    while (kept > 2 && this.measure(shown, bold) > width) {
      kept -= 1;
      const end = Math.floor(kept / 2);
      shown = `${letters.slice(0, kept - end).join("")}…${letters.slice(-end).join("")}`;
    }
    return shown;
  }

  measure(text, bold) {
    this.canvas.font = `${bold ? "600 14px" : "13px"} ${getComputedStyle(this.svg).fontFamily}`;
    return this.canvas.measureText(text).width;
  }
}

/** A node with its lines of text. */
function box(name, { x, y, width, height }, look, selected, lines) {
  const chosen = name === selected ? " selected" : "";
  const rect = makeSvg("rect", { x, y, width, height, rx: 6 });
  lines.forEach((line, index) => {
    line.setAttribute("transform", `translate(${x + 10} ${y + 18 + index * LINE})`);
  });
  const title = makeSvg("title", {}, `${name}: click to show only its clients`);
  return makeSvg("g", { class: `box ${look}${chosen}`, "data-node": name }, title, rect, ...lines);
}

/** A state with its icon, as a line in a box. */
function stateText(state, text) {
  const look = lookOf(state);
  return makeSvg("g", { class: `state ${look}` },
    makeSvg("use", { class: "icon", href: `#i-${look}`, x: 0, y: -11, width: 13, height: 13 }),
    makeSvg("text", { x: 18 }, text));
}

/** A tunnel to a peer: the pattern, the icon and the colour are its state. */
function tunnel(state, { path, icon: [x, y] }) {
  const look = lookOf(state);
  const href = `#i-${look}`;
  return makeSvg("g", { class: `tunnel ${look} state-${state}` },
    makeSvg("path", { d: path }),
    makeSvg("circle", { cx: x, cy: y, r: 10 }),
    makeSvg("use", { class: "icon", href, x: x - 6.5, y: y - 6.5, width: 13, height: 13 }));
}

/** What the picture shows, in words. The table of nodes has the rest. */
function describe(here, peers) {
  const tunnels = peers.map((peer) => `${peer.name} ${stateOf(peer)}`).join(", ");
  return `${here} and its tunnels to ${plural(peers.length, "peer")}${tunnels && `: ${tunnels}`}`;
}
