// The mesh as a picture: this node, its peers beside it, and the tunnels between them.
"use strict";

const ROW = 76; // pixels between the middles of two peers
const BOX = 60; // height of a peer
const LINE = 16; // height of a line of text in a box
const MAX_BOX_WIDTH = 220;
const TWO_SIDES = 520; // from this width on, there are peers on both sides
const TUNNEL = [0, 44, 70]; // width of a tunnel at least, with peers on one side and on two

class Picture {
  /**
   * @param {SVGSVGElement} svg
   * @param {(node: string) => void} select called with the name of a node that is clicked
   */
  constructor(svg, select) {
    this.svg = svg;
    this.drawn = "";
    /** @type {Map<string, Element>} the text with the number of clients, by node */
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
    const states = mesh.nodes.map(({ name, state }) => [name, state]);
    const drawn = JSON.stringify([width, selected, openvpn, states]);
    if (drawn !== this.drawn) {
      this.drawn = drawn;
      this.numbers.clear();
      this.svg.setAttribute("aria-label", describe(here.name, peers));
      this.build(width, here, openvpn, peers, selected);
    }
    for (const node of mesh.nodes) {
      setText(this.numbers.get(node.name), plural(mesh.clientsAt(node), "client"));
    }
  }

  build(width, here, openvpn, peers, selected) {
    const sides = width >= TWO_SIDES && peers.length > 1 ? 2 : 1;
    const boxWidth = Math.min(MAX_BOX_WIDTH, (width - TUNNEL[sides] * sides) / (sides + 1));
    const hereHeight = BOX + LINE * openvpn.length;
    const rows = Math.ceil(peers.length / sides);
    const height = Math.max(rows * ROW, hereHeight + 16);
    const middle = height / 2;
    const hereX = sides === 2 ? (width - boxWidth) / 2 : 1;
    const lines = [];
    const boxes = [];
    peers.forEach((peer, index) => {
      // in reading order: the left one, and then the right one of each row
      const left = sides === 2 && index % 2 === 0;
      const count = sides === 1 || left ? rows : Math.floor(peers.length / 2);
      const y = middle + (Math.floor(index / sides) - (count - 1) / 2) * ROW;
      const start = left ? hereX : hereX + boxWidth;
      const end = left ? boxWidth + 1 : width - boxWidth - 1;
      lines.push(tunnel(peer.state, start, middle, end, y));
      boxes.push(this.peerBox(peer, left ? 1 : end, y - BOX / 2, boxWidth, selected));
    });
    boxes.push(
      this.hereBox(here, openvpn, hereX, middle - hereHeight / 2, boxWidth, hereHeight, selected));
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("height", String(height));
    this.svg.replaceChildren(...lines, ...boxes);
  }

  peerBox(peer, x, y, width, selected) {
    const look = lookOf(peer.state);
    return this.box(peer.name, x, y, width, BOX, look, selected, [
      this.text("name", peer.name, width - 20),
      stateText(peer.state, peer.state),
      this.number(peer.name),
    ]);
  }

  hereBox(here, openvpn, x, y, width, height, selected) {
    return this.box(here.name, x, y, width, height, "here", selected, [
      this.text("name", here.name, width - 20),
      this.text("", "this node", width - 20),
      this.number(here.name),
      ...openvpn.map(([name, state]) => {
        const rest = width - 34 - this.measure(` ${state}`, false);
        return stateText(state, `${this.fit(name, rest, false)} ${state}`);
      }),
    ]);
  }

  box(name, x, y, width, height, look, selected, lines) {
    const chosen = name === selected ? " selected" : "";
    const rect = makeSvg("rect", { x, y, width, height, rx: 6 });
    lines.forEach((line, index) => {
      line.setAttribute("transform", `translate(${x + 10} ${y + 19 + index * LINE})`);
    });
    const title = makeSvg("title", {}, `${name}: click to show only its clients`);
    return makeSvg("g", { class: `box ${look}${chosen}`, "data-node": name }, title, rect, ...lines);
  }

  number(name) {
    const text = makeSvg("text", {});
    this.numbers.set(name, text);
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

/** A state with its icon, as a line in a box. */
function stateText(state, text) {
  const look = lookOf(state);
  return makeSvg("g", { class: `state ${look}` },
    makeSvg("use", { class: "icon", href: `#i-${look}`, x: 0, y: -11, width: 13, height: 13 }),
    makeSvg("text", { x: 18 }, text));
}

/** A tunnel from this node to a peer: the pattern, the icon and the colour are its state. */
function tunnel(state, x1, y1, x2, y2) {
  const bend = (x2 - x1) / 2;
  const path = `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
  const look = lookOf(state);
  const [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2];
  return makeSvg("g", { class: `tunnel ${look} state-${state}` },
    makeSvg("path", { d: path }),
    makeSvg("circle", { cx: x, cy: y, r: 10 }),
    makeSvg("use", { class: "icon", href: `#i-${look}`, x: x - 6.5, y: y - 6.5, width: 13, height: 13 }));
}

/** What the picture shows, in words. The table of nodes has the rest. */
function describe(here, peers) {
  const tunnels = peers.map((peer) => `${peer.name} ${peer.state}`).join(", ");
  return `${here} and its tunnels to ${plural(peers.length, "peer")}${tunnels && `: ${tunnels}`}`;
}
