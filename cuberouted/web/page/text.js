// Numbers and times as text, in the words of the commands. Pure.
"use strict";

/**
 * A number with its noun: "1 client", "2 clients", "20,000 clients".
 * @param {number} number
 * @param {string} noun
 */
function plural(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

const UNITS = /** @type {[string, number][]} */ ([["day", 86400], ["h", 3600], ["min", 60], ["s", 1]]);

/**
 * The two largest units: "3 days 2 h", "12.3 s".
 * @param {number} seconds
 */
function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const parts = [];
  let rest = Math.floor(seconds);
  for (const [unit, size] of UNITS) {
    const count = Math.floor(rest / size);
    rest %= size;
    if (count || parts.length) parts.push(unit === "day" ? plural(count, unit) : `${count} ${unit}`);
  }
  return parts.slice(0, 2).join(" ");
}

/**
 * One unit, in which the number is not small: "4 s", "119 min", "47 h", "3 days".
 * @param {number} seconds
 */
function age(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 120) return `${whole} s`;
  if (whole < 2 * 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 2 * 86400) return `${Math.floor(whole / 3600)} h`;
  return `${Math.floor(whole / 86400)} days`;
}

/**
 * How long ago a peer's last message was received.
 * @param {number | null} seconds
 */
function heard(seconds) {
  if (seconds === null) return "never";
  return seconds < 10 ? `${seconds.toFixed(1)} s ago` : `${age(seconds)} ago`;
}

/** @param {number} number */
const two = (number) => String(number).padStart(2, "0");

/**
 * Local time in two parts: the date, empty if it is today's, and the time of day.
 * @param {number} time milliseconds since 1970
 * @param {number} now
 * @returns {[string, string]}
 */
function localTime(time, now) {
  const at = new Date(time);
  const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const today = at.toDateString() === new Date(now).toDateString();
  return [today ? "" : date, `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`];
}

/**
 * The same in UTC, in one part.
 * @param {number} time milliseconds since 1970
 */
function utcTime(time) {
  return `${new Date(time).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}
