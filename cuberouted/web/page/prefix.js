// Addresses and networks, so that they can be sorted, and found by a network. Pure.
"use strict";

/**
 * `key`: orders prefixes by family, then numerically. `digits`: the address in hexadecimal.
 * @typedef {{digits: string, length: number, key: string}} Prefix
 */

/**
 * The address or network in a text; null if it is none. Bits behind the length may be set.
 * @param {string} text
 * @returns {Prefix | null}
 */
function parsePrefix(text) {
  const [address, length, more] = text.split("/");
  const digits = address.includes(":") ? ipv6Digits(address) : ipv4Digits(address);
  if (digits === null || more !== undefined) return null;
  const bits = digits.length * 4;
  if (length !== undefined && !(/^\d{1,3}$/.test(length) && Number(length) <= bits)) return null;
  const known = length === undefined ? bits : Number(length);
  return { digits, length: known, key: `${bits === 32 ? 4 : 6}${digits}${known + 100}` };
}

/**
 * Whether `wide` contains `narrow`, or is the same.
 * @param {Prefix} wide
 * @param {Prefix} narrow
 */
function contains(wide, narrow) {
  if (wide.digits.length !== narrow.digits.length || wide.length > narrow.length) return false;
  const whole = wide.length >> 2;
  if (!narrow.digits.startsWith(wide.digits.slice(0, whole))) return false;
  const shift = 4 - (wide.length & 3);
  return shift === 4 || nibble(wide, whole) >> shift === nibble(narrow, whole) >> shift;
}

/**
 * @param {Prefix} prefix
 * @param {number} index
 */
function nibble(prefix, index) {
  return parseInt(prefix.digits[index], 16);
}

/** @param {string} text */
function ipv4Digits(text) {
  const parts = text.split(".");
  if (parts.length !== 4) return null;
  let digits = "";
  for (const part of parts) {
    if (!/^\d{1,3}$/.test(part) || Number(part) > 255) return null;
    digits += Number(part).toString(16).padStart(2, "0");
  }
  return digits;
}

/** @param {string} text */
function ipv6Digits(text) {
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const [left, right] = halves.map((half) => (half ? half.split(":") : []));
  const missing = 8 - left.length - (right ? right.length : 0);
  if (right ? missing < 1 : missing !== 0) return null;
  const groups = [...left, ...Array(missing).fill("0"), ...(right || [])];
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return null;
  return groups.map((group) => group.toLowerCase().padStart(4, "0")).join("");
}
