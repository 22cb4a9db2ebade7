"use strict";
// Filters, and when to look again.

const POLL_MS = 10_000;
const PERIODS = [["1", "Today"], ["7", "7 days"], ["30", "30 days"], ["90", "90 days"], ["365", "12 months"]];
const FILTERS = [["tenant", "Tenant"], ["agent", "Agent"], ["operation", "Operation"], ["model", "Model"], ["tier", "Tier"]];
const ANY = "*"; // a filter's value has = before it, so that the empty one can be chosen

const source = document.documentElement.dataset.source === "mcp" ? new HostSource() : new HttpSource();
let query = {};
let data = null;
let live = source.live;
let loading = null;

const spend = new Card({ id: "spend", title: "Spend over time", wide: true, controls: splitSwitch(() => show()), slice: (it) => !it.over_time ? null : { overTime: it.over_time, split: splitBy }, draw: drawSpend });
const left = [
  new Card({ id: "savings", title: "Savings", about: "What the same calls would have cost.", slice: (it) => it.savings ?? null, draw: drawSavings }),
  new Card({ id: "cache", title: "From the cache", about: "Share of calls that were answered without a model.", slice: (it) => it.over_time ?? null, draw: drawCache }),
  new Card({ id: "budgets", title: "Budgets", about: "Whatever the filters.", slice: (it) => (it.budgets?.length ? { budgets: it.budgets, leftOut: it.budgets_left_out } : null), draw: drawBudgets }),
];
const right = [
  new Card({ id: "mix", title: "Routing mix", about: "Where the calls went.", slice: (it) => !it.tiers ? null : { tiers: it.tiers, models: it.models, whole: it.summary.total_calls }, draw: drawMix }),
  new Card({ id: "latency", title: "Latency", about: "Of the newest 1,000 calls: from the median to what 95% stay within.", slice: (it) => (it.latencies?.length ? it.latencies : null), draw: drawLatency }),
];
const below = [
  new Card({ id: "calls", title: "Recent calls", wide: true, slice: (it) => (it.recent_calls?.length ? { recent: it.recent_calls, timeZone: it.time_zone } : null), draw: drawCalls }),
  new Card({ id: "health", title: "Health of the providers", about: "Whatever the filters.", wide: true, slice: (it) => (it.health === undefined ? null : { health: it.health, problem: it.health_problem }), draw: drawHealth }),
];
const cards = [spend, ...left, ...right, ...below];
const EVEN_WITHOUT_CALLS = new Set(["budgets", "health"]);

// Filters

function buildFilters() {
  const field = (name, label) => h("label", { class: "field", for: `filter-${name}` }, label, h("select", { id: `filter-${name}`, name, change: chosen }));
  byId("filters").replaceChildren(field("days", "Period"), ...FILTERS.map(([name, label]) => field(name, label)), h("button", { type: "reset", id: "reset" }, "Clear filters"));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", (event) => { event.preventDefault(); choose({ days: "30" }); });
  fillFilters();
}

function fillFilters() {
  const own = query.start || query.end ? [["own", `${query.start ?? ""} – ${query.end ?? "today"}`]] : [];
  const known = PERIODS.some(([days]) => days === query.days) || own.length;
  fill("days", [...own, ...PERIODS, ...(known ? [] : [[query.days, `${query.days} days`]])], own.length ? "own" : query.days);
  for (const [name] of FILTERS) {
    const { values = [], left_out: more = 0 } = data?.choices?.[name] ?? {};
    const all = query[name] === undefined || values.includes(query[name]) ? values : [query[name], ...values];
    const options = all.map((value) => [`=${value}`, named(value)]);
    fill(name, [[ANY, more ? `All (${count(more)} more than listed)` : "All"], ...options], query[name] === undefined ? ANY : `=${query[name]}`);
  }
}

function fill(name, options, value) {
  const select = byId(`filter-${name}`);
  const text = JSON.stringify(options);
  if (select.dataset.options !== text) {
    select.replaceChildren(...options.map(([key, label]) => h("option", { value: key }, label)));
    select.dataset.options = text;
  }
  select.value = value;
}

function chosen() {
  const next = {};
  for (const { name, value } of byId("filters").elements) {
    if (name === "days" && value === "own") Object.assign(next, query.start && { start: query.start }, query.end && { end: query.end });
    else if (name === "days") next.days = value;
    else if (name && value !== ANY) next[name] = value.slice(1);
  }
  choose(next);
}

function choose(next) {
  query = next;
  if (!source.app) history.replaceState(null, "", `?${new URLSearchParams(query)}`);
  fillFilters();
  look({ aloud: true });
}

// Looking

async function look({ aloud = false } = {}) {
  loading?.abort();
  const mine = (loading = new AbortController());
  byId("main").setAttribute("aria-busy", "true");
  try {
    const found = await source.load(query, mine.signal);
    if (mine === loading) arrived(found, aloud);
  } catch (error) {
    if (mine === loading && error.name !== "AbortError") failed(error);
  } finally {
    if (mine === loading) {
      loading = null;
      byId("main").removeAttribute("aria-busy");
    }
  }
}

function arrived(found, aloud = false) {
  data = found;
  wanting(false);
  byId("alert").hidden = true;
  fillFilters();
  show();
  const { total_calls: number, total_cost_usd: cost, start, end } = data.summary;
  byId("status").textContent = start === end ? `${dayOf(start)}${zoneText()}` : `${dayOf(start)} – ${dayOf(end)}${zoneText()}`;
  if (aloud) announce(`${calls(number)}, ${dollars(cost)}.`);
}

const zoneText = () => (data.time_zone ? `, ${data.time_zone}` : "");

function show(again = false) {
  if (!data) return;
  const none = data.summary.total_calls === 0;
  byId("tiles").replaceChildren(...drawTiles(data.summary));
  byId("empty").hidden = !none;
  byId("empty").textContent = nothingText();
  for (const card of cards) {
    if (none && !EVEN_WITHOUT_CALLS.has(card.element.id)) card.element.hidden = true;
    else card.show(data, again || card.element.hidden);
  }
}

function nothingText() {
  if (data.tracking === false) return "Calls are not recorded: usage_tracking.enabled is false in the settings.";
  const filtered = FILTERS.some(([name]) => query[name] !== undefined);
  return filtered ? "No calls match these filters in this period." : "No calls in this period yet. Ask something through the chat tool, or with: tierwise chat \"Hello\"";
}

function failed(error) {
  if (error instanceof TokenWanted) return wantToken(error.message);
  byId("alert").textContent = error.message;
  byId("alert").hidden = false;
  byId("status").textContent = data ? "Not up to date" : "";
}

// The token

function wanting(token) {
  byId("login").hidden = !token;
  byId("main").hidden = token;
  byId("refresh").hidden = token;
  byId("live").hidden = token || source.app;
  byId("forget").hidden = token || !source.token;
}

function wantToken(complaint) {
  source.token = null;
  data = null;
  wanting(true);
  byId("status").textContent = "";
  byId("alert").textContent = complaint;
  byId("alert").hidden = !complaint;
  byId("token").focus();
}

byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  // A header holds no other characters: whatever has some is no token.
  source.token = byId("token").value.trim().replace(/[^\x21-\x7e]/g, "?");
  byId("token").value = "";
  look({ aloud: true });
});
byId("forget").addEventListener("click", () => wantToken(""));

// Colours

function paint(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  show(true);
}

byId("theme").addEventListener("change", (event) => {
  try { localStorage.setItem("tierwise-theme", event.target.value); } catch { /* not kept in a sandbox */ }
  paint(event.target.value);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(true));

// Live

function setLive(on) {
  live = on;
  byId("live").setAttribute("aria-pressed", String(on));
}

byId("live").addEventListener("click", () => { setLive(!live); if (live) look(); });
byId("refresh").addEventListener("click", () => look({ aloud: true }));
document.addEventListener("visibilitychange", () => { if (live && !document.hidden) look(); });
setInterval(() => { if (live && !loading && !document.hidden && byId("login").hidden) look(); }, POLL_MS);

// The start

const given = Object.fromEntries(source.app ? [] : new URLSearchParams(location.search));
query = given.days || given.start ? given : { ...given, days: "30" };
setLive(live);
buildFilters();
const elements = (some) => some.map((card) => card.element);
byId("cards").replaceChildren(spend.element, h("div", { class: "stack" }, elements(left)), h("div", { class: "stack" }, elements(right)), ...elements(below));
if (source.app) {
  byId("live").hidden = true;
  byId("theme").closest("label").hidden = true;
  source.start({
    onQuery({ days, start, end, filters = {} }) {
      query = { ...(start || end ? { start, end } : { days: String(days ?? 30) }), ...filters };
      query = Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined));
      fillFilters();
    },
    onData: (found) => arrived(found),
    onError: failed,
    onTheme: paint,
  }).catch(failed);
} else {
  let kept = "";
  try { kept = localStorage.getItem("tierwise-theme") ?? ""; } catch { /* storage is switched off */ }
  byId("theme").value = kept;
  window.addEventListener("hashchange", () => location.reload()); // an address with another token, in this tab
  paint(kept);
  look();
}
