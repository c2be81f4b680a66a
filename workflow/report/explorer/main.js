/* State, address and views. The address after # holds all that a reader would send to someone else. */
"use strict";

(async () => {
  const $ = (id) => document.getElementById(id);
  const trouble = (text) => { $("trouble").textContent = text; $("trouble").hidden = false; };
  if (!("DecompressionStream" in window)) { trouble("This browser cannot unpack the data. Use a browser of 2023 or later."); return; }

  /* ------------------------------------------------------------------------------------------------------- colours */

  const themes = ["system", "light", "dark"], dark = matchMedia("(prefers-color-scheme: dark)");
  let theme = "system";
  try { theme = localStorage.getItem("quanta:theme") ?? "system"; } catch { /* no storage for files: the choice lasts as long as the page */ }
  function paint() {
    const said = { system: "as the system has them", light: "light", dark: "dark" }[theme];
    document.documentElement.dataset.theme = theme === "system" ? (dark.matches ? "dark" : "light") : theme;
    $("theme").textContent = { system: "◐", light: "☀", dark: "☾" }[theme];
    $("theme").setAttribute("aria-label", `Colours: ${said}`);
    $("theme").title = `Colours: ${said}`;
  }
  paint();

  const { ks } = Q.meta, views = ["gallery", "law", "list", "cluster", "map", "heat", "search", "figures", "numbers", "about"];
  const state = { view: "gallery", of: "first", k: Q.meta.show, cluster: 0, token: null, from: null };
  await Q.start();

  /* ------------------------------------------------------------------------------------------------------- address */

  /* What the address asks for; a notice names what the run does not have. */
  function read() {
    const given = new URLSearchParams(location.hash.slice(1)), next = { ...state, from: null }, lacking = [];
    if (ks.includes(+given.get("k"))) next.k = +given.get("k");
    else if (given.has("k")) lacking.push(`clustering into “${given.get("k")}” (it has ${ks.join(", ")})`);
    next.of = "first";
    if (given.get("of") === "second" && Q.meta.second) next.of = "second";
    else if (given.has("of") && given.get("of") !== "first") lacking.push(`clustering “${given.get("of")}”`);
    Q.use(next.of);
    const { number, label } = Q.clustering(next.k);
    next.token = Q.at.has(given.get("token")) ? given.get("token") : null;
    if (given.has("token") && next.token === null) lacking.push(`selected token “${given.get("token")}”`);
    const wanted = given.get("cluster");
    if (next.token !== null) next.cluster = label[Q.at.get(next.token)];
    else if (wanted !== null && /^\d+$/.test(wanted) && +wanted < number) next.cluster = +wanted;
    else if (wanted !== null) lacking.push(`cluster “${wanted}” of ${next.k} (0 to ${number - 1})`);
    next.cluster = Math.min(next.cluster, number - 1);
    if (views.includes(given.get("view"))) next.view = given.get("view");
    else if (given.get("view")) lacking.push(`view “${given.get("view")}”`);
    else if (given.has("cluster") || next.token !== null) next.view = "cluster";
    if (lacking.length) trouble(Q.plain(`This run does not have what the address asks for: no ${lacking.join(", no ")}. The page shows the nearest that it has.`)); else $("trouble").hidden = true;
    if (given.has("q")) {
      $("query").value = given.get("q");
      brought = !own.has(given.get("q")) && /[\\^$.*+?()[\]{}|]/.test(given.get("q")) ? given.get("q") : null;
      $("scope").value = Object.hasOwn(TEXTS, given.get("in") ?? "") ? given.get("in") : "until";
      $("case").checked = given.get("case") === "1";
    }
    return next;
  }

  function address() {
    const parts = new URLSearchParams({ view: state.view, k: state.k, cluster: state.cluster });
    if (state.of === "second") parts.set("of", "second");
    if (state.token !== null) parts.set("token", state.token);
    if (state.view === "search" && $("query").value) {
      parts.set("q", $("query").value);
      if ($("scope").value !== "until") parts.set("in", $("scope").value);
      if ($("case").checked) parts.set("case", "1");
    }
    return `#${parts}`;
  }

  /* Change the state and show it. `quiet` leaves the view's other parts as they are. */
  Q.go = (change, { quiet = false, replace = false } = {}) => {
    const before = { ...state };
    $("trouble").hidden = true;
    Object.assign(state, change);
    Q.use(state.of);
    if (change.cluster !== undefined || (state.from && state.from.k === state.k && state.from.of === state.of)) { state.cluster = change.cluster ?? state.from.cluster; state.from = null; }
    else if (state.k !== before.k || state.of !== before.of) {
      state.from ??= { k: before.k, cluster: before.cluster, of: before.of };
      state.cluster = follow(state.from, state.k);
    }
    if (state.cluster !== before.cluster || state.k !== before.k || state.of !== before.of) if (change.token === undefined) state.token = null;
    if (location.hash !== address()) history[replace ? "replaceState" : "pushState"](null, "", address());
    show(before, quiet);
  };

  /* The cluster at another k that holds most of the tokens of the one that was opened: a slider moved there and back finds it again. */
  function follow(opened, k) {
    const counts = new Map(), { label } = Q.clustering(k);
    for (const token of Q.clustering(opened.k, opened.of === "second" ? "second_" : "").of(opened.cluster)) counts.set(label[token], (counts.get(label[token]) ?? 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0])[0][0];
  }

  Q.copyLink = async () => {
    const button = $("link");
    try { await navigator.clipboard.writeText(location.href); button.textContent = "Copied"; } catch { button.textContent = "The address bar has it"; }
    setTimeout(() => { button.textContent = "Copy link"; }, 1500);
  };

  /* ---------------------------------------------------------------------------------------------- list of clusters */

  for (const [key, { sort }] of Object.entries(Q.MEASURES)) if (sort && Q.clustering(state.k).measures()[key]) $("sort").append(Q.el("option", { value: key }, sort));

  const clusterList = Q.list($("cluster-list"), {
    label: "Clusters", height: 58, empty: "No cluster has this text in its name, description or target.", choose: (c) => Q.go({ view: "cluster", cluster: c, token: null }),
    render: (c) => {
      const { columns } = Q.clustering(state.k), measures = Q.clustering(state.k).measures(), key = measures[$("sort").value] ? $("sort").value : "size";
      const name = Q.names.get(state.k, c), value = key === "size" ? "" : ` · ${Q.said(key, measures[key][c])}`;
      return Q.el("div", { class: "item" },
        Q.el("div", { class: "title" }, Q.el("b", {}, `${c}`), Q.el("span", { class: name ? "" : "mono" }, name || Q.visible(columns.target[c])),
          name || columns.purity[c] > 0.995 ? null : Q.el("span", { class: "faint", title: "share of the commonest target" }, `${(100 * columns.purity[c]).toFixed(0)} %`),
          Q.mixed(state.k, c) ? Q.el("span", { class: "tag", title: "the mean cosine of its pairs is below 0.1" }, "mixed") : null,
          Q.el("span", { class: "faint" }, `${columns.size[c]} tokens${value}`)),
        Q.el("div", { class: "what" }, Q.rule(state.k, c)));
    },
  });

  /* `top`: a new order or filter is read from its beginning, wherever the open cluster is. */
  Q.refreshList = (top = false) => {
    const own = Q.clustering(state.k), key = own.measures()[$("sort").value] ? $("sort").value : "size", values = own.measures()[key], turn = Q.MEASURES[key].first * ($("reverse").getAttribute("aria-pressed") === "true" ? -1 : 1);
    const wanted = $("filter").value.toLowerCase();
    let items = Array.from({ length: own.number }, (_, c) => c);
    if (wanted) items = items.filter((c) => `${c} ${Q.names.get(state.k, c)} ${Q.rule(state.k, c)} ${Q.visible(own.columns.target[c])} ${Q.mixed(state.k, c) ? "mixed" : ""}`.toLowerCase().includes(wanted));
    // those without a value come last, whichever way
    items.sort((a, b) => (values[a] === null) - (values[b] === null) || turn * (values[b] - values[a]) || a - b);
    $("list-count").textContent = wanted ? `${items.length} of ${own.number} clusters` : `${own.number} clusters`;
    clusterList.show(items, state.cluster);
    if (top) $("cluster-list").scrollTop = 0;
  };
  $("sort").addEventListener("change", () => Q.refreshList(true));
  $("filter").addEventListener("input", () => Q.refreshList(true));
  $("reverse").addEventListener("click", () => { $("reverse").setAttribute("aria-pressed", String($("reverse").getAttribute("aria-pressed") !== "true")); Q.refreshList(true); });

  /* Which clustering: the paper's affinity, or the second. */
  const switches = [...document.querySelectorAll("[data-of]")];
  for (const button of switches) button.addEventListener("click", () => Q.go({ of: button.dataset.of }));
  function showOf() {
    for (const button of switches) button.setAttribute("aria-pressed", String(button.dataset.of === state.of));
    if (!Q.meta.second) return;
    $("of-findings").hidden = state.of !== "second";
    const { agreement, meaning } = Q.meta.second, rand = agreement[state.k];
    $("of-said").textContent = `${state.of === "second" ? `By ${meaning}. ` : ""}${rand === undefined ? "" : `Agreement of both at ${state.k} clusters: adjusted Rand index ${rand.toFixed(2)} (1: the same; 0: chance).`}`;
  }

  $("k").max = ks.length - 1;
  // a dragged slider asks for more than the screen can show: once a frame is enough
  let asked = 0;
  $("k").addEventListener("input", () => {
    $("k-value").textContent = ks[+$("k").value];
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(() => Q.go({ k: ks[+$("k").value] }, { replace: true }));
  });

  /* ---------------------------------------------------------------------------------------------------------- law */

  function describe(found) {
    if (!found) return "Point at a curve to see its cluster or null model.";
    if (found.null) return `Null model, ${Q.plain(found.null)}: rank ${found.rank}, ${found.size} tokens.`;
    return `${found.k} clusters, rank ${found.rank}: ${found.size} tokens. ${Q.names.get(found.k, found.rank - 1) || Q.rule(found.k, found.rank - 1)}`;
  }

  let strong = null; // the null model that is drawn strongly
  function showLaw() {
    $("law-readout").textContent = describe(null);
    Q.lawChart($("law-chart"), {
      k: state.k, cluster: state.cluster, strong,
      choose: (found) => Q.go({ view: "cluster", k: found.k, cluster: found.rank - 1, token: null }),
      hover: (found) => { $("law-readout").textContent = describe(found); },
    });
    const { fit, nulls, notes, theory_slope } = Q.law(), number = (x) => x.toFixed(3);
    const line = (colour, text, { dash = [], opacity = 1 } = {}) => Q.el("span", {}, Q.stroke(Q.colour(colour), dash, opacity), text);
    $("law-key").replaceChildren(
      line("accent", `${state.k} clusters`), line("series", "other numbers of clusters", { opacity: 0.4 }), line("ink", "envelope"),
      ...(fit.value === null ? [] : [line("fit", `slope ${number(fit.value)}${fit.interval ? ` [${fit.interval.map(number).join(", ")}]` : ""}, ranks ${fit.ranks.join(" to ")}`), ...(theory_slope === null ? [] : [line("theory", `theory, −(α_N + 1) = ${number(theory_slope)}`, { dash: [8, 3, 2, 3] })])]),
      line("null", `${nulls.length} null model${nulls.length === 1 ? "" : "s"}`, { dash: Q.nullDash(0) }));
    const different = (one) => (one.different === null ? "not tested" : one.different ? "yes" : "no");
    $("law-nulls").replaceChildren(
      Q.el("thead", {}, Q.el("tr", {}, ...["null model", "slope", "different from the data", "what it is"].map((name) => Q.el("th", { scope: "col" }, name)))),
      Q.el("tbody", {}, Q.el("tr", {}, Q.el("th", { scope: "row" }, "the data"), Q.el("td", {}, fit.value === null ? "–" : number(fit.value)), Q.el("td", {}, ""), Q.el("td", {}, Q.which ? Q.meta.second.meaning : "gradients of the selected tokens")),
        ...nulls.map((one, i) => Q.el("tr", {},
          Q.el("th", { scope: "row" }, Q.el("button", { type: "button", "aria-pressed": String(strong === one.name), onclick: () => mark(one.name, i) }, Q.stroke(Q.colour(strong === one.name ? "chosen" : "null"), Q.nullDash(i)), Q.plain(one.name))),
          Q.el("td", {}, one.slope === null ? "–" : number(one.slope)), Q.el("td", {}, different(one)), Q.el("td", {}, one.meaning)))));
    $("law-notes").replaceChildren(...notes.map((text) => Q.el("p", { class: "faint" }, text)));
  }

  function mark(name, index) {
    strong = strong === name ? null : name;
    showLaw();
    $("law-nulls").querySelectorAll("button")[index].focus({ preventScroll: true });
  }

  /* ---------------------------------------------------------------------------------------------------------- map */

  const map = Q.map($("map"), {
    choose: (token) => Q.go({ view: "cluster", cluster: Q.clustering(state.k).label[token], token: Q.place(token) }),
    hover: (token) => {
      if (token < 0) { $("map-readout").textContent = "Point at a token to see its cluster. Click to open it."; return; }
      const c = Q.clustering(state.k).label[token];
      $("map-readout").textContent = `cluster ${c}: ${Q.line(Q.tokens.before[token].slice(-40))}[${Q.visible(Q.tokens.target[token])}] · ${Q.names.get(state.k, c) || Q.rule(state.k, c)}`;
    },
  });
  $("map-readout").textContent = "Point at a token to see its cluster. Click to open it.";
  {
    const { members, by_size, other_seeds } = Q.meta, steps = new Map();
    for (const [m, { model }] of members.entries()) if (!by_size.includes(m) && !other_seeds.includes(m)) steps.set(model, [...(steps.get(model) ?? []), m]);
    const group = (label, list, said) => (list.length ? Q.el("optgroup", { label }, ...list.map((m) => Q.el("option", { value: m }, said(members[m])))) : null);
    $("map-colour").append(...[Q.el("option", { value: "cluster" }, "by cluster"),
      group("loss over model sizes", by_size, ({ model }) => `loss under ${model}`), group("other seeds", other_seeds, ({ model }) => `loss under ${model}`),
      ...[...steps].map(([model, list]) => group(`training of ${model}`, list, ({ step }) => `loss under ${model}, step ${step}`))].filter(Boolean));
  }
  $("map-colour").addEventListener("change", () => showMap());
  for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => map.zoom(+button.dataset.zoom));

  async function showMap() {
    const layout = await Q.own("layout"), { label } = Q.clustering(state.k), by = $("map-colour").value;
    const rings = Uint8Array.from(label, (l) => +(l === state.cluster));
    let colours;
    if (by === "cluster") {
      const hues = Array.from({ length: Q.clustering(state.k).number }, (_, c) => Q.hue(c));
      colours = Array.from(label, (l) => hues[l]);
      $("map-key").replaceChildren(Q.el("span", {}, `${state.k} clusters; colours repeat, so point at one to name it`));
    } else {
      // the end of the ramp that is the ground's own colour is left out
      const night = document.documentElement.dataset.theme === "dark", [from, to] = night ? [0.3, 1] : [0, 0.8];
      const top = 6, table = Array.from({ length: 101 }, (_, i) => `rgb(${Q.ramp(from + ((to - from) * i) / 100)})`);
      colours = Array.from({ length: Q.n }, (_, i) => table[Math.min(Math.round((100 * Q.loss(+by, i)) / top), 100)]);
      $("map-key").replaceChildren(...Q.rampKey("0 nats", `${top} nats and more`, from, to));
    }
    map.show(layout, colours, rings);
    Q.drawn("map");
  }

  /* --------------------------------------------------------------------------------------------------------- heat */

  let heatOrder = [], heatAt = () => 0, heatPicture = null, heatCursor = [0, 0];
  const heatMark = (own) => {
    const context = $("heat").getContext("2d");
    context.putImageData(heatPicture, 0, 0);
    context.lineWidth = 1.5;
    context.strokeStyle = "#ff8c42";
    if (own.length) context.strokeRect(own[0] - 0.5, own[0] - 0.5, own.length + 1, own.length + 1);
    if (document.activeElement !== $("heat")) return;
    context.strokeStyle = "#ffffff";
    context.strokeRect(heatCursor[1] - 3.5, heatCursor[0] - 3.5, 8, 8);
  };
  let heatOwn = [];
  async function showHeat() {
    const [tokens, values] = await Promise.all(["heat_tokens", "heat"].map(Q.own));
    if (!tokens) { $("heat-lead").textContent = "This run has no affinity matrix."; $("heat").hidden = $("heat-controls").hidden = true; Q.drawn("heat"); return; }
    const { label } = Q.clustering(state.k), n = tokens.length;
    heatOrder = Array.from({ length: n }, (_, i) => i).sort((a, b) => label[tokens[a]] - label[tokens[b]] || a - b);
    heatAt = (i, j) => values[heatOrder[i] * n + heatOrder[j]];
    heatPicture = Q.heat($("heat"), n, heatAt, +$("heat-scale").value);
    heatOwn = heatOrder.map((i, at) => (label[tokens[i]] === state.cluster ? at : -1)).filter((at) => at >= 0);
    heatCursor = heatOwn.length ? [heatOwn[0], heatOwn[0]] : [0, 0];
    heatMark(heatOwn);
    $("heat-readout").textContent = "Point at a pair, or use the arrow keys, to see its clusters and its cosine.";
    $("heat-lead").textContent = `${Q.which ? "Second affinity" : "Cosine similarity of the gradients"} of ${n} of the ${Q.n} tokens, evenly spread. They are ordered by cluster, largest first (${state.k} clusters). The frame is the open cluster. Click to open another one.`;
    $("heat-key").replaceChildren(...Q.rampKey("cosine 0 and below", "1"));
    Q.drawn("heat");
  }
  $("heat-scale").addEventListener("change", () => showHeat());
  $("heat").addEventListener("pointermove", (event) => tellPair(...Q.cell($("heat"), event)));
  for (const kind of ["focus", "blur"]) $("heat").addEventListener(kind, () => heatPicture && heatMark(heatOwn));
  $("heat").addEventListener("keydown", (event) => {
    const n = heatOrder.length, move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], PageUp: [-50, -50], PageDown: [50, 50] }[event.key];
    if (event.key === "Enter") openRow(heatCursor[0]);
    else if (!move) return;
    else {
      heatCursor = heatCursor.map((at, i) => Math.min(Math.max(at + move[i], 0), n - 1));
      heatMark(heatOwn);
      tellPair(...heatCursor);
    }
    event.preventDefault();
  });
  async function tellPair(i, j) {
    const tokens = await Q.own("heat_tokens"), { label } = Q.clustering(state.k), [a, b] = [tokens[heatOrder[i]], tokens[heatOrder[j]]];
    $("heat-readout").textContent = `cluster ${label[a]}: ${Q.line(Q.tokens.before[a].slice(-20))}[${Q.visible(Q.tokens.target[a])}] and cluster ${label[b]}: ${Q.line(Q.tokens.before[b].slice(-20))}[${Q.visible(Q.tokens.target[b])}]: cosine ${(heatAt(i, j) / 100).toFixed(2)}`;
  }
  $("heat").addEventListener("click", (event) => openRow(Q.cell($("heat"), event)[0]));
  async function openRow(i) {
    const token = (await Q.own("heat_tokens"))[heatOrder[i]];
    Q.go({ view: "cluster", cluster: Q.clustering(state.k).label[token], token: Q.place(token) });
  }

  /* ------------------------------------------------------------------------------------------------------- search */

  const found = Q.list($("query-list"), { label: "Tokens found", height: 30, empty: "No token.", render: (t) => Q.kwic(t), choose: (t) => Q.go({ view: "cluster", cluster: Q.clustering(state.k).label[t], token: Q.place(t) }) });
  const TEXTS = {
    until: (i) => Q.tokens.before[i] + Q.tokens.target[i], target: (i) => Q.tokens.target[i], before: (i) => Q.tokens.before[i],
    all: (i) => Q.tokens.before[i] + Q.tokens.target[i] + Q.tokens.after[i], source: Q.source,
  };
  let running = 0, waiting = null;

  /* An expression of the address is somebody else's, and may take for ever: it is shown, and runs on Enter. Plain words run. */
  let brought = null;
  const own = new Set(); // expressions that were typed or confirmed here

  function refused() {
    if (brought === null || brought !== $("query").value) return false;
    running++; // ends what runs
    $("query").removeAttribute("aria-invalid");
    $("query-status").textContent = "This expression comes from the address. Press Enter in its field to search.";
    $("query-clusters").replaceChildren();
    found.show([]);
    return true;
  }

  /* An expression runs in a worker: one that takes for ever (nested repetition) is ended when a single text takes a second. A newer
     search ends an older one. */
  const SECOND = 1000, WORK = `let texts;
    onmessage = ({ data: { given, source, flags, tokens } }) => {
      texts = given ?? texts;
      const pattern = new RegExp(source, flags), hits = [];
      let said = performance.now();
      for (const token of tokens) {
        if (pattern.test(texts[token])) hits.push(token);
        if (performance.now() - said > 100) { said = performance.now(); postMessage(null); }
      }
      postMessage(hits);
    };`;
  let worker = null, holds = null, end = null;

  function fire() { worker?.terminate(); worker = holds = null; }

  /* Tokens whose text the expression finds; null if it was ended because a text took too long, undefined if a newer search came. */
  function scan(pattern, scope, tokens) {
    end?.(undefined);
    if (!worker) {
      const address = URL.createObjectURL(new Blob([WORK], { type: "text/javascript" }));
      worker = new Worker(address);
      URL.revokeObjectURL(address);
    }
    return new Promise((resolve) => {
      let timer;
      const settle = (hits) => { clearTimeout(timer); end = null; if (!hits) fire(); resolve(hits); };
      const wait = () => { clearTimeout(timer); timer = setTimeout(() => settle(null), SECOND); };
      end = settle;
      worker.onmessage = ({ data }) => (data ? settle(data) : wait());
      worker.postMessage({ given: holds === scope ? undefined : Array.from({ length: Q.n }, (_, i) => TEXTS[scope](i)), source: pattern.source, flags: pattern.flags, tokens });
      holds = scope;
      wait();
    });
  }

  async function search() {
    if (refused()) return;
    own.add($("query").value);
    const mine = ++running, text = $("query").value, begun = performance.now();
    let pattern;
    try { pattern = new RegExp(text, $("case").checked ? "u" : "iu"); } catch (error) {
      $("query").setAttribute("aria-invalid", "true");
      $("query-status").textContent = `Not a regular expression: ${error.message.replace(/^Invalid regular expression: \/.*\/\w*: /s, "")}`;
      $("query-clusters").replaceChildren();
      found.show([]);
      return;
    }
    $("query").removeAttribute("aria-invalid");
    const clustering = Q.clustering(state.k), tokens = $("inside").checked ? clustering.of(state.cluster) : Array.from({ length: Q.n }, (_, i) => i);
    const hits = await scan(pattern, $("scope").value, tokens);
    if (mine !== running || hits === undefined) return;
    if (hits === null) {
      $("query").setAttribute("aria-invalid", "true");
      $("query-status").textContent = "This expression takes too long, and the page stopped it after a second. Nested repetition such as (a+)+ does that.";
      $("query-clusters").replaceChildren();
      found.show([]);
      return;
    }
    found.show(hits);
    const counts = new Map();
    for (const token of hits) counts.set(clustering.label[token], (counts.get(clustering.label[token]) ?? 0) + 1);
    const most = text ? [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, 8) : [];
    const short = (said) => (said.length > 60 ? `${said.slice(0, 59)}…` : said);
    $("query-clusters").replaceChildren(
      ...most.map(([c, n]) => Q.el("button", { type: "button", onclick: () => Q.go({ view: "cluster", cluster: c, token: null }) }, `${n} of the ${clustering.size(c)} in cluster ${c}: ${short(Q.names.get(state.k, c) || Q.rule(state.k, c))}`)),
      text && counts.size > most.length ? Q.el("span", { class: "faint" }, `and in ${counts.size - most.length} more`) : "");
    Q.searchTime = performance.now() - begun;
    $("query-status").textContent = `${hits.length} of ${tokens.length} tokens, in ${counts.size} of ${state.k} clusters (${Q.searchTime.toFixed(0)} ms)`;
    if (state.view === "search") history.replaceState(null, "", address());
  }
  $("query").addEventListener("input", () => { brought = null; });
  $("query").addEventListener("keydown", (event) => { if (event.key === "Enter" && brought !== null) { brought = null; search(); } });
  for (const id of ["query", "scope", "case", "inside"]) $(id).addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(search, 60); });

  /* ------------------------------------------------------------------------------------------------------ gallery */

  let hung = false;
  function hang() {
    if (hung) return;
    hung = true;
    if (!Q.meta.figures.length) $("gallery").append(Q.el("p", { class: "faint" }, "This copy of the page has no figures. They are in the run's report/figures."));
    for (const { name, caption, facts, answers, files } of Q.meta.figures) {
      const picture = document.getElementById(`picture-${name}`), image = Q.el("img", { alt: caption.split(". ")[0], loading: "lazy" });
      image.src = URL.createObjectURL(new Blob([Q.bytes(picture.textContent)], { type: "image/png" }));
      const figure = Q.el("figure", { id: `figure-${name}` }, Q.el("h3", { tabindex: -1 }, name.replace(/_/g, " ")), image, Q.el("figcaption", {}, answers ? Q.el("b", {}, `${answers}. `) : null, `${caption} ${facts} `,
        ...files.flatMap((ending) => [Q.el("a", { href: `figures/${name}.${ending}` }, ending.toUpperCase()), " "])));
      // no link: the address after # is the state's
      const to = () => { figure.scrollIntoView(); figure.querySelector("h3").focus({ preventScroll: true }); };
      $("gallery-index").append(Q.el("button", { type: "button", onclick: to }, name.replace(/_/g, " ")));
      $("gallery").append(figure);
    }
  }

  /* -------------------------------------------------------------------------------------------------------- views */

  const shown = new Map(); // what a view showed last, so that it is drawn again only when that has changed
  function show(before, quiet) {
    document.body.dataset.view = state.view;
    const open = document.querySelector(`#views [data-view="${state.view}"]`).textContent;
    document.title = `${state.view === "cluster" ? `Cluster ${state.cluster} of ${state.k}` : open} · Quanta ${Q.plain(Q.meta.run)}`;
    for (const view of views) if (view !== "list") $(`view-${view}`).hidden = view !== state.view;
    for (const button of document.querySelectorAll("#views button"))
      if (button.dataset.view === state.view) button.setAttribute("aria-current", "page"); else button.removeAttribute("aria-current");
    const nav = $("views"), current = nav.querySelector("[aria-current]"); // on a narrow screen it may lie out of sight
    if (current) nav.scrollLeft = Math.min(nav.scrollLeft, current.offsetLeft - nav.offsetLeft - 8), nav.scrollLeft = Math.max(nav.scrollLeft, current.offsetLeft - nav.offsetLeft + current.offsetWidth + 40 - nav.clientWidth);
    $("k").value = ks.indexOf(state.k);
    $("k").setAttribute("aria-valuetext", `${state.k} clusters`);
    $("k-value").textContent = state.k;
    showOf();
    if (before.k !== state.k || before.of !== state.of || !clusterList.length) Q.refreshList(); else if (before.cluster !== state.cluster) clusterList.select(state.cluster);
    const now = `${state.of}:${state.k}:${state.cluster}:${document.documentElement.dataset.theme}:${state.from ? `${state.from.k}.${state.from.cluster}` : ""}`;
    if (state.view === "cluster" && shown.get("cluster") === now && (state.token !== null || before.token !== null)) {
      Q.showToken(state.token === null ? null : Q.at.get(state.token));
      if (state.token !== null && state.token !== before.token) Q.revealToken();
    }
    if (shown.get(state.view) === now) return;
    shown.set(state.view, now);
    if (state.view === "gallery") Q.showGallery($("cards"), state.k);
    else if (state.view === "law") showLaw();
    else if (state.view === "cluster") Q.showCluster($("view-cluster"), state);
    else if (state.view === "map") showMap();
    else if (state.view === "heat") showHeat();
    else if (state.view === "search") search();
    else if (state.view === "figures") hang();
    if (before.view !== state.view && !quiet) scrollTo(0, 0);
    else if (state.view === "cluster" && (before.cluster !== state.cluster || before.k !== state.k) && !quiet && scrollY > 200) scrollTo(0, 0);
    if (state.view === "cluster" && state.token !== null) Q.revealToken();
  }

  for (const button of document.querySelectorAll("#views button, [data-open]")) button.addEventListener("click", () => Q.go({ view: button.dataset.view ?? button.dataset.open }));
  for (const host of document.querySelectorAll("[data-head]")) Q.kwicHead(host);
  Q.step = (by) => clusterList.step(by);
  Q.closeToken = () => { Q.go({ token: null }, { quiet: true }); $("token-list").focus(); };
  // no change of the address: what stands after # is the state
  document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); $("main").focus(); });
  addEventListener("popstate", () => { const before = { ...state }; Object.assign(state, read()); show(before, false); });
  const repaint = () => { paint(); shown.clear(); show({ ...state }, true); };
  $("theme").addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    try { localStorage.setItem("quanta:theme", theme); } catch { /* as above */ }
    repaint();
  });
  dark.addEventListener("change", repaint);
  addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && state.view === "cluster" && state.token !== null) { Q.closeToken(); return; }
    const at = ks.indexOf(state.k);
    if (event.key === "/") { Q.go({ view: "search" }); $("query").focus(); event.preventDefault(); }
    else if (event.key === "[" && at > 0) Q.go({ k: ks[at - 1] });
    else if (event.key === "]" && at < ks.length - 1) Q.go({ k: ks[at + 1] });
    else if (event.key === "a" && Q.meta.second) Q.go({ of: state.of === "second" ? "first" : "second" });
    else if (event.key === "j") clusterList.step(1);
    else if (event.key === "k") clusterList.step(-1);
  });

  Object.assign(state, read());
  if (!$("trouble").hidden) history.replaceState(null, "", address());
  show({ ...state, view: null }, true);
  Q.ready = performance.now();
  $("timings").textContent = `The page was ready after ${Q.ready.toFixed(0)} ms. It has ${Q.n.toLocaleString("en")} tokens and ${ks.length} clusterings.`;
})().catch((error) => { const place = document.getElementById("trouble"); place.textContent = `The page could not be shown: ${error.message}`; place.hidden = false; throw error; });
