// Where packets to a client go, and why: what `cuberouted why` prints, for one address or name.
"use strict";

/**
 * GET /v1/why/TARGET; docs/schemas/why.json describes the fields.
 * @typedef {{target: string, reached: boolean, verdict: string, advice: string,
 *   addresses: WhyAddress[], matches: {address: string, name: string, node: string}[]}} Why
 * @typedef {{address: string, reached: boolean, verdict: string, advice: string, notes: string[],
 *   claims: object[], routes: object[], rules: string[], lookups: object[], peer: object | null,
 *   pings: object[]}} WhyAddress
 */

const OWNERS = /** @type {Record<string, string>} */ ({
  openvpn: "OpenVPN's, or another program's",
  kernel: "the kernel's own",
  foreign: "another program's",
});

const TRACES = /** @type {Record<string, string>} */ ({
  added: "added",
  moved: "moved here",
  adopted: "found at the start and kept",
  refused: "refused, because a foreign route is in the way",
  shadowed: "shadowed by a foreign route",
  removed: "removed",
});

class WhyDialog {
  /** @param {(path: string, signal: AbortSignal) => Promise<any>} get */
  constructor(get) {
    this.get = get;
    this.target = "";
    this.request = new AbortController();
    this.dialog = /** @type {HTMLDialogElement} */ (byId("why"));
    byId("why-close").addEventListener("click", () => this.dialog.close());
    byId("why-again").addEventListener("click", () => this.show(this.target));
    this.dialog.addEventListener("close", () => this.request.abort());
    this.dialog.addEventListener("click", (event) => {
      if (event.clientX < this.dialog.getBoundingClientRect().left) this.dialog.close();
    });
  }

  /** @param {string} target an address, a network or a name */
  async show(target) {
    this.request.abort();
    const request = (this.request = new AbortController());
    this.target = target;
    setText(byId("why-title"), `Where packets to ${target} go`);
    this.clear("asking ...");
    if (!this.dialog.open) this.dialog.showModal();
    try {
      const why = await this.get(`v1/why/${encodeURIComponent(target)}`, request.signal);
      if (!request.signal.aborted) this.fill(why);
    } catch (error) {
      if (!request.signal.aborted) this.clear(`no answer: ${error.message}`);
    }
  }

  /** @param {string} text instead of an answer */
  clear(text) {
    byId("why-verdict").className = "";
    byId("why-verdict").replaceChildren(text);
    byId("why-advice").replaceChildren();
    byId("why-details").replaceChildren();
  }

  /** @param {Why} why */
  fill(why) {
    const first = why.addresses[0] || why;
    fillVerdict(byId("why-verdict"), first);
    byId("why-advice").replaceChildren(...advice(first.advice));
    const details = why.addresses.flatMap((one, index) => [
      ...(index ? [make("h3", { class: "next" }, one.address), ...head(one)] : []),
      ...reasons(one),
    ]);
    byId("why-details").replaceChildren(...details, ...this.matches(why.matches));
  }

  matches(matches) {
    if (!matches.length) return [];
    const items = matches.map(({ address, name, node }) => {
      const button = make("button", { type: "button" }, name ? `${name} ${address}` : address);
      button.addEventListener("click", () => this.show(address));
      return make("li", {}, button, ` at ${node}`);
    });
    return [make("ul", {}, ...items)];
  }
}

function fillVerdict(element, { reached, verdict }) {
  const look = reached ? "ok" : "bad";
  element.className = `state ${look}`;
  element.replaceChildren(icon(look), make("span", {}, ...prose(verdict)));
}

/** Verdict and advice of a further address. */
function head(one) {
  const verdict = make("p");
  fillVerdict(verdict, one);
  return [verdict, make("p", {}, ...advice(one.advice))];
}

/** @param {string} text */
function advice(text) {
  return text ? [make("strong", {}, "to do: "), ...prose(text)] : [];
}

/** What a verdict rests on. @param {WhyAddress} one */
function reasons(one) {
  const judged = one.claims.some((claim) => claim.best);
  return [
    ...list("Notes", one.notes.map((note) => item(note))),
    ...list("Claims, the best first",
      one.claims.map((claim) => item(claimText(claim), claim.why, claim.best && "the best"))),
    ...list("The kernel's routes",
      one.routes.map((route) => item(route.text, whoseText(route), route.used && "used")), "none"),
    ...list("Policy rules, besides every host's own", one.rules.map((rule) => item(rule))),
    ...list("Where packets go", one.lookups.map((lookup) => lookupItem(lookup, judged))),
    ...list("The peer", one.peer ? [item(peerText(one.peer))] : []),
    ...list("Pings", one.pings.map((ping) => item(pingText(ping)))),
  ];
}

/**
 * A heading and its list; without items only if `otherwise` says what that means.
 * @param {string} title
 * @param {HTMLElement[]} items
 * @param {string} otherwise
 */
function list(title, items, otherwise = "") {
  if (!items.length && !otherwise) return [];
  return [make("h3", {}, title), make("ul", {}, ...(items.length ? items : [item(otherwise)]))];
}

/**
 * @param {string} text
 * @param {string} more a second line
 * @param {string | false} mark a word for what stands out
 */
function item(text, more = "", mark = false) {
  return make("li", mark ? { class: "marked" } : {}, ...prose(text),
    mark ? make("span", { class: "mark" }, mark) : null,
    more ? make("span", { class: "more" }, ...prose(more)) : null);
}

function claimText({ prefix, node, name, kind, source, since, confirmed, phase, priority }) {
  const place = ["local", "kernel"].includes(source) ? "here" : `at ${node}`;
  const what = { network: "network of ", service: "service " }[kind] || "";
  const whose = `${what}${name || "a client without a name"}`;
  const origins = { configured: "configured here", kernel: "found in the kernel at the start" };
  return [
    `${prefix} ${kind === "server" ? `the server ${node} itself` : `${whose} ${place}`}`,
    origins[source],
    phase && `${phase.replace("_", " ")}, priority ${priority}`,
    since && `since ${spokenTime(since)}`,
    since && !confirmed && "not listed there yet",
  ].filter(Boolean).join(", ");
}

function whoseText(route) {
  if (route.owner !== "cuberouted") return OWNERS[route.owner] || route.owner;
  const old = route.age === null ? "" : `, ${duration(route.age)} old`;
  const at = route.traced ? ` at ${spokenTime(route.traced)}` : "";
  return `cuberouted's${old}${route.trace && `; ${TRACES[route.trace] || route.trace}${at}`}`;
}

function lookupItem({ origin, source, text, right }, judged) {
  const from = origin ? `from ${source}, in on ${origin}` : "from this host";
  const wrong = judged && !right;
  const line = item(`${from}: ${wrong ? "WRONG: " : ""}${text}`);
  if (wrong) line.className = "bad";
  return line;
}

function peerText({ name, state, detail, last_heard: last, mgmt_ip: address, interface: tun }) {
  const known = last === null ? "never heard" : `heard ${heard(last)}`;
  return `peer ${name}: ${state}${detail && ` (${detail})`}, ${known}, at ${address} through ${tun}`;
}

function pingText({ address, interface: tun, size, sent, received, rtt, problem }) {
  const time = rtt === null ? "" : `, ${(rtt * 1000).toFixed(1)} ms`;
  return `${address} through ${tun}, ${size} bytes: `
    + (problem || `${received} of ${sent} answered${time}`);
}

/** @param {string} iso */
function spokenTime(iso) {
  return localTime(Date.parse(iso), Date.now()).filter(Boolean).join(" ");
}
