// Puts the parts together: one state, one connection, and what is shown of them.
"use strict";

const DRAW_PAUSE = 250; // milliseconds between two drawings at least, however many events there are
const DRAW_SHARE = 4; // of the time, only one part in so many and one is spent on drawing

const mesh = new Mesh();
const why = new WhyDialog(getJson);
const clients = new ClientTable(mesh, (target) => why.show(target));
const picture = new Picture(/** @type {any} */ (byId("picture")), selectNode);
const nodes = new Nodes(selectNode);
const services = new Services();
const events = new EventList(mesh);
const feed = new Feed(mesh, drawSoon, (text) => (byId("announcer").textContent = text));
let nextDraw = 0;
let drawing = false;

/** Show only the clients of a node; of all if it was that one already. */
function selectNode(node) {
  if (mesh.unnamed) return;
  clients.showNode(clients.node === node ? "" : node);
  drawMesh();
}

function drawSoon() {
  if (drawing) return;
  drawing = true;
  setTimeout(() => requestAnimationFrame(draw), Math.max(0, nextDraw - Date.now()));
  drawConnection();
}

function draw() {
  const began = Date.now();
  drawing = false;
  drawMesh();
  clients.draw();
  events.draw();
  drawConnection();
  nextDraw = Date.now() + Math.max(DRAW_PAUSE, DRAW_SHARE * (Date.now() - began));
}

function drawMesh() {
  nodes.draw(mesh, clients.node);
  picture.draw(mesh, clients.node);
  services.draw(mesh);
}

const OLD = 5000; // milliseconds without a connection, after which what is shown is marked as old

const CONNECTIONS = {
  connecting: ["wait", "connecting"],
  live: ["ok", "live"],
  lost: ["bad", "not live"],
  hidden: ["wait", "not live"],
};

function drawConnection() {
  const [look, word] = CONNECTIONS[feed.state];
  const connection = byId("connection");
  if (connection.textContent !== word) {
    connection.className = `state ${look}`;
    connection.replaceChildren(icon(look), word);
  }
  const old = Boolean(mesh.status) && Date.now() - feed.asOf > OLD;
  const trouble = feed.state !== "live" && (Boolean(feed.why) || old);
  byId("trouble").hidden = !trouble;
  document.body.classList.toggle("stale", trouble && Boolean(mesh.status));
  const what = feed.why ? `Connection lost, trying again: ${feed.why}.` : "No connection yet.";
  setText(byId("trouble-what"), what);
  setText(byId("trouble-age"), shownAge());
  document.title = titleText(word);
}

/** How old what is shown is. */
function shownAge() {
  if (!feed.asOf) return "Nothing was received yet.";
  const clock = localTime(feed.asOf, Date.now()).filter(Boolean).join(" ");
  return `What you see is from ${clock}, ${age((Date.now() - feed.asOf) / 1000)} old.`;
}

/** @param {string} word the state of the connection */
function titleText(word) {
  if (!mesh.status) return `cuberouted: ${word}`;
  return `${mesh.status.node}: ${word === "live" ? verdictOf(findings(mesh.status, Date.now())) : word}`;
}

byId("every-node").addEventListener("click", () => {
  selectNode("");
  clients.search.focus();
});
byId("retry").addEventListener("click", () => feed.open());
document.addEventListener("keydown", (event) => {
  const typing = /** @type {Element} */ (event.target).closest("input, select, dialog");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  clients.search.focus();
});
new ResizeObserver(drawMesh).observe(byId("picture").parentElement);
setInterval(() => {
  if (feed.state === "lost" || feed.state === "connecting") drawConnection();
  if (clients.fresh) drawSoon();
}, 1000);
draw();
if (!document.hidden) feed.open();
