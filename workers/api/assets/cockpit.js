// The cockpit: draws what the event stream says, and blanks itself the moment the stream cannot be trusted.
//
// Rules: nothing is shown that did not come from a status event of the last two seconds; a document that contradicts
// itself is worse than none. Amounts stay text (numbers are made only to place points on a chart). This page cannot act.
(() => {
  "use strict";

  const STALE_MS = 2000;
  const MODES = { Active: "✓", ReduceOnly: "▽", Kill: "■" };
  const MODE_WORDS = { Active: "ACTIVE", ReduceOnly: "REDUCE ONLY", Kill: "KILL" };
  const WORKER_STATES = ["starting", "ready", "degraded", "backoff", "failed", "stopping", "exited"];
  const KILL_STATES = ["none", "fencing", "cancelling", "closing", "flat", "not_flat"];
  const PRICES_MAX = 1200, EQUITY_MAX = 1200, FILLS_MAX = 500, ROWS_MAX = 40, HOLE_MS = 5000;

  const el = (id) => document.getElementById(id);
  const say = (id, text) => { const node = el(id); if (node.textContent !== text) node.textContent = text; };
  const tone = (id, value) => { el(id).dataset.tone = value; };
  const make = (tag, text, cls) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (cls) node.className = cls;
    return node;
  };
  const fill = (id, nodes) => el(id).replaceChildren(...nodes);
  const sizeOf = (text) => /^-?0*(\.0*)?$/.test(text) ? 0 : text.startsWith("-") ? -1 : 1;
  const grouped = (text) => {
    if (typeof text !== "string" || text === "") return "—";
    const [whole, part] = text.split(".");
    const shown = whole.replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
    return part === undefined ? shown : `${shown}.${part}`;
  };
  const cents = (text) => typeof text === "string" && /^-?\d+\.\d{3,}$/.test(text) ? text.replace(/(\.\d\d)\d+$/, "$1") : text;
  const two = (n) => String(n).padStart(2, "0");
  const span = (seconds) => {
    const s = Math.max(0, Math.floor(seconds));
    const h = Math.floor(s / 3600);
    return h >= 48 ? `${Math.floor(h / 24)} d ${h % 24} h` : `${two(h)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
  };
  const clockOf = (ms) => { const d = new Date(ms); return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`; };

  const moment = (iso) => { const d = new Date(iso); return Number.isNaN(d.getTime()) ? iso : `${iso.slice(0, 10) === new Date().toISOString().slice(0, 10) ? "" : `${iso.slice(0, 10)} `}${clockOf(d.getTime())}`; };

  // ── what is known ────────────────────────────────────────────────────────────────────────────────────────────────
  let shown = null;          // the document on the screen, or null while blank
  let doubt = "Waiting for the first status.";
  let gotMono = -Infinity;   // when it came, on two clocks: one stops while the host sleeps, the other may be set
  let gotWall = -Infinity;
  const data = { coin: "", prices: [], fills: [], equity: [], cycles: [] };

  // ── the guard ────────────────────────────────────────────────────────────────────────────────────────────────────
  const age = () => Math.max(performance.now() - gotMono, Math.abs(Date.now() - gotWall));

  // Why a document must not be believed; null when it may.
  function objection(event) {
    const doc = event && event.doc;
    if (!doc || doc.schema !== "holdfast.status.v1" || doc.running !== true) return "The status is not a known document.";
    if (!Object.hasOwn(MODES, doc.trading_mode)) return "The status names an unknown mode.";
    if (!Array.isArray(doc.mode_reasons) || !Array.isArray(doc.open_permission_reason_codes)) return "The status lacks its reasons.";
    if (!Array.isArray(doc.workers) || !doc.workers.every((w) => WORKER_STATES.includes(w.state))) return "The status names an unknown worker state.";
    if (!KILL_STATES.includes(doc.kill && doc.kill.state)) return "The status names an unknown kill state.";
    if (typeof doc.open_permission_blocked_latch !== "boolean" || typeof doc.permit.live !== "boolean") return "The status lacks its latch or permit.";
    if (typeof doc.exposure.flat !== "boolean" || typeof doc.exposure.known !== "boolean" || !Array.isArray(doc.exposure.positions)) return "The status lacks its exposure.";
    const kill = doc.mode_reasons.some((r) => r.startsWith("KILL_"));
    if (doc.trading_mode === "Active") {
      if (doc.mode_reasons.length > 0) return "The status contradicts itself: Active, with reasons not to be.";
      if (doc.open_permission_blocked_latch) return "The status contradicts itself: Active, with a closed latch.";
      if (doc.kill.active) return "The status contradicts itself: Active, with kill set.";
    } else if (doc.mode_reasons.length === 0) {
      return "The status contradicts itself: restricted without a reason.";
    }
    if (doc.trading_mode === "ReduceOnly" && kill) return "The status contradicts itself: ReduceOnly, with a reason to kill.";
    if (doc.exposure.flat && doc.exposure.positions.some((p) => sizeOf(p.size) !== 0)) return "The status contradicts itself: flat, with positions.";
    return null;
  }

  function take(text) {
    let event = null;
    try { event = JSON.parse(text); } catch { /* an unreadable event is an objection below */ }
    let wrong;
    try { wrong = objection(event); } catch { wrong = "The status lacks a part."; }
    if (wrong) { blank(wrong); return; }
    gotMono = performance.now();
    gotWall = Date.now();
    const fresh = shown === null;
    shown = event.doc;
    try { draw(event.doc, Array.isArray(event.why) ? event.why : []); } catch { blank("The status lacks a part."); return; }
    if (fresh) { drawLists(); drawCharts(); }
  }

  function blank(why) {
    shown = null;
    doubt = why;
    gotMono = -Infinity;
    document.body.dataset.mode = "unknown";
    document.title = "UNKNOWN · Holdfast";
    say("sign", "?");
    say("mode", "UNKNOWN — treat as Kill");
    say("why", doubt);
    fill("next", [
      "Do not trust an older screen. Run ", make("code", "engine status"), " in a terminal. To stop everything: ", make("code", "engine kill"), ".",
    ]);
    for (const id of ["profile", "uptime", "age"]) say(id, "—");
    for (const id of ["exposure", "permit", "deadman", "kill"]) { say(id, "unknown"); tone(`card-${id}`, "none"); fill(`${id}-detail`, []); }
    el("permit-bar").value = 0;
    for (const id of ["workers", "cycles", "fills"]) fill(id, []);
    for (const id of ["journal", "price-now", "equity-now", "market-state"]) say(id, "");
    drawCharts();
  }

  // ── drawing the document ─────────────────────────────────────────────────────────────────────────────────────────
  function draw(doc, why) {
    document.body.dataset.mode = doc.trading_mode;
    document.title = `${MODE_WORDS[doc.trading_mode]} · Holdfast`;
    say("sign", MODES[doc.trading_mode]);
    say("mode", MODE_WORDS[doc.trading_mode]);
    const first = why[0];
    if (first) {
      fill("why", [`${first.text} `, make("code", first.code), why.length > 1 ? ` +${why.length - 1} more` : ""]);
      el("why").title = why.map((w) => `${w.code}: ${w.text}`).join("\n");
    } else if (doc.trading_mode === "Active") {
      fill("why", ["Everything is well: the engine may open and close."]);
    } else {
      fill("why", [doc.mode_reasons.join(", ")]);
    }
    // Words between backquotes are commands.
    fill("next", (doc.next_step || "").split("`").map((part, n) => n % 2 ? make("code", part) : part));
    say("profile", doc.profile);
    say("uptime", span(doc.uptime_s));
    drawExposure(doc.exposure);
    drawPermit(doc.permit);
    drawDeadman(doc.dead_man);
    drawKill(doc.kill);
    drawWorkers(doc.workers);
    const { journal, decisions } = doc;
    const engine = doc.workers.find((w) => w.role === "engine");
    const silent = !decisions.durable && !(engine && (engine.state === "ready" || engine.state === "degraded"));
    const decided = silent ? "unknown while the engine is not running"
      : `${grouped(String(decisions.entries))} entries, ${decisions.durable ? "on disk" : "NOT ON DISK"}${decisions.unsettled ? `, ${decisions.unsettled} unsettled` : ""}`;
    say("journal", `Journal: ${grouped(String(journal.events))} events, ${journal.durable ? "on disk" : `NOT ON DISK: ${journal.detail}`}; decisions: ${decided}`);
  }

  function drawExposure(exposure) {
    const open = exposure.positions.filter((p) => sizeOf(p.size) !== 0);
    const lines = [];
    if (!exposure.known) {
      say("exposure", "UNKNOWN");
      tone("card-exposure", "bad");
      lines.push("No fresh account reading. Not to be taken as flat.");
    } else if (exposure.flat) {
      say("exposure", "FLAT");
      tone("card-exposure", "good");
      lines.push("No position, no resting order.");
    } else {
      say("exposure", open.length ? open.map((p) => `${sizeOf(p.size) < 0 ? "SHORT" : "LONG"} ${grouped(p.size.replace("-", ""))} ${p.coin}`).slice(0, 3).join(", ") : "ORDERS RESTING");
      tone("card-exposure", "warn");
      for (const p of open.slice(0, 3)) {
        lines.push(`${p.coin}: entry ${grouped(p.entry_px)}, mark ${grouped(p.mark_px)}, ${grouped(cents(p.notional_usd))} USD`);
      }
      if (open.length > 3) lines.push(`and ${open.length - 3} more positions`);
      lines.push(`${exposure.open_orders} resting order${exposure.open_orders === 1 ? "" : "s"}`);
    }
    if (exposure.equity_usd) lines.push(`Equity ${grouped(cents(exposure.equity_usd))} USD`);
    fill("exposure-detail", lines.map((line) => make("p", line)));
  }

  function drawPermit(permit) {
    say("permit", permit.live ? "LIVE" : "NONE");
    tone("card-permit", permit.live ? "good" : "warn");
    permitLeft();
  }

  function permitLeft() {
    if (!shown) return;
    const permit = shown.permit;
    const left = permit.live ? Math.max(0, permit.deadline_in_ms - age()) : 0;
    el("permit-bar").value = left;
    say("permit-detail", permit.live ? `lapses in ${(left / 1000).toFixed(1)} s unless renewed · epoch ${permit.epoch}` : `the engine cannot open risk · epoch ${permit.epoch}`);
  }

  function until(iso) {
    const left = (Date.parse(iso) - Date.now()) / 1000;
    return Number.isFinite(left) ? left >= 0 ? `in ${span(left)}` : "overdue" : iso;
  }

  function drawDeadman(dead) {
    say("deadman", `Venue: ${dead.venue}`);
    tone("card-deadman", dead.venue === "ACTIVE" ? "good" : dead.venue === "INELIGIBLE" ? "warn" : "bad");
    const lines = [];
    if (dead.venue === "ACTIVE" && dead.venue_fires_at) lines.push(`fires ${until(dead.venue_fires_at)} unless renewed`);
    if (dead.venue !== "ACTIVE") lines.push(dead.venue_detail || "count on nothing from the venue");
    lines.push(dead.operator_expires_at ? `Operator: expires ${until(dead.operator_expires_at)}` : "Operator switch: off");
    fill("deadman-detail", lines.map((line) => make("p", line)));
  }

  function drawKill(kill) {
    const words = { none: "not running", fencing: "ending the engine", cancelling: "cancelling orders", closing: "closing positions", flat: "FLAT, proven", not_flat: "NOT FLAT" };
    say("kill", kill.active ? `KILLED: ${words[kill.state]}` : kill.state === "none" ? "Not set" : `Flatten: ${words[kill.state]}`);
    tone("card-kill", kill.state === "not_flat" || kill.active && kill.state !== "flat" ? "bad" : kill.active || kill.state !== "none" && kill.state !== "flat" ? "warn" : "good");
    const lines = [];
    if (kill.since) lines.push(`since ${moment(kill.since)}`);
    if (kill.reason) lines.push(`“${kill.reason}”`);
    if (kill.proof_at) lines.push(`read flat at ${moment(kill.proof_at)}`);
    for (const left of kill.residue.slice(0, 4)) lines.push(`left: ${left.coin} ${left.size}, ${left.orders} orders`);
    fill("kill-detail", lines.map((line) => make("p", line)));
  }

  function drawWorkers(workers) {
    fill("workers", workers.map((w) => {
      const row = make("tr");
      row.append(make("td", w.role));
      const state = make("td");
      const pill = make("span", w.probation && w.state === "ready" ? "ready, on probation" : w.state, "pill");
      pill.dataset.tone = w.state === "ready" ? w.probation ? "warn" : "good" : ["failed", "exited"].includes(w.state) ? "bad" : "warn";
      state.append(pill);
      if (w.last_exit) state.append(make("div", `last: ${w.last_exit}`, "lastexit"));
      row.append(state, make("td", w.pid === null ? "—" : String(w.pid), "num"), make("td", String(w.restarts), "num"),
        make("td", w.last_beat_ms === null ? "—" : `${w.last_beat_ms} ms`, "num"));
      return row;
    }));
  }

  // ── lists ────────────────────────────────────────────────────────────────────────────────────────────────────────
  function actionWords(action) {
    if (action.open) return [action.open.is_buy ? "▲ open long" : "▼ open short", `${action.open.size} at ${grouped(action.open.px)}`, ""];
    if (action.close) return ["■ close", action.close.size, action.close.why];
    if (action.rejected) return ["✕ refused", action.rejected.reason, ""];
    return ["· hold", "", ""];
  }

  function drawLists() {
    if (!shown) return;
    fill("cycles", data.cycles.slice(-ROWS_MAX).reverse().map((c) => {
      const [verb, what, why] = actionWords(c.action || {});
      const row = make("tr");
      row.append(make("td", clockOf(c.t)), make("td", `${verb} ${what}`.trim()), make("td", grouped(c.close), "num hint"),
        make("td", `${c.signal_bps} bp`, "num hint"), make("td", c.detail.startsWith(why) ? c.detail : `${why}; ${c.detail}`));
      return row;
    }));
    fill("fills", data.fills.slice(-ROWS_MAX).reverse().map((f) => {
      const row = make("tr");
      row.append(make("td", clockOf(f.venue_ms)), make("td", f.is_buy ? "▲ buy" : "▼ sell", f.is_buy ? "buy" : "sell"),
        make("td", `${f.size} ${f.coin}`, "num"), make("td", grouped(f.px), "num"),
        make("td", sizeOf(f.closed_pnl_usd) === 0 ? "—" : `${sizeOf(f.closed_pnl_usd) > 0 ? "+" : ""}${grouped(cents(f.closed_pnl_usd))}`, "num"));
      return row;
    }));
  }

  // ── charts ───────────────────────────────────────────────────────────────────────────────────────────────────────
  const charts = {};
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Points with a hole wherever the feed was silent: a line over missing data would be a claim.
  function columns(points) {
    const xs = [], ys = [];
    let last = null;
    for (const [t, text] of points) {
      if (last !== null && t - last > HOLE_MS) { xs.push((last + 1) / 1000); ys.push(null); }
      xs.push(t / 1000);
      ys.push(Number(text));
      last = t;
    }
    return [xs, ys];
  }

  function markFills(u) {
    const { ctx } = u;
    const half = 5 * devicePixelRatio;
    for (const f of data.fills) {
      if (data.coin && f.coin !== data.coin) continue;
      const t = f.venue_ms / 1000;
      if (t < u.scales.x.min || t > u.scales.x.max) continue;
      const x = u.valToPos(t, "x", true), y = u.valToPos(Number(f.px), "y", true);
      const up = f.is_buy ? 1 : -1;
      ctx.save();
      ctx.fillStyle = css(f.is_buy ? "--buy" : "--sell");
      ctx.strokeStyle = css("--panel");
      ctx.lineWidth = devicePixelRatio;
      ctx.beginPath();
      ctx.moveTo(x, y + up * half * .3);
      ctx.lineTo(x - half, y + up * half * 2);
      ctx.lineTo(x + half, y + up * half * 2);
      ctx.closePath();
      ctx.fill();
      ctx.stroke();
      ctx.restore();
    }
  }

  // A flat line stays in the middle of a narrow band: an axis from zero would hide the first real move, then jump.
  function band(u, min, max) {
    if (min === null || max === null) return [0, 1];
    const room = Math.max((max - min) * .08, Math.abs(max) * .0005, 1e-9);
    return [min - room, max + room];
  }

  function chart(name, points, stroke, extra) {
    const box = el(`${name}-chart`);
    const usable = shown && points.length >= 2 && typeof uPlot === "function";
    if (!usable) {
      if (charts[name]) { charts[name].destroy(); delete charts[name]; }
      box.replaceChildren(make("div", shown ? "Waiting for data" : "Unknown", "empty"));
      box.setAttribute("aria-label", `${name}: ${shown ? "no data yet" : "unknown"}`);
      return;
    }
    const table = columns(points);
    if (charts[name]) {
      charts[name].setData(table);
    } else {
      box.replaceChildren();
      const axis = { stroke: css("--dim"), grid: { stroke: css("--grid"), width: 1 }, ticks: { stroke: css("--grid"), width: 1 } };
      charts[name] = new uPlot({
        width: box.clientWidth, height: box.clientHeight,
        legend: { show: false },
        cursor: { drag: { x: false, y: false } },
        scales: { y: { range: band } },
        series: [{}, { stroke: css(stroke), width: 1.5, points: { show: false }, spanGaps: false }],
        axes: [
          { ...axis, values: "{HH}:{mm}:{ss}", space: 90, size: 32 },
          { ...axis, size: 76, values: (u, ticks) => ticks.map((v) => grouped(String(+v.toFixed(6)))) },
        ],
        hooks: extra ? { draw: [extra] } : {},
      }, table, box);
    }
    const lastPoint = points[points.length - 1];
    box.setAttribute("aria-label", `${name}: ${points.length} points, last ${lastPoint[1]} at ${clockOf(lastPoint[0])}`);
  }

  function drawCharts() {
    chart("price", data.prices, "--price", markFills);
    chart("equity", data.equity, "--equity", null);
    const price = data.prices[data.prices.length - 1], equity = data.equity[data.equity.length - 1];
    say("price-now", shown && price ? `${data.coin} ${grouped(price[1])}` : "");
    say("equity-now", shown && equity ? `${grouped(cents(equity[1]))} USD` : "");
  }

  function redraw() {
    for (const name of Object.keys(charts)) { charts[name].destroy(); delete charts[name]; }
    drawCharts();
  }

  // ── the stream ───────────────────────────────────────────────────────────────────────────────────────────────────
  const keep = (list, item, max) => { list.push(item); if (list.length > max) list.splice(0, list.length - max); };
  const newer = (list, t) => list.length === 0 || list[list.length - 1][0] < t;
  let dirty = false, listDirty = false;

  function market(view) {
    const words = view.state === "fresh" ? "" : `market: ${view.state}`;
    say("market-state", shown ? words : "");
    if (view.state !== "fresh" || !view.bid || !view.ask) return;
    if (data.coin !== view.coin) { data.coin = view.coin; data.prices = []; }
    if (newer(data.prices, view.venue_ms)) {
      const decimals = Math.max(...[view.bid[0], view.ask[0]].map((p) => (p.split(".")[1] || "").length)) + 1;
      const mid = ((Number(view.bid[0]) + Number(view.ask[0])) / 2).toFixed(Math.min(decimals, 8)).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
      keep(data.prices, [view.venue_ms, mid], PRICES_MAX);
      dirty = true;
    }
  }

  const listeners = {
    market,
    account: (view) => { if (newer(data.equity, view.venue_ms)) { keep(data.equity, [view.venue_ms, view.equity_usd], EQUITY_MAX); dirty = true; } },
    fill: (f) => { if (!data.fills.some((o) => o.tid === f.tid && o.venue_ms === f.venue_ms)) { keep(data.fills, f, FILLS_MAX); dirty = listDirty = true; } },
    cycle: (c) => { keep(data.cycles, c, 200); listDirty = true; },
  };

  async function past() {
    try {
      const answer = await fetch("/api/v1/history", { cache: "no-store" });
      if (!answer.ok) return;
      const got = await answer.json();
      Object.assign(data, { coin: got.coin, prices: got.prices, fills: got.fills, equity: got.equity, cycles: got.cycles });
      drawLists();
      drawCharts();
    } catch { /* charts start empty; safety does not depend on them */ }
  }

  let source = null;
  function connect() {
    if (source) source.close();
    source = new EventSource("/api/v1/events");
    source.onopen = past;
    source.addEventListener("status", (e) => take(e.data));
    for (const [name, act] of Object.entries(listeners)) {
      source.addEventListener(name, (e) => { try { act(JSON.parse(e.data)); } catch { /* one lost point */ } });
    }
  }

  let lastTry = performance.now();
  function watch() {
    if (shown && age() > STALE_MS) blank("No status for more than two seconds. Whatever stood here may no longer be true.");
    if (shown) { permitLeft(); say("age", `${(age() / 1000).toFixed(1)} s`); }
    // The browser gives up after a refused answer; this page never does.
    if (source.readyState === EventSource.CLOSED && performance.now() - lastTry > 1000) { lastTry = performance.now(); connect(); }
    if (shown && dirty && !document.hidden) { dirty = false; drawCharts(); }
    if (shown && listDirty && !document.hidden) { listDirty = false; drawLists(); }
  }

  document.addEventListener("visibilitychange", watch);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  let resizing = 0;
  addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(redraw, 150); });
  blank(doubt);
  connect();
  setInterval(watch, 250);
})();
