"use strict";
(() => {
  const SLOTS = 60, SLOT = 2, SHOWN = 50, KEPT = 640;
  const $ = (id) => document.getElementById(id);
  const make = (tag, cls, text) => {
    const e = document.createElement(tag);
    if (cls) e.className = cls;
    if (text !== undefined) e.textContent = text;
    return e;
  };
  const svg = (tag, attrs) => {
    const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const name in attrs) e.setAttribute(name, attrs[name]);
    return e;
  };
  const setText = (e, text) => { if (e.textContent !== text) e.textContent = text; };
  const count = (n) => n.toLocaleString("en");
  const tenth = (n) => String(Math.round(n * 10) / 10);
  const short = (n) => n >= 1e6 ? tenth(n / 1e6) + "\u00a0M" : n >= 1e4 ? tenth(n / 1e3) + "\u00a0k" : count(Math.round(n * 10) / 10);

  const rows = new Map(); // by key
  let events = [], skew = 0, steerable = false, totals = null, lastID = "", order = "";
  const now = () => Date.now() + skew; // the server's clock

  // A key can be linked to: #key=…
  const linked = () => new URLSearchParams(location.hash.slice(1)).get("key") || new URLSearchParams(location.search).get("key") || "";

  // ---- rows. What is out of sight has its name and its reason, and no picture.
  const sight = new IntersectionObserver((entries) => {
    for (const e of entries) {
      const row = e.target.row;
      row.visible = e.isIntersecting;
      if (row.visible && row.stale) paint(row);
    }
  }, { rootMargin: "300px" });

  function newRow(key) {
    const li = make("li"), row = { key, li, data: null, slots: new Map(), visible: false, stale: true };
    li.row = row;
    row.circle = svg("circle", { cx: 26, cy: 26, r: 6 });
    row.share = svg("text", { x: 26, y: 30 });
    const pic = svg("svg", { class: "circle", viewBox: "0 0 52 52", "aria-hidden": "true" });
    pic.append(row.circle, row.share);
    const body = make("div"), name = make("div", "name"), a = make("a");
    const cut = key.indexOf(" ");
    a.href = "#key=" + encodeURIComponent(key);
    a.append(cut > 0 ? key.slice(cut + 1) : key);
    name.append(a);
    if (cut > 0) name.append(" ", make("small", "", key.slice(0, cut)));
    row.why = make("span");
    row.until = make("span", "until");
    const why = make("div", "why");
    why.append(row.why, " ", row.until);
    body.append(name, why);
    row.spark = svg("svg", { class: "spark", viewBox: "0 0 240 44", preserveAspectRatio: "none", role: "img" });
    row.paths = ["refused", "wasted", "answered"].map((cls) => svg("path", { class: cls }));
    row.spark.append(svg("path", { class: "base", d: "M0 43.5H240" }), ...row.paths);
    row.facts = make("div", "facts");
    li.append(pic, body, row.spark, row.facts);
    sight.observe(li);
    return row;
  }

  function update(row, data) {
    const fresh = data.slots;
    row.data = data;
    for (const s of fresh) row.slots.set(s[0], s);
    const oldest = Math.floor(now() / 1000 / SLOT) - SLOTS;
    for (const n of row.slots.keys()) if (n < oldest) row.slots.delete(n);
    row.until.at = data.until ? Date.parse(data.until) : 0;
    row.li.className = "t" + data.trouble;
    setText(row.why, data.why);
    countdown(row);
    if (row.visible) paint(row); else row.stale = true;
  }

  function countdown(row) {
    const left = row.until.at ? Math.ceil((row.until.at - now()) / 1000) : 0;
    setText(row.until, left > 0 ? "Next try in " + (left >= 60 ? Math.floor(left / 60) + " min " : "") + left % 60 + " s." : "");
  }

  // Waste runs from green over amber to red. A key to which nothing is sent is red.
  function colour(data) {
    if (data.trouble === 4) return "var(--bad)";
    if (!data.attempts) return "var(--line)";
    const share = Math.min(1, data.wasted / data.attempts * 2);
    return share <= .5 ? `color-mix(in oklab, var(--warn) ${Math.round(share * 200)}%, var(--good))` : `color-mix(in oklab, var(--bad) ${Math.round(share * 200 - 100)}%, var(--warn))`;
  }

  function paint(row) {
    const d = row.data;
    row.stale = false;
    const share = d.attempts ? Math.round(d.wasted / d.attempts * 100) : 0;
    row.circle.style.fill = colour(d);
    row.circle.style.fillOpacity = share || d.trouble === 4 ? .55 : .4;
    row.circle.style.r = 6 + Math.min(20, d.size * 2) + "px";
    setText(row.share, d.attempts ? share + "%" : "");
    sparkline(row);
    row.facts.replaceChildren(...facts(d));
  }

  function sparkline(row) {
    const first = Math.floor(now() / 1000 / SLOT) - SLOTS + 1;
    let top = 4;
    for (const s of row.slots.values()) if (s[0] >= first) top = Math.max(top, s[1] + s[2] + s[3]);
    const d = ["", "", ""];
    for (const s of row.slots.values()) {
      if (s[0] < first) continue;
      const x = (s[0] - first) * 4;
      let y = 43;
      [[2, s[1]], [1, s[2]], [0, s[3]]].forEach(([i, n]) => { // answered below, then wasted, then refused
        if (!n) return;
        const h = Math.max(1.5, n / top * 42);
        y -= h;
        d[i] += `M${x} ${y.toFixed(1)}h3.2v${h.toFixed(1)}h-3.2z`;
      });
    }
    row.paths.forEach((p, i) => p.setAttribute("d", d[i]));
    const k = row.data;
    row.spark.setAttribute("aria-label", `In two minutes ${k.answered} answered, ${k.wasted} without an answer, ${k.refused} refused`);
  }

  const fact = (value, label) => {
    const e = make("span");
    e.append(make("b", "", value), " " + label);
    return e;
  };

  const sources = { configured: "configured", header: "stated by the server", "429": "learned from refusals" };

  function facts(d) {
    const all = [];
    if (d.attempts) all.push(fact(count(d.attempts), "attempts"));
    if (d.wasted) all.push(fact(count(d.wasted), "no answer"));
    if (d.refused) all.push(fact(count(d.refused), "refused"));
    if (d.in_flight) all.push(fact(count(d.in_flight), "in flight"));
    if (d.waiting) all.push(fact(count(d.waiting), `waiting, the oldest for ${d.oldest_seconds} s`));
    if (d.circuit && d.circuit.state !== "closed") all.push(fact(d.circuit.forced ? "open by hand" : d.circuit.state, "circuit"));
    if (d.cache) all.push(fact(Math.round(d.cache.ratio * 100) + " %", "from the cache"));
    const queues = d.queues || [];
    queues.slice(0, 5).forEach((q) => {
      const tenant = queues.length > 1 && q.tenant ? q.tenant.slice(0, 6) + ": " : "";
      if (q.tokens_left !== undefined) all.push(fact(tenant + short(q.tokens_left), "tokens left"));
      (q.limits || []).forEach((l) => all.push(limit(l, tenant)));
    });
    if (queues.length > 5) all.push(make("span", "", `and ${queues.length - 5} more credentials`));
    if (steerable && d.circuit) {
      const acts = make("span", "acts"), open = d.circuit.state !== "closed";
      const b = make("button", "", open ? "Reset the circuit" : "Open the circuit");
      b.type = "button";
      b.addEventListener("click", () => steer(open ? "reset" : "trip", d.key));
      acts.append(b);
      all.push(acts);
    }
    return all;
  }

  function limit(l, tenant) {
    const e = make("span", "limit"), unit = l.kind === "concurrency" ? "at a time" : l.kind + "/min" + (l.daily ? " of a day" : "");
    e.append(tenant, make("b", "", short(l.per_minute)), unit);
    if (l.used !== null && l.per_minute > 0) {
      const share = Math.min(1, l.used / l.per_minute), track = make("span", "track"), fill = make("i", share > .9 ? "full" : "");
      fill.style.width = share * 100 + "%";
      track.append(fill);
      track.setAttribute("role", "img");
      track.setAttribute("aria-label", `${short(l.used)} used`);
      track.title = `${short(l.used)} used of ${short(l.per_minute)}`;
      e.append(track);
    }
    e.append(make("span", "source", sources[l.source] || l.source));
    return e;
  }

  async function steer(action, key) {
    if (action === "trip" && !confirm(`Open the circuit of ${key}? Nothing is sent to it until it is reset.`)) return;
    const answer = await fetch(action, { method: "POST", body: new URLSearchParams({ key }) });
    if (!answer.ok) say(await answer.text());
  }

  const say = (text) => { $("news").textContent = text; };

  // ---- the whole
  function paintTotals(t) {
    const share = t.attempts ? Math.round(t.wasted / t.attempts * 1000) / 10 : 0;
    const all = [
      ["attempts", short(t.attempts)], ["answered", short(t.answered)], [`no answer, ${share} %`, short(t.wasted), share > 5],
      ["refused", short(t.refused)], ["from the cache", short(t.saved)], ["other routes", short(t.fallbacks)], ["tokens in", short(t.input_tokens)], ["tokens out", short(t.output_tokens)],
    ];
    const dl = $("totals");
    all.forEach(([label, value, bad], i) => {
      const div = dl.children[i] || dl.appendChild(make("div"));
      if (!div.firstChild) div.append(make("dt", "", label), make("dd"));
      div.className = bad ? "bad" : "";
      setText(div.firstChild, label);
      setText(div.lastChild, value);
    });
  }

  function arrange() {
    const key = linked(), find = $("find").value.trim().toLowerCase(), troubled = $("troubled").checked;
    const all = [...rows.values()].sort((a, b) => b.data.trouble - a.data.trouble || b.data.size - a.data.size || (a.key < b.key ? -1 : 1));
    const shown = all.filter((r) => (!key || r.key === key) && (!find || r.key.toLowerCase().includes(find)) && (!troubled || r.data.trouble > 0));
    const list = $("keys"), wanted = shown.map((r) => r.key).join("\n");
    if (wanted !== order) { // else nothing has moved, and the focus stays
      order = wanted;
      const focus = document.activeElement;
      list.replaceChildren(...shown.map((r) => r.li));
      if (focus && list.contains(focus)) focus.focus({ preventScroll: true });
    }
    const bad = all.filter((r) => r.data.trouble >= 3).length;
    setText($("count"), (shown.length === all.length ? "" : count(shown.length) + " of ") + count(all.length) + (all.length === 1 ? " key" : " keys") + (bad ? `, ${count(bad)} in trouble` : ""));
    document.title = (bad ? `(${bad}) ` : "") + "snubber";
    const empty = $("empty");
    empty.hidden = shown.length > 0;
    setText(empty, all.length ? "No key fits the filter." : "Nothing was asked yet.");
    if (key && !$("all")) {
      const a = make("a", "", "Show all keys");
      a.id = "all";
      a.href = "#";
      $("filter").insertBefore(a, $("count"));
    }
    if (!key && $("all")) $("all").remove();
  }

  function paintEvents() {
    const key = linked(), find = $("find").value.trim().toLowerCase(), kind = $("kind").value, troubled = $("troubled").checked;
    const shown = [];
    for (let i = events.length - 1; i >= 0 && shown.length < SHOWN; i--) {
      const e = events[i];
      if ((kind && e.kind !== kind) || (troubled && e.routine) || (key && e.key !== key) || (find && !e.key.toLowerCase().includes(find))) continue;
      if (!e.li) {
        const li = e.li = make("li", /circuit/.test(e.kind) && /to open/.test(e.text) || e.class === "quota-exhausted" || /failed/.test(e.kind) ? "bad" : "");
        const t = make("time", "", new Date(e.time).toLocaleTimeString("en-GB"));
        t.dateTime = e.time;
        li.append(t, make("span", "kind", e.kind), make("span", "key", e.key), make("span", "text", e.text));
      }
      shown.push(e.li);
    }
    $("events").replaceChildren(...shown);
  }

  // ---- messages
  function receive(m) {
    skew = Date.parse(m.time) - Date.now();
    steerable = m.steerable;
    const fresh = new Set(m.full ? m.keys.map((k) => k.key) : []);
    if (m.full) for (const [key, row] of rows) if (!fresh.has(key)) { sight.unobserve(row.li); rows.delete(key); }
    for (const k of m.keys) {
      let row = rows.get(k.key);
      const before = row ? row.data.trouble : 0;
      if (!row) rows.set(k.key, row = newRow(k.key));
      update(row, k);
      if (k.trouble >= 3 && before < 3) say(k.key + ": " + k.why);
    }
    for (const e of m.events) {
      if (!known.has(e.kind)) {
        known.add(e.kind);
        const o = make("option", "", e.kind);
        o.value = e.kind;
        $("kind").append(o);
      }
    }
    if (m.events.length) events = events.concat(m.events).slice(-KEPT);
    totals = m.totals;
    paintTotals(totals);
    arrange();
    if (m.events.length) paintEvents();
    setText($("state"), "Live, since " + new Date(m.since).toLocaleString("en-GB"));
    $("state").className = "live";
  }
  const known = new Set();

  let source = null;
  function connect() {
    source = new EventSource("events" + (lastID ? "?after=" + encodeURIComponent(lastID) : ""));
    source.onmessage = (e) => {
      // The server's epoch begins the ID. Another one is another run of the program.
      if (lastID && lastID.split(".")[0] !== e.lastEventId.split(".")[0]) { events = []; }
      lastID = e.lastEventId;
      receive(JSON.parse(e.data));
    };
    source.onerror = () => {
      setText($("state"), "Not connected. Trying again …");
      $("state").className = "";
      if (source.readyState === EventSource.CLOSED) { source = null; setTimeout(() => { if (!source && !document.hidden) connect(); }, 5000); }
    };
  }
  document.addEventListener("visibilitychange", () => { // a hidden page takes no viewer's place
    if (document.hidden) { if (source) source.close(); source = null; } else if (!source) connect();
  });

  const again = () => { arrange(); paintEvents(); };
  $("find").addEventListener("input", again);
  $("troubled").addEventListener("change", again);
  $("kind").addEventListener("change", paintEvents);
  $("filter").addEventListener("submit", (e) => e.preventDefault());
  addEventListener("hashchange", again);
  addEventListener("keydown", (e) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
    if (e.key === "/" && !typing && !e.ctrlKey && !e.metaKey) { e.preventDefault(); $("find").focus(); }
    if (e.key === "Escape") { $("find").value = ""; if (location.hash) location.hash = ""; again(); }
  });
  setInterval(() => {
    for (const row of rows.values()) {
      if (row.until.at) countdown(row);
      if (row.visible && row.slots.size) sparkline(row);
    }
  }, 1000);
  connect();
})();
