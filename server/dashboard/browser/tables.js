"use strict";
// Budgets, the health of the providers, and single calls.

function drawBudgets({ budgets, leftOut }) {
  return [
    h("ul", { class: "rows" }, budgets.map(budgetRow)),
    leftOut ? h("p", { class: "about" }, `${count(leftOut)} more: tierwise budget list shows them.`) : null,
  ];
}

function budgetRow(it) {
  const used = it.limit_usd ? it.spent_usd / it.limit_usd : 1;
  const paint = used >= 1 ? "--bad" : used >= 0.8 ? "--warn" : "--good";
  const whose = it.value === undefined || it.value === null ? "" : ` · ${it.scope} ${it.value}`;
  const held = it.reserved_usd ? [bar("var(--c8)", it.limit_usd ? it.reserved_usd / it.limit_usd : 0)] : [];
  const percentText = it.percent === null ? "" : ` · ${it.percent}%`;
  const marks = it.thresholds.filter((at) => at < 100).map((at) => styled(h("i", { class: "mark-at" }), { left: `${at}%` }));
  return barRow(
    `${it.name}${whose}`,
    `${dollars(it.spent_usd)} of ${dollars(it.limit_usd)} a ${it.period === "total" ? "lifetime" : it.period}${percentText}`,
    [bar(`var(${paint})`, used), ...held, ...marks],
    budgetOutlook(it),
  );
}

function budgetOutlook(it) {
  const { projected_usd: projected, low_usd: low, high_usd: high, limit_reached_on: reached, note } = it.forecast;
  const told = [
    it.reserved_usd ? `${dollars(it.reserved_usd)} held for calls under way` : null,
    projected === null || projected === undefined ? null : `heading for ${dollars(projected)} (${dollars(low)} to ${dollars(high)})`,
    reached ? `limit reached about ${dayOf(reached)}` : null,
    note ? `no forecast: ${note}` : null,
    it.resets_at ? `begins anew on ${dayOf(it.resets_at)}` : null,
  ].filter(Boolean).join(" · ");
  return told && told[0].toUpperCase() + told.slice(1);
}

const _UNUSED = ["soft", "not called"];
const _STATES = { closed: ["good", "well"], half_open: ["warn", "on trial"], open: ["bad", "left alone"] };

function drawHealth({ health, problem }) {
  if (!health) return [h("p", { class: "warn" }, `Cannot be told: ${problem}`)];
  if (!health.deployments.length) return [h("p", { class: "soft" }, "No model can be used yet: set a provider's key.")];
  const rows = health.deployments.map((it) => {
    const seen = it.traffic;
    const [tone, word] = it.state === "closed" && !seen ? _UNUSED : _STATES[it.state] ?? ["warn", it.state];
    const error = seen?.last_error ? `${seen.last_error}${seen.last_error_at ? `, ${moment(seen.last_error_at)} UTC` : ""}` : "";
    return [
      it.model,
      h("span", { class: `pill ${tone}` }, word),
      seen ? count(seen.attempts) : "–",
      seen?.success_rate === undefined ? "–" : `${(100 * seen.success_rate).toFixed(1)}%`,
      seen?.p50_ms === undefined ? "–" : duration(seen.p50_ms),
      seen?.p95_ms === undefined ? "–" : duration(seen.p95_ms),
      [it.note, error, it.check?.error ? `endpoint: ${it.check.error}` : ""].filter(Boolean).join("; ") || "–",
    ];
  });
  const columns = [["Model", false], ["State", false], ["Attempts", true], ["Answered", true], ["Median", true], ["95% within", true], ["What went wrong", false]];
  return [scrolling("Health of the providers", table(`Of the last ${count(health.window_s / 60)} minutes`, columns, rows), true)];
}

function drawCalls({ recent, timeZone }) {
  const rows = recent.map((it) => [
    h("time", { datetime: it.at, class: "once" }, moment(it.at)),
    it.model,
    tierName(it.tier),
    named(it.operation),
    [it.tenant, it.agent].filter(Boolean).join(" / ") || "–",
    callState(it),
    count(it.tokens),
    it.cached ? "–" : dollars(it.cost_usd),
    duration(it.latency_ms),
  ]);
  const columns = [["Began", false], ["Model", false], ["Tier", false], ["Operation", false], ["Tenant / agent", false], ["Outcome", false], ["Tokens", true], ["Cost", true], ["Took", true]];
  return [scrolling("Recent calls", table(`Times are those of ${timeZone}`, columns, rows), true)];
}

function callState(it) {
  if (it.status === "failed") return h("span", { class: "pill bad" }, it.error ?? "failed");
  if (it.status === "cancelled") return h("span", { class: "pill warn" }, "cancelled");
  if (it.cached) return h("span", { class: "pill good" }, "from the cache");
  return h("span", { class: "pill good" }, it.attempts > 1 ? `answered, ${it.attempts} attempts` : "answered");
}

// The totals on top

function drawTiles(it) {
  const tile = (name, value, note, id) => h("dl", { class: "tile", id: `tile-${id}` }, h("dt", {}, name), h("dd", {}, value), h("dd", { class: "note" }, note));
  const days = it.period_days === 1 ? "today" : `${dollars(it.avg_daily_cost)} a day`;
  return [
    tile("Spend", dollars(it.total_cost_usd), days, "spend"),
    tile("Saved", dollars(it.saved_usd), "against the complex tier's first model", "saved"),
    tile("Calls", shortCount(it.total_calls), `${shortCount(it.total_tokens)} tokens`, "calls"),
    tile("From the cache", percent(it.cached_calls, it.total_calls), `${calls(it.cached_calls)}, about ${dollars(it.cache_saved_usd)}`, "cache"),
    tile("Failed", percent(it.failed_calls, it.total_calls), calls(it.failed_calls), "failed"),
    tile("A month like this", dollars(it.projected_monthly_cost), "30 days at this rate", "month"),
  ];
}
