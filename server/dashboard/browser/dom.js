"use strict";
// Building the page, and writing numbers. Names come from others: they become text, never markup.

/** An element. Attributes that are functions listen; those that are null or false are left out. */
function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(key, value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const byId = (id) => document.getElementById(id);

/** The parts of a style that depend on data are set one by one, which the page's policy allows. */
function styled(element, properties) {
  for (const [name, value] of Object.entries(properties)) element.style.setProperty(name, value);
  return element;
}

const swatch = (colour) => styled(h("span", { class: "swatch", "aria-hidden": "true" }), { background: colour });

const _counts = new Intl.NumberFormat("en-US");
const _short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });
const count = (value) => _counts.format(value);
const shortCount = (value) => (value < 10_000 ? count(value) : _short.format(value));

/** USD, with as many digits as small amounts need; null is a price that is not known. */
function dollars(value) {
  if (value === null || value === undefined) return "unknown";
  const size = Math.abs(value);
  if (size === 0) return "$0.00";
  const digits = size >= 1 ? 2 : Math.min(9, 2 - Math.floor(Math.log10(size)));
  const text = size.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: digits });
  return `${value < 0 ? "−" : ""}$${text}`;
}

const calls = (number) => `${shortCount(number)} ${number === 1 ? "call" : "calls"}`;
const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)}%` : "–");
const duration = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`);
const named = (name) => (name === "" ? "(none)" : name);

// Instants come in the server's time zone; they are read as they are written there, whatever the browser's.
const _asWritten = (iso) => new Date(`${iso.slice(0, 19)}Z`);
const _format = (options) => new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...options });
const _formats = {
  hourly: _format({ hour: "2-digit", minute: "2-digit" }),
  daily: _format({ day: "numeric", month: "short" }),
  monthly: _format({ month: "short", year: "numeric" }),
};
const _longFormats = {
  hourly: _format({ weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }),
  daily: _format({ weekday: "long", day: "numeric", month: "long", year: "numeric" }),
  monthly: _format({ month: "long", year: "numeric" }),
};
const _moment = _format({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const shortTime = (iso, granularity) => _formats[granularity].format(_asWritten(iso));
const longTime = (iso, granularity) => _longFormats[granularity].format(_asWritten(iso));
const moment = (iso) => _moment.format(_asWritten(iso));
const dayOf = (iso) => _formats.daily.format(_asWritten(`${iso.slice(0, 10)}T00:00:00`));

/** A table; `columns` are [heading, is it a number], the first cell of a row is its heading. */
function table(caption, columns, rows) {
  const side = (place) => (columns[place][1] ? "number" : null);
  return h(
    "table", {},
    h("caption", {}, caption),
    h("thead", {}, h("tr", {}, columns.map(([text], place) => h("th", { scope: "col", class: side(place) }, text)))),
    h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, place) => (
      place === 0 ? h("th", { scope: "row" }, cell) : h("td", { class: side(place) }, cell)
    ))))),
  );
}

/** What scrolls can be reached with the keyboard; what is broad does so on narrow screens. */
const scrolling = (label, content, broad = false) => h("div", { class: broad ? "scroll broad" : "scroll", tabindex: "0", role: "region", "aria-label": label }, content);

/** The figures behind a picture. */
const figures = (caption, columns, rows) =>
  h("details", { class: "figures" }, h("summary", {}, "Show as a table"), scrolling(caption, table(caption, columns, rows)));

function announce(text) {
  byId("announcements").textContent = text;
}
