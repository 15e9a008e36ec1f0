// The state of the mesh in words and tables: what is wrong, the nodes, and OpenVPN on this one.
"use strict";

class Nodes {
  /** @param {(node: string) => void} select called with the name of a node that is chosen */
  constructor(select) {
    this.select = select;
    this.found = "";
  }

  /**
   * @param {Mesh} mesh
   * @param {string} selected
   */
  draw(mesh, selected) {
    const { status } = mesh;
    if (!status) return;
    setText(byId("node"), status.node);
    setText(byId("summary"), summaryOf(status));
    setText(byId("seen-by"), `as ${status.node} sees it`);
    this.drawFindings(status);
    this.drawNodes(mesh, selected);
    byId("openvpn").tBodies[0].replaceChildren(...status.openvpn.map(openvpnRow));
  }

  drawFindings(status) {
    const found = findings(status, Date.now());
    const rejected = status.rejected_connections;
    const text = JSON.stringify([found, rejected]);
    if (text === this.found) return;
    this.found = text;
    const look = found.problems.length ? "bad" : found.warnings.length ? "warning" : "ok";
    byId("verdict").className = `state ${look}`;
    byId("verdict").replaceChildren(icon(look), verdictOf(found));
    byId("findings").replaceChildren(
      ...found.problems.map((text) => finding("problem", "bad", text)),
      ...found.warnings.map((text) => finding("warning", "warning", text)),
      ...(rejected ? [make("li", {}, `${plural(rejected, "connection")} rejected since the start`)] : []),
    );
  }

  drawNodes(mesh, selected) {
    const body = byId("nodes").tBodies[0];
    const names = [...body.rows].map((row) => row.dataset.node);
    if (JSON.stringify(names) !== JSON.stringify(mesh.nodes.map((node) => node.name)))
      body.replaceChildren(...mesh.nodes.map((node) => this.nodeRow(node)));
    mesh.nodes.forEach((node, index) => {
      const [name, state, clients, last, way] = body.rows[index].cells;
      const button = /** @type {HTMLButtonElement} */ (name.firstElementChild);
      button.setAttribute("aria-pressed", String(node.name === selected));
      button.disabled = Boolean(mesh.unnamed);
      way.textContent = wayTo(node);
      const away = maintenanceText(node, Date.now());
      state.replaceChildren(stateLabel(stateOf(node)), make("span", { class: "more" }, away));
      clients.textContent = mesh.clientsAt(node).toLocaleString("en");
      last.textContent = node.local ? "-" : heard(node.last_heard);
      name.lastElementChild.textContent = node.local ? way.textContent
        : `${way.textContent}, heard ${last.textContent}`;
    });
  }

  /** A row whose button keeps the focus while the rest changes. On a phone, what has no room
   * beside the name stands below it. */
  nodeRow(node) {
    const title = "Show only the clients of this node";
    const button = make("button", { type: "button", title, class: nameClass(node.name) }, node.name);
    button.addEventListener("click", () => this.select(node.name));
    const name = make("th", { scope: "row" }, button, make("span", { class: "more way" }));
    return make("tr", { "data-node": node.name }, name, make("td"), make("td", { class: "number" }),
      make("td", { class: "heard" }), make("td", { class: "way" }));
  }
}

/** The tunnel to a node. @param {NodeRow} node */
function wayTo(node) {
  if (node.local) return "this node";
  return `${node.address} on ${node.interface}${node.encrypted ? ", encrypted" : ""}`;
}

/** @param {OpenVPNRow} openvpn */
function openvpnRow(openvpn) {
  const { clients, counted } = openvpn;
  const of = counted === null || counted <= clients ? "" : ` of ${counted.toLocaleString("en")}`;
  const shared = `${clients.toLocaleString("en")}${of}`;
  return make("tr", {}, make("th", { scope: "row" }, openvpn.name),
    make("td", {}, stateLabel(openvpn.state),
      make("span", { class: "more" }, openvpn.state === "standby" ? openvpn.detail : "")),
    make("td", { class: "number" }, shared),
    make("td", {}, openvpn.version || "-"));
}

function finding(word, look, text) {
  return make("li", {}, make("span", { class: `state ${look}` }, icon(look), `${word}:`),
    make("span", {}, ...prose(text)));
}
