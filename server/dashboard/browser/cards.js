"use strict";
// The cards: each shows one slice of the data, and is drawn anew only when that slice has changed.

const _FOCUSABLE = "summary, input, button, select, [tabindex]";

class Card {
  /** `slice(data)` is null where there is nothing to show; `draw(slice, card)` gives the contents. */
  constructor({ id, title, about, wide = false, controls = null, slice, draw }) {
    this._slice = slice;
    this._draw = draw;
    this._drawn = null;
    this._charts = [];
    this.body = h("div");
    this.element = h(
      "section", { class: wide ? "card wide" : "card", id, "aria-labelledby": `${id}-title`, hidden: true },
      h("header", {}, h("div", {}, h("h2", { id: `${id}-title` }, title), about ? h("p", { class: "about" }, about) : null), controls),
      this.body,
    );
  }

  /** Take a chart in, to be put away when it is drawn anew. */
  keep(chart) {
    this._charts.push(chart);
    return chart.element;
  }

  show(data, again = false) {
    const slice = this._slice(data);
    const text = JSON.stringify(slice);
    if (text === this._drawn && !again) return;
    this._drawn = text;
    this.element.hidden = slice === null;
    const before = this._remember();
    this._charts.splice(0).forEach((chart) => chart.destroy());
    this.body.replaceChildren(...(slice === null ? [] : [this._draw(slice, this)].flat().filter(Boolean)));
    this._restore(before);
  }

  // Whoever reads a table while new calls come in stays where they are.
  _remember() {
    const stops = [...this.body.querySelectorAll(_FOCUSABLE)];
    return {
      open: [...this.body.querySelectorAll("details")].map((it) => it.open),
      scrolled: [...this.body.querySelectorAll(".scroll")].map((it) => [it.scrollLeft, it.scrollTop]),
      focused: stops.indexOf(document.activeElement),
    };
  }

  _restore({ open, scrolled, focused }) {
    this.body.querySelectorAll("details").forEach((it, place) => { it.open = open[place] ?? false; });
    this.body.querySelectorAll(".scroll").forEach((it, place) => it.scrollTo(...(scrolled[place] ?? [0, 0])));
    if (focused >= 0) this.body.querySelectorAll(_FOCUSABLE)[focused]?.focus({ preventScroll: true });
  }
}

const bar = (background, share, extra = {}) =>
  styled(h("i"), { background, width: `${Math.min(100, Math.max(0, 100 * share))}%`, ...extra });

/** A name and what is to be said of it over a bar, which says the same as the words. */
const barRow = (name, words, bars, about = null) =>
  h("li", { class: "row" },
    h("div", { class: "head" }, h("span", {}, name), h("span", {}, words)),
    h("div", { class: "track", "aria-hidden": "true" }, bars),
    about ? h("p", { class: "about" }, about) : null);

const tierName = (tier) => h("span", { class: "tier" }, swatch(`var(${TIER_COLOURS[tier] ?? `--c${OTHERS}`})`), named(tier));

const key = (parts, colours) =>
  h("ul", { class: "key" }, parts.map((part, place) => h("li", {}, swatch(`var(${colours[place]})`), h("span", {}, partName(part)))));

// Spend over time

let splitBy = "model";

function splitSwitch(changed) {
  const choice = (value, text) => h("label", {}, h("input", { type: "radio", name: "split", value, checked: value === splitBy, change: () => { splitBy = value; changed(); } }), text);
  return h("fieldset", { class: "switch" }, h("legend", { class: "visually-hidden" }, "Split the spend by"), choice("model", "by model"), choice("tier", "by tier"));
}

function drawSpend({ overTime, split }, card) {
  const parts = (split === "tier" ? byTier(overTime.by_tier, (it) => it.name) : overTime.by_model).filter((part) => part.cost.some((cost) => cost !== 0));
  const colours = partColours(parts, split === "tier");
  const columns = [["Begins", false], ["Together", true], ...parts.map((part) => [partName(part), true])];
  const rows = overTime.starts.map((start, i) => [
    longTime(start, overTime.granularity), dollars(overTime.cost[i]), ...parts.map((part) => dollars(part.cost[i])),
  ]);
  const label = `Spend over time by ${split}. The arrow keys walk through it.`;
  return [
    card.keep(stackedChart({ label, parts, colours, overTime, axisText: dollars, value: dollars })),
    key(parts, colours),
    figures(`Spend over time by ${split}, in USD`, columns, rows),
  ];
}

// Savings

function drawSavings(it) {
  const most = Math.max(it.on_complex_tier_usd, it.without_cache_usd, it.cost_usd, 1e-12);
  const row = (name, cost, paint) => {
    const less = cost - it.cost_usd;
    const words = paint === "--good" ? dollars(cost) : `${dollars(cost)} · ${dollars(Math.abs(less))} ${less < 0 ? "less" : "more"}`;
    return barRow(name, words, [bar(`var(${paint})`, cost / most)]);
  };
  const notes = [
    "What the cache saved is an estimate: each call from it counts as much as the model's others.",
    it.cached_calls_unknown ? `Of ${count(it.cached_calls_unknown)} calls from the cache nothing can be said.` : null,
    it.unpriced_calls ? `The price of ${count(it.unpriced_calls)} attempts is unknown; no sum counts them.` : null,
  ];
  return [
    h("ul", { class: "rows" },
      row("As it was routed", it.cost_usd, "--good"),
      row("Without the cache", it.without_cache_usd, "--c8"),
      row("All on the complex tier's first model", it.on_complex_tier_usd, "--c8")),
    styled(h("p", { class: "about" }, notes.filter(Boolean).join(" ")), { "margin-top": "12px" }),
  ];
}

// Routing mix

function drawMix({ tiers, models, whole }) {
  const cells = (it) => [count(it.calls), percent(it.calls, whole), dollars(it.cost), shortCount(it.tokens), count(it.failed_calls)];
  return [
    h("ul", { class: "rows" }, byTier(tiers, (it) => it.key).map((it) =>
      barRow(tierName(it.key), `${percent(it.calls, whole)} of calls · ${dollars(it.cost)}`, [bar(`var(${TIER_COLOURS[it.key] ?? "--c8"})`, whole ? it.calls / whole : 0)]))),
    styled(scrolling("Models", table(
      "The models that served them",
      [["Model", false], ["Calls", true], ["Share", true], ["Cost", true], ["Tokens", true], ["Failed", true]],
      models.map((it) => [named(it.key), ...cells(it)]),
    )), { "margin-top": "16px", "max-height": "266px" }),
  ];
}

// Cache

function drawCache(overTime, card) {
  const rows = overTime.starts.map((start, i) => [longTime(start, overTime.granularity), percent(overTime.cached_calls[i], overTime.calls[i]), count(overTime.cached_calls[i]), count(overTime.calls[i])]);
  return [
    card.keep(shareChart({ label: "Share of calls from the cache over time. The arrow keys walk through it.", overTime, parts: overTime.cached_calls, wholes: overTime.calls })),
    figures("Calls from the cache over time", [["Begins", false], ["Share", true], ["From the cache", true], ["Calls", true]], rows),
  ];
}

// Latency

function drawLatency(latencies) {
  const most = Math.max(...latencies.map((it) => it.p95_ms), 1);
  const name = (it) => (it.model === null ? "from the cache" : named(it.model));
  const range = (it) => bar("var(--c0)", (it.p95_ms - it.p50_ms) / most, { left: `${(100 * it.p50_ms) / most}%` });
  return [
    h("ul", { class: "rows" }, latencies.slice(0, 8).map((it) => {
      const piece = range(it);
      piece.className = "range";
      return barRow(name(it), `median ${duration(it.p50_ms)} · 95% within ${duration(it.p95_ms)}`, [piece]);
    })),
    figures("How long answers took", [["Model", false], ["Calls", true], ["Median", true], ["95% within", true]],
      latencies.map((it) => [name(it), count(it.calls), duration(it.p50_ms), duration(it.p95_ms)])),
  ];
}
