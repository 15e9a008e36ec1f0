// Which clients are shown, and in which order. Pure.
"use strict";

/** @type {Record<string, (client: Client) => string | number>} */
const ORDERS = {
  name: (client) => client.nameKey,
  address: (client) => client.key,
  node: (client) => client.node,
  since: (client) => client.since,
};

/**
 * The clients that match all words of `text`, as `cuberouted watch` does; a word that is a network,
 * or a whole address, finds also what lies in it and around it.
 * @param {Iterable<Client>} clients
 * @param {string} text
 * @param {string} node only of this one; empty: of all
 * @returns {Client[]}
 */
function findClients(clients, text, node) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = words.map((word) => ({ word, prefix: parsePrefix(word) }));
  const found = [];
  for (const client of clients) {
    if (node && client.node !== node) continue;
    if (wanted.every((one) => client.words.includes(one.word) || isRelated(one.prefix, client)))
      found.push(client);
  }
  return found;
}

/**
 * @param {Prefix | null} prefix
 * @param {Client} client
 */
function isRelated(prefix, client) {
  if (!prefix || !client.prefix) return false;
  return contains(prefix, client.prefix) || contains(client.prefix, prefix);
}

/**
 * Sort in place; what is equal, by address.
 * @param {Client[]} clients
 * @param {string} order a key of ORDERS
 * @param {boolean} descending
 */
function sortClients(clients, order, descending) {
  const key = ORDERS[order];
  const sign = descending ? -1 : 1;
  clients.sort((a, b) => {
    const one = key(a);
    const other = key(b);
    if (one === other) return a.key < b.key ? -1 : 1;
    return one < other ? -sign : sign;
  });
}
