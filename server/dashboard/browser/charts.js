"use strict";
// Charts over time, drawn by uPlot. Each can be walked through with the arrow keys, and has a table behind it.

// Without a prototype, whose names a tier could have.
const TIER_COLOURS = { __proto__: null, simple: "--simple", standard: "--standard", complex: "--complex" };
const _TIERS = Object.keys(TIER_COLOURS);
/** From simple to complex, and whatever else there is after them. */
const byTier = (items, name) => items.toSorted((a, b) => ((_TIERS.indexOf(name(a)) + 4) % 4) - ((_TIERS.indexOf(name(b)) + 4) % 4));
const OTHERS = 8; // the place of the colour of whatever has no series of its own

/** A colour of the style sheet as the canvas takes it: light or dark is decided here. */
function resolved(name) {
  const probe = styled(h("span"), { color: `var(${name})` });
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const partName = (part) => (part.name === null ? "all others" : named(part.name));

function partColours(parts, isTier) {
  return parts.map((part, place) => {
    if (part.name === null) return `--c${OTHERS}`;
    return (isTier && TIER_COLOURS[part.name]) || `--c${place % OTHERS}`;
  });
}

class Chart {
  /**
   * `describe(i)` gives the title and the lines [colour, name, value] of one interval; `series` and `data` are
   * uPlot's, with places 0, 1, 2… for x.
   */
  constructor({ label, height, data, series, axisText, range, starts, granularity, describe }) {
    this.tip = h("div", { class: "tip", hidden: true, "aria-hidden": "true" });
    this.element = h("div", { class: "plot", tabindex: "0", role: "group", "aria-roledescription": "chart", "aria-label": label, keydown: (event) => this._key(event), blur: () => this._show(null) }, this.tip);
    this._starts = starts;
    this._describe = describe;
    this._at = null;
    const [text, line] = [resolved("--soft"), resolved("--line")];
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: text, font, ticks: { show: false } };
    this._plot = new uPlot({
      width: 300, height, legend: { show: false },
      scales: { x: { time: false, range: [-0.5, starts.length - 0.5] }, y: { range } },
      series: [{}, ...series],
      axes: [
        { ...axis, size: 30, grid: { show: false }, splits: (u) => this._splits(u), values: (u, at) => at.map((i) => shortTime(starts[i], granularity)) },
        { ...axis, size: 64, grid: { stroke: line, width: 1 }, values: (u, at) => at.map(axisText) },
      ],
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      hooks: { setCursor: [(u) => this._show(u.cursor.idx ?? null)] },
    }, data, this.element);
    this._resizing = new ResizeObserver(() => this._fit());
    this._resizing.observe(this.element);
  }

  destroy() {
    this._resizing.disconnect();
    this._plot.destroy();
  }

  _fit() {
    const width = Math.floor(this.element.clientWidth);
    if (width > 0 && width !== this._plot.width) this._plot.setSize({ width, height: this._plot.height });
  }

  _splits(plot) {
    const every = Math.ceil(this._starts.length / Math.max(1, Math.floor((plot.width - 64) / 72)));
    return this._starts.map((_, i) => i).filter((i) => i % every === 0);
  }

  _key(event) {
    const last = this._starts.length - 1;
    const here = this._at ?? (event.key === "ArrowLeft" ? last + 1 : -1);
    const to = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: last }[event.key];
    if (event.key === "Escape") this._show(null);
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this._show(Math.min(Math.max(to, 0), last));
    const [title, lines] = this._describe(this._at);
    announce([title, ...lines.map(([, name, value]) => `${name} ${value}`)].join(", "));
  }

  _show(place) {
    this._at = place;
    this.tip.hidden = place === null;
    if (place === null) return;
    const [title, lines] = this._describe(place);
    this.tip.replaceChildren(
      h("strong", {}, title),
      h("ul", {}, lines.map(([name, text, value]) => h("li", {}, name ? swatch(`var(${name})`) : null, h("span", {}, text), h("b", {}, value)))),
    );
    const x = this._plot.valToPos(place, "x") + 64;
    const room = this.element.clientWidth - this.tip.offsetWidth;
    styled(this.tip, { left: `${Math.max(0, x + 14 <= room ? x + 14 : x - this.tip.offsetWidth - 14)}px` });
  }
}

/** Bars of parts that stand on each other. */
function stackedChart({ label, parts, colours, overTime, axisText, value }) {
  const sums = overTime.starts.map(() => 0);
  const tops = parts.map((part) => part.cost.map((cost, i) => (sums[i] += cost)));
  // The whole bar is drawn first, and each lower part over it.
  const order = parts.map((_, place) => place).reverse();
  const paint = colours.map(resolved);
  const bars = uPlot.paths.bars({ size: [0.72, 56] });
  return new Chart({
    label, height: 260, axisText, starts: overTime.starts, granularity: overTime.granularity,
    range: (u, low, high) => [0, high > 0 ? high * 1.08 : 1],
    data: [overTime.starts.map((_, i) => i), ...order.map((place) => tops[place])],
    series: order.map((place) => ({ fill: paint[place], stroke: paint[place], width: 0, paths: bars, points: { show: false } })),
    describe: (i) => [
      longTime(overTime.starts[i], overTime.granularity),
      [
        [null, "together", value(overTime.cost[i])],
        ...parts.map((part, place) => [colours[place], partName(part), part.cost[i]]).filter(([, , cost]) => cost !== 0)
          .sort((a, b) => b[2] - a[2]).map(([name, text, cost]) => [name, text, value(cost)]),
      ],
    ],
  });
}

/** A line of shares from 0 to 100%, with gaps where there is nothing to have a share of. */
function shareChart({ label, overTime, parts, wholes }) {
  const shares = parts.map((part, i) => (wholes[i] ? (100 * part) / wholes[i] : null));
  const stroke = resolved("--c1");
  return new Chart({
    label, height: 200, axisText: (value) => `${value}%`, starts: overTime.starts, granularity: overTime.granularity,
    range: () => [0, 100],
    data: [overTime.starts.map((_, i) => i), shares],
    series: [{ stroke, width: 2, fill: `color-mix(in srgb, ${stroke} 16%, transparent)`, points: { show: true, size: 6, fill: stroke } }],
    describe: (i) => [
      longTime(overTime.starts[i], overTime.granularity),
      [["--c1", "from the cache", percent(parts[i], wholes[i])], [null, "calls", count(wholes[i])]],
    ],
  });
}
