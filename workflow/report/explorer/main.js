/* State, address and views. The address after # holds all that a reader would send to someone else. */
"use strict";

(async () => {
  const $ = (id) => document.getElementById(id);
  const trouble = (text) => { $("trouble").textContent = text; $("trouble").hidden = false; };
  if (!("DecompressionStream" in window)) { trouble("This browser cannot unpack the data: one of 2023 or later can."); return; }

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

  const { ks } = Q.meta, views = ["law", "list", "cluster", "map", "heat", "search", "figures", "numbers", "about"];
  const state = { view: "law", k: Q.meta.show, cluster: 0, token: null };
  await Q.start();

  /* ------------------------------------------------------------------------------------------------------- address */

  function read() {
    const given = new URLSearchParams(location.hash.slice(1)), next = { ...state };
    if (ks.includes(+given.get("k"))) next.k = +given.get("k");
    const { number, label } = Q.clustering(next.k);
    next.token = Q.at.has(given.get("token")) ? given.get("token") : null;
    if (given.has("cluster") && Number.isInteger(+given.get("cluster")) && +given.get("cluster") >= 0 && +given.get("cluster") < number) next.cluster = +given.get("cluster");
    else if (next.token !== null) next.cluster = label[Q.at.get(next.token)];
    next.cluster = Math.min(next.cluster, number - 1);
    if (views.includes(given.get("view"))) next.view = given.get("view");
    else if (given.has("cluster") || next.token !== null) next.view = "cluster";
    if (given.has("q")) {
      $("query").value = given.get("q");
      $("scope").value = Object.hasOwn(TEXTS, given.get("in") ?? "") ? given.get("in") : "until";
      $("case").checked = given.get("case") === "1";
    }
    return next;
  }

  function address() {
    const parts = new URLSearchParams({ view: state.view, k: state.k, cluster: state.cluster });
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
    Object.assign(state, change);
    if (state.k !== before.k && change.cluster === undefined) state.cluster = follow(before, state.k);
    if (state.cluster !== before.cluster || state.k !== before.k) if (change.token === undefined) state.token = null;
    if (location.hash !== address()) history[replace ? "replaceState" : "pushState"](null, "", address());
    show(before, quiet);
  };

  /* The cluster at another k that holds most of the open one's tokens. */
  function follow(before, k) {
    const counts = new Map(), { label } = Q.clustering(k);
    for (const token of Q.clustering(before.k).of(before.cluster)) counts.set(label[token], (counts.get(label[token]) ?? 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0])[0][0];
  }

  Q.copyLink = async () => {
    const button = $("link");
    try { await navigator.clipboard.writeText(location.href); button.textContent = "Copied"; } catch { button.textContent = "The address bar has it"; }
    setTimeout(() => { button.textContent = "Copy link"; }, 1500);
  };

  /* ---------------------------------------------------------------------------------------------- list of clusters */

  const SORTS = {
    size: ["size", 1], purity: ["purity", 1], f1: ["held-out F1 of its description", 1], fall: ["fall in loss over sizes", 1], sharpness: ["sharpness of the fall", 1],
    largest: ["loss of the largest model", 1], n_sources: ["number of sources", 1], skill: ["skill beyond identity", 1],
    stability_halves: ["stability, half the tokens", 1], stability_seeds: ["stability, other seeds", 1], cosine_within: ["mean cosine within", 1],
  };
  for (const key of Object.keys(Q.clustering(state.k).measures())) if (SORTS[key]) $("sort").append(Q.el("option", { value: key }, SORTS[key][0]));

  const clusterList = Q.list($("cluster-list"), {
    label: "Clusters", height: 58, choose: (c) => Q.go({ view: "cluster", cluster: c, token: null }),
    render: (c) => {
      const { columns } = Q.clustering(state.k), measures = Q.clustering(state.k).measures(), key = $("sort").value;
      const name = Q.names.get(state.k, c), value = measures[key][c];
      return Q.el("div", { class: "item" },
        Q.el("div", { class: "title" }, Q.el("b", {}, `${c}`), Q.el("span", { class: name ? "" : "mono" }, name || Q.visible(columns.target[c])),
          Q.el("span", { class: "faint" }, `${columns.size[c]} tokens${key === "size" ? "" : ` · ${Q.fixed(value, key === "n_sources" ? 0 : 2)}`}`)),
        Q.el("div", { class: "what" }, Q.rule(state.k, c)));
    },
  });

  /* `top`: a new order or filter is read from its beginning, wherever the open cluster is. */
  Q.refreshList = (top = false) => {
    const own = Q.clustering(state.k), values = own.measures()[$("sort").value], turn = $("reverse").getAttribute("aria-pressed") === "true" ? -1 : 1;
    const wanted = $("filter").value.toLowerCase();
    let items = Array.from({ length: own.number }, (_, c) => c);
    if (wanted) items = items.filter((c) => `${c} ${Q.names.get(state.k, c)} ${Q.rule(state.k, c)} ${Q.visible(own.columns.target[c])}`.toLowerCase().includes(wanted));
    // those without a value come last, whichever way
    items.sort((a, b) => (values[a] === null) - (values[b] === null) || turn * (values[b] - values[a]) || a - b);
    $("list-count").textContent = wanted ? `${items.length} of ${own.number} clusters` : `${own.number} clusters`;
    clusterList.show(items, state.cluster);
    if (top) $("cluster-list").scrollTop = 0;
  };
  $("sort").addEventListener("change", () => Q.refreshList(true));
  $("filter").addEventListener("input", () => Q.refreshList(true));
  $("reverse").addEventListener("click", () => { $("reverse").setAttribute("aria-pressed", String($("reverse").getAttribute("aria-pressed") !== "true")); Q.refreshList(true); });

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
    if (!found) return "\u00a0";
    if (found.null) return `Null model, ${Q.plain(found.null)}: rank ${found.rank}, ${found.size} tokens.`;
    return `${found.k} clusters, rank ${found.rank}: ${found.size} tokens. ${Q.names.get(found.k, found.rank - 1) || Q.rule(found.k, found.rank - 1)}`;
  }

  function showLaw() {
    Q.lawChart($("law-chart"), {
      k: state.k, cluster: state.cluster,
      choose: (found) => Q.go({ view: "cluster", k: found.k, cluster: found.rank - 1, token: null }),
      hover: (found) => { $("law-readout").textContent = describe(found); },
    });
    const { fit, nulls, theory_slope } = Q.meta, number = (x) => x.toFixed(3);
    const line = (colour, text, { dash = [], opacity = 1 } = {}) => Q.el("span", {}, Q.stroke(Q.colour(colour), dash, opacity), text);
    $("law-key").replaceChildren(
      line("accent", `${state.k} clusters`), line("series", "other numbers of clusters", { opacity: 0.4 }), line("ink", "envelope"),
      ...(fit.value === null ? [] : [line("fit", `slope ${number(fit.value)}${fit.interval ? ` [${fit.interval.map(number).join(", ")}]` : ""}, ranks ${fit.ranks.join(" to ")}`), line("theory", `theory, −(α_N + 1) = ${number(theory_slope)}`, { dash: [8, 3, 2, 3] })]),
      ...nulls.map((one, i) => line("null", `null: ${Q.plain(one.name)}`, { dash: Q.nullDash(i) })));
    $("law-notes").replaceChildren(...Q.meta.notes.map((text) => Q.el("p", { class: "faint" }, text)));
  }

  /* ---------------------------------------------------------------------------------------------------------- map */

  const map = Q.map($("map"), {
    choose: (token) => Q.go({ view: "cluster", cluster: Q.clustering(state.k).label[token], token: Q.place(token) }),
    hover: (token) => {
      if (token < 0) { $("map-readout").textContent = "\u00a0"; return; }
      const c = Q.clustering(state.k).label[token];
      $("map-readout").textContent = `cluster ${c}: ${Q.line(Q.tokens.before[token].slice(-40))}[${Q.visible(Q.tokens.target[token])}] · ${Q.names.get(state.k, c) || Q.rule(state.k, c)}`;
    },
  });
  $("map-colour").append(Q.el("option", { value: "cluster" }, "by cluster"), ...Q.meta.members.map(({ model, step }, m) => Q.el("option", { value: m }, `loss under ${model}, step ${step}`)));
  $("map-colour").addEventListener("change", () => showMap());
  for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => map.zoom(+button.dataset.zoom));

  async function showMap() {
    const layout = await Q.load("layout"), { label } = Q.clustering(state.k), by = $("map-colour").value;
    const rings = Uint8Array.from(label, (l) => +(l === state.cluster));
    let colours;
    if (by === "cluster") {
      const hues = Array.from({ length: Q.clustering(state.k).number }, (_, c) => Q.hue(c));
      colours = Array.from(label, (l) => hues[l]);
      $("map-key").replaceChildren(Q.el("span", {}, `${state.k} clusters; colours repeat, so point at one to name it`));
    } else {
      const top = 6, table = Array.from({ length: 101 }, (_, i) => `rgb(${Q.ramp(i / 100)})`);
      colours = Array.from({ length: Q.n }, (_, i) => table[Math.min(Math.round((100 * Q.loss(+by, i)) / top), 100)]);
      $("map-key").replaceChildren(...Q.rampKey("0 nats", `${top} nats and more`));
    }
    map.show(layout, colours, rings);
  }

  /* --------------------------------------------------------------------------------------------------------- heat */

  let heatOrder = [], heatAt = () => 0;
  async function showHeat() {
    const tokens = await Q.load("heat_tokens"), values = await Q.load("heat");
    if (!tokens) { $("heat-lead").textContent = "This run keeps no affinity matrix."; $("heat").hidden = true; return; }
    const { label } = Q.clustering(state.k), n = tokens.length;
    heatOrder = Array.from({ length: n }, (_, i) => i).sort((a, b) => label[tokens[a]] - label[tokens[b]] || a - b);
    heatAt = (i, j) => values[heatOrder[i] * n + heatOrder[j]];
    Q.heat($("heat"), n, heatAt);
    const mine = heatOrder.map((i, at) => (label[tokens[i]] === state.cluster ? at : -1)).filter((at) => at >= 0);
    if (mine.length) { const context = $("heat").getContext("2d"); context.strokeStyle = "#ff8c42"; context.lineWidth = 1.5; context.strokeRect(mine[0] - 0.5, mine[0] - 0.5, mine.length + 1, mine.length + 1); }
    $("heat-lead").textContent = `Cosine similarity of the gradients of ${n} of ${Q.n} tokens, evenly spread, ordered by ${state.k} clusters, largest first. The frame is the open cluster. Click to open another.`;
    $("heat-key").replaceChildren(...Q.rampKey("0 and below", "1"));
  }
  $("heat").addEventListener("pointermove", async (event) => {
    const tokens = await Q.load("heat_tokens"), [i, j] = Q.cell($("heat"), event), { label } = Q.clustering(state.k), [a, b] = [tokens[heatOrder[i]], tokens[heatOrder[j]]];
    $("heat-readout").textContent = `cluster ${label[a]}: ${Q.line(Q.tokens.before[a].slice(-20))}[${Q.visible(Q.tokens.target[a])}] and cluster ${label[b]}: ${Q.line(Q.tokens.before[b].slice(-20))}[${Q.visible(Q.tokens.target[b])}]: cosine ${(heatAt(i, j) / 100).toFixed(2)}`;
  });
  $("heat").addEventListener("click", async (event) => {
    const tokens = await Q.load("heat_tokens"), token = tokens[heatOrder[Q.cell($("heat"), event)[0]]];
    Q.go({ view: "cluster", cluster: Q.clustering(state.k).label[token], token: Q.place(token) });
  });

  /* ------------------------------------------------------------------------------------------------------- search */

  const found = Q.list($("query-list"), { label: "Tokens found", height: 30, render: (t) => Q.kwic(t), choose: (t) => Q.go({ view: "cluster", cluster: Q.clustering(state.k).label[t], token: Q.place(t) }) });
  const TEXTS = {
    until: (i) => Q.tokens.before[i] + Q.tokens.target[i], target: (i) => Q.tokens.target[i], before: (i) => Q.tokens.before[i],
    all: (i) => Q.tokens.before[i] + Q.tokens.target[i] + Q.tokens.after[i], source: Q.source,
  };
  let running = 0, waiting = null;

  /* In slices, so that the page stays alive while a slow expression runs; a newer search ends an older one. */
  async function search() {
    const mine = ++running, text = $("query").value, of = TEXTS[$("scope").value], begun = performance.now();
    let pattern;
    try { pattern = new RegExp(text, $("case").checked ? "u" : "iu"); } catch (error) {
      $("query").setAttribute("aria-invalid", "true");
      $("query-status").textContent = `Not a regular expression: ${error.message}`;
      return;
    }
    $("query").removeAttribute("aria-invalid");
    const own = Q.clustering(state.k), tokens = $("inside").checked ? own.of(state.cluster) : Array.from({ length: Q.n }, (_, i) => i);
    const hits = [];
    let slice = performance.now();
    for (const token of tokens) {
      if (pattern.test(of(token))) hits.push(token);
      if (performance.now() - slice > 40) {
        await new Promise((resume) => setTimeout(resume));
        if (mine !== running) return;
        slice = performance.now();
      }
    }
    found.show(hits);
    const counts = new Map();
    for (const token of hits) counts.set(own.label[token], (counts.get(own.label[token]) ?? 0) + 1);
    const most = text ? [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, 8) : [];
    $("query-clusters").replaceChildren(...most.map(([c, n]) => Q.el("button", { type: "button", onclick: () => Q.go({ view: "cluster", cluster: c, token: null }) }, `${n} of ${own.size(c)} in ${c}: ${(Q.names.get(state.k, c) || Q.rule(state.k, c)).slice(0, 50)}`)));
    Q.searchTime = performance.now() - begun;
    $("query-status").textContent = `${hits.length} of ${tokens.length} tokens, in ${counts.size} clusters of ${state.k} (${Q.searchTime.toFixed(0)} ms)`;
    if (state.view === "search") history.replaceState(null, "", address());
  }
  for (const id of ["query", "scope", "case", "inside"]) $(id).addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(search, 60); });

  /* ------------------------------------------------------------------------------------------------------ gallery */

  let hung = false;
  function hang() {
    if (hung) return;
    hung = true;
    for (const { name, caption, facts, answers, files } of Q.meta.figures) {
      const picture = document.getElementById(`picture-${name}`), image = Q.el("img", { alt: caption.split(". ")[0], loading: "lazy" });
      image.src = URL.createObjectURL(new Blob([Q.bytes(picture.textContent)], { type: "image/png" }));
      const figure = Q.el("figure", { id: `figure-${name}` }, Q.el("h3", { tabindex: -1 }, name), image, Q.el("figcaption", {}, answers ? Q.el("b", {}, `${answers}. `) : null, `${caption} ${facts} `,
        ...files.flatMap((ending) => [Q.el("a", { href: `figures/${name}.${ending}` }, ending.toUpperCase()), " "])));
      // no link: the address after # is the state's
      const to = () => { figure.scrollIntoView(); figure.querySelector("h3").focus({ preventScroll: true }); };
      $("gallery-index").append(Q.el("button", { type: "button", onclick: to }, name));
      $("gallery").append(figure);
    }
  }

  /* -------------------------------------------------------------------------------------------------------- views */

  const shown = new Map(); // what a view showed last, so that it is drawn anew only when that has changed
  function show(before, quiet) {
    document.body.dataset.view = state.view;
    for (const view of views) if (view !== "list") $(`view-${view}`).hidden = view !== state.view;
    for (const button of document.querySelectorAll("#views button"))
      if (button.dataset.view === state.view) button.setAttribute("aria-current", "page"); else button.removeAttribute("aria-current");
    const nav = $("views"), open = nav.querySelector("[aria-current]"); // on a narrow screen it may lie out of sight
    if (open) nav.scrollLeft = Math.min(nav.scrollLeft, open.offsetLeft - nav.offsetLeft - 8), nav.scrollLeft = Math.max(nav.scrollLeft, open.offsetLeft - nav.offsetLeft + open.offsetWidth + 40 - nav.clientWidth);
    $("k").value = ks.indexOf(state.k);
    $("k").setAttribute("aria-valuetext", `${state.k} clusters`);
    $("k-value").textContent = state.k;
    if (before.k !== state.k || !clusterList.length) Q.refreshList(); else if (before.cluster !== state.cluster) clusterList.select(state.cluster);
    const now = `${state.k}:${state.cluster}:${document.documentElement.dataset.theme}`;
    if (state.view === "cluster" && shown.get("cluster") === now && state.token !== null) Q.showToken(Q.at.get(state.token));
    if (shown.get(state.view) === now) return;
    shown.set(state.view, now);
    if (state.view === "law") showLaw();
    else if (state.view === "cluster") Q.showCluster($("view-cluster"), state);
    else if (state.view === "map") showMap();
    else if (state.view === "heat") showHeat();
    else if (state.view === "search") search();
    else if (state.view === "figures") hang();
    if (before.view !== state.view && !quiet) scrollTo(0, 0);
    else if (state.view === "cluster" && (before.cluster !== state.cluster || before.k !== state.k) && !quiet && scrollY > 200) scrollTo(0, 0);
  }

  for (const button of document.querySelectorAll("#views button")) button.addEventListener("click", () => Q.go({ view: button.dataset.view }));
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
    const at = ks.indexOf(state.k);
    if (event.key === "/") { Q.go({ view: "search" }); $("query").focus(); event.preventDefault(); }
    else if (event.key === "[" && at > 0) Q.go({ k: ks[at - 1] });
    else if (event.key === "]" && at < ks.length - 1) Q.go({ k: ks[at + 1] });
    else if (event.key === "j") clusterList.step(1);
    else if (event.key === "k") clusterList.step(-1);
  });

  Object.assign(state, read());
  show({ ...state, view: null }, true);
  Q.ready = performance.now();
  $("timings").textContent = `Ready ${Q.ready.toFixed(0)} ms after the page was opened, with ${Q.n.toLocaleString("en")} tokens and ${ks.length} clusterings.`;
})().catch((error) => { const place = document.getElementById("trouble"); place.textContent = `The page could not be shown: ${error.message}`; place.hidden = false; throw error; });
