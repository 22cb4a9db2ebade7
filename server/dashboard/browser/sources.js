"use strict";
// Where the data comes from. A source's `load(query)` gives it, or throws an error that is fit to be read.

class TokenWanted extends Error {}

/** This server, over HTTP. The token comes in the address (after #, which no server sees) or from the form. */
class HttpSource {
  live = true;
  app = false;
  _KEY = "tierwise-token";
  _token = null;

  constructor() {
    const given = new URLSearchParams(location.hash.slice(1)).get("token");
    if (given) {
      this.token = given;
      history.replaceState(null, "", location.pathname + location.search);
    } else {
      try { this._token = sessionStorage.getItem(this._KEY); } catch { /* storage is switched off */ }
    }
  }

  get token() { return this._token; }
  set token(text) {
    this._token = text;
    try {
      if (text === null) sessionStorage.removeItem(this._KEY);
      else sessionStorage.setItem(this._KEY, text);
    } catch { /* then it is kept until the page is loaded anew */ }
  }

  async start() {}

  async load(query, signal) {
    const headers = { Accept: "application/json" };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    let answer;
    try {
      answer = await fetch(`/dashboard/data?${new URLSearchParams(query)}`, { headers, signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("The server does not answer. Is it still running?");
    }
    if (answer.status === 401) throw new TokenWanted(this.token ? "That is not the token." : "");
    const found = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(found.error ?? `The server answered with ${answer.status}; its log says why.`);
    return found;
  }
}

/** The host that shows this page as an MCP App: JSON-RPC over postMessage (SEP-1865, 2026-01-26). */
class HostSource {
  live = false; // each look is a tool call, which a host may ask its user about
  app = true;
  token = null;
  _DATA = "tierwise/dashboard";
  _waiting = new Map();
  _next = 1;

  async start({ onQuery, onData, onError, onTheme }) {
    Object.assign(this, { onQuery, onData, onError, onTheme });
    window.addEventListener("message", (event) => { if (event.source === window.parent) this._receive(event.data); });
    const welcome = await this._request("ui/initialize", {
      protocolVersion: "2026-01-26",
      appInfo: { name: "tierwise-usage", version: "1" },
      appCapabilities: { availableDisplayModes: ["inline", "fullscreen"] },
    });
    this._context(welcome.hostContext);
    this._notify("ui/notifications/initialized", {});
    new ResizeObserver(() => this._resized()).observe(document.body);
  }

  async load({ days, start, end, ...filters }) {
    const period = Object.fromEntries(Object.entries({ days: days && Number(days), start, end }).filter(([, value]) => value));
    return this._read(await this._request("tools/call", { name: "usage_summary", arguments: { ...period, filters } }));
  }

  _read(result) {
    if (result?.isError) throw new Error(result.content?.find((it) => it.type === "text")?.text ?? "The tool failed.");
    const found = result?._meta?.[this._DATA];
    if (found) return found;
    // A host that keeps metadata to itself: the totals can be shown.
    if (result?.structuredContent) return { summary: result.structuredContent };
    throw new Error("The host handed over no usage.");
  }

  _receive(message) {
    if (message?.jsonrpc !== "2.0") return;
    if (message.method === undefined) return this._settle(message);
    const params = message.params ?? {};
    switch (message.method) {
      case "ui/notifications/tool-input": return this.onQuery(params.arguments ?? {});
      case "ui/notifications/tool-result":
        try { return this.onData(this._read(params)); } catch (error) { return this.onError(error); }
      case "ui/notifications/tool-cancelled": return this.onError(new Error("The call was cancelled."));
      case "ui/notifications/host-context-changed": return this._context(params);
    }
    if (message.id === undefined) return;
    const known = message.method === "ping" || message.method === "ui/resource-teardown";
    this._post({ id: message.id, ...(known ? { result: {} } : { error: { code: -32601, message: "Method not found" } }) });
  }

  _settle({ id, result, error }) {
    const waiting = this._waiting.get(id);
    this._waiting.delete(id);
    if (error) waiting?.reject(new Error(error.message ?? "The host refused."));
    else waiting?.resolve(result);
  }

  _context(context) {
    if (context?.theme) this.onTheme(context.theme);
    const font = context?.styles?.variables?.["--font-sans"];
    if (font) document.documentElement.style.setProperty("--font-sans", font);
  }

  _resized() {
    const { width, height } = document.documentElement.getBoundingClientRect();
    this._notify("ui/notifications/size-changed", { width: Math.ceil(width), height: Math.ceil(height) });
  }

  _request(method, params) {
    const id = this._next++;
    this._post({ id, method, params });
    return new Promise((resolve, reject) => this._waiting.set(id, { resolve, reject }));
  }

  _notify(method, params) { this._post({ method, params }); }

  // The origin of the host is not known; nothing is sent that it did not hand over itself.
  _post(message) { window.parent.postMessage({ jsonrpc: "2.0", ...message }, "*"); }
}
