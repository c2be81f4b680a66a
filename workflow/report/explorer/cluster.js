/* The view of one cluster. */
"use strict";

{
  const KINDS = [["before", "token before"], ["target", "target"], ["after", "token after"]];
  let blocks = false, explained = false, followed = null; // as the reader left them, from cluster to cluster

  /* Commonest values of a cluster's tokens with their shares. */
  function commonest(tokens, of, number = 7) {
    const counts = new Map();
    for (const token of tokens) counts.set(of(token), (counts.get(of(token)) ?? 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, number).map(([text, count]) => ({ text, share: count / tokens.length }));
  }

  /* The last and the next piece of text: contexts are joined tokens, so words, numbers and single signs stand for them. */
  const PIECE = /\s*\n\s*|[ \t]*[\p{L}\p{N}]+|[ \t]*[^\p{L}\p{N}\s]|[ \t]+/gu;
  const pieces = {
    before: (token) => Q.tokens.before[token].slice(-40).match(PIECE)?.at(-1) ?? "(none)",
    target: (token) => Q.tokens.target[token],
    after: (token) => Q.tokens.after[token].slice(0, 40).match(PIECE)?.[0] ?? "(none)",
  };

  const bars = (title, rows) => Q.el("div", {}, Q.el("h4", {}, title), Q.el("dl", { class: "bars" },
    ...rows.flatMap(({ text, share }) => [
      Q.el("dt", { class: "mono", title: Q.visible(text) }, Q.visible(text)),
      Q.el("dd", {}, Q.el("meter", { min: 0, max: 1, value: share, "aria-label": `${Q.visible(text)}: share` })),
      Q.el("dd", {}, `${(100 * share).toFixed(0)} %`)])));

  /* [name, value, meaning] of all that is known of a cluster. */
  function known(k, c) {
    const { columns, measures } = Q.clustering(k), found = [["rank", String(c + 1), "its place by size, from 1; the number of the cluster is one less"]];
    for (const [key, { name, meaning }] of Object.entries(Q.MEASURES))
      if (measures()[key]) found.push([name, Q.said(key, measures()[key][c], columns[`${key}_low`]?.[c], columns[`${key}_high`]?.[c]), meaning]);
    return [...found, ["fingerprint", columns.fingerprint[c], "names this set of tokens, in labels.csv"]];
  }

  /* Runs of neighbouring numbers of clusters: "10 to 175 and 250". */
  const runs = (chosen) => {
    const parts = [];
    for (const k of chosen) {
      const last = parts.at(-1);
      if (last && Q.meta.ks.indexOf(k) === Q.meta.ks.indexOf(last.at(-1)) + 1) last.push(k); else parts.push([k]);
    }
    const said = parts.map((part) => (part.length > 2 ? `${part[0]} to ${part.at(-1)}` : part.join(parts.length > 1 ? ", " : " and ")));
    return said.length > 1 ? `${said.slice(0, -1).join(", ")} and ${said.at(-1)}` : said[0];
  };

  /* Models of the sizes on the axis with other seeds, to stand beside the curve. */
  const otherSeeds = () => Q.meta.other_seeds.map((member) => ({ at: Q.meta.members[member].parameters, member }));
  const curveNote = () => Q.el("p", { class: "faint" }, `Thick line: the mean of its tokens. Shaded: their middle 80 %. Thin lines: single tokens.${Q.meta.other_seeds.length ? " The line has one model per size, of the first seed. Open circles are other seeds." : ""}`);

  /* Models with several steps → those members; the one that the run follows first. */
  function trainings() {
    const found = new Map(Q.meta.by_step.length > 1 ? [[Q.meta.members[Q.meta.by_step[0]].model, Q.meta.by_step]] : []);
    for (const [m, { model }] of Q.meta.members.entries()) if (!found.get(model)?.includes(m)) found.set(model, [...(found.get(model) ?? []), m]);
    for (const [model, members] of found) if (members.length < 3 && members !== Q.meta.by_step) found.delete(model);
    return found;
  }

  function table(caption, columns, rows) {
    return Q.el("details", {}, Q.el("summary", { class: "faint" }, "Numbers"),
      Q.el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, Q.el("table", {}, Q.el("caption", {}, caption),
        Q.el("thead", {}, Q.el("tr", {}, ...columns.map((name) => Q.el("th", { scope: "col" }, name)))),
        Q.el("tbody", {}, ...rows.map((row) => Q.el("tr", {}, ...row.map((cell) => Q.el("td", {}, cell))))))));
  }

  const before = (from) => Q.clustering(from.k, from.of === "second" ? "second_" : "");
  const inCommon = (from, k, c) => before(from).of(from.cluster).reduce((sum, token) => sum + (Q.clustering(k).label[token] === c), 0);

  const openButton = (k, c, text, extra = {}, change = {}) => Q.el("button", { type: "button", onclick: () => Q.go({ view: "cluster", k, cluster: c, token: null, ...change }), ...extra }, text);

  /* ------------------------------------------------------------------------------------------------------- export */

  function rows(k, c) {
    return Array.from(Q.clustering(k).of(c), (token) => ({
      n_clusters: k, label: c, token, document: Q.tokens.document[token], position: Q.tokens.position[token], token_id: Q.tokens.token_id[token],
      source: Q.source(token), before: Q.tokens.before[token], target: Q.tokens.target[token], after: Q.tokens.after[token],
      ...Object.fromEntries(Q.meta.members.map(({ model, step }, m) => [`${model}/step${step}_nats`, Q.loss(m, token)])),
    }));
  }

  /* Text in CSV is written as a JSON string: breaks stay on one line, and no spreadsheet takes it for a formula. */
  const cell = (value) => (typeof value === "number" ? String(value) : `"${JSON.stringify(value).replace(/"/g, '""')}"`);
  Q.csv = (list) => [Object.keys(list[0]).map((name) => `"${name.replace(/"/g, '""')}"`).join(","), ...list.map((row) => Object.values(row).map(cell).join(","))].join("\n") + "\n";

  Q.download = (name, text, type) => {
    const link = Q.el("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  /* --------------------------------------------------------------------------------------------------------- view */

  Q.showCluster = (host, { of, k, cluster: c, token: chosen, from }) => {
    Q.forget(host);
    host.replaceChildren();
    const own = Q.clustering(k), tokens = own.of(c), columns = own.columns;
    const name = Q.names.get(k, c), stem = `${of === "second" ? "second-" : ""}cluster-${c}-of-${k}`;
    const percent = (x) => (x === null ? "–" : `${(100 * x).toFixed(0)} %`);

    const field = Q.el("input", { type: "search", id: "name", value: name, maxlength: 120, placeholder: "your own label", autocomplete: "off" });
    field.addEventListener("change", () => { Q.names.set(k, c, field.value.trim()); Q.refreshList(); title.textContent = heading(); });
    const heading = () => `Cluster ${c} of ${k}${of === "second" ? ", second affinity" : ""}${Q.names.get(k, c) ? `: ${Q.names.get(k, c)}` : ""}`;
    const title = Q.el("h2", { tabindex: -1 }, heading());
    host.append(
      Q.el("div", { class: "head-row" }, title, Q.el("div", { class: "row" },
        ...[[-1, "‹", "Previous cluster of the list"], [1, "›", "Next cluster of the list"]].map(([by, sign, said]) => Q.el("button", { type: "button", "aria-label": said, title: `${said} (${by < 0 ? "k" : "j"})`, onclick: () => Q.step(by) }, sign)))),
      Q.el("div", { class: "rule" }, Q.el("span", { class: "badge" }, "automatic"), Q.el("span", { class: "text" }, Q.rule(k, c)),
        Q.el("span", { class: "faint" }, `precision ${percent(columns.precision[c])}, recall ${percent(columns.recall[c])}; on other documents (held out) precision ${percent(columns.precision_held_out[c])}, recall ${percent(columns.recall_held_out[c])}`)),
      from ? Q.el("p", { class: "faint", id: "followed" }, "Followed from ", openButton(from.k, from.cluster, `cluster ${from.cluster} of ${from.k}${from.of === of ? "" : from.of === "second" ? ", second affinity" : ", paper's affinity"}`, { class: "link" }, { of: from.of }), `: it has ${inCommon(from, k, c)} of the ${before(from).size(from.cluster)} tokens of that one.`) : "",
      Q.mixed(k, c) ? Q.el("p", { class: "faint weak" }, `A mixed cluster: the mean cosine of its pairs is ${columns.cosine_within[c].toFixed(3)}. Spectral clustering puts together what fits nowhere else, so this is hardly one quantum.`) : "",
      Q.el("div", { class: "row" }, Q.el("label", { for: "name" }, "Label"), field,
        Q.el("button", { type: "button", id: "labels-download", title: "Download all labels, for figures.labels in the configuration", onclick: () => Q.download("labels.csv", Q.labelsFile(), "text/csv") }, "labels.csv"),
        Q.el("button", { type: "button", id: "export-csv", title: "Download this cluster's tokens with their losses", onclick: () => Q.download(`${stem}.csv`, Q.csv(rows(k, c)), "text/csv") }, "Tokens as CSV"),
        Q.el("button", { type: "button", id: "export-json", onclick: () => Q.download(`${stem}.json`, JSON.stringify({ run: Q.meta.run, ...(Q.which ? { clustering: Q.meta.second.kind } : {}), n_clusters: k, label: c, fingerprint: columns.fingerprint[c], name: Q.names.get(k, c), rule: columns.rule[c], tokens: rows(k, c) }, null, 1), "application/json") }, "as JSON"),
        Q.el("button", { type: "button", id: "link", onclick: () => Q.copyLink() }, "Copy link")),
      Q.el("dl", { class: "facts" }, ...known(k, c).map(([what, value, meaning]) => Q.el("div", { title: meaning }, Q.el("dt", {}, what), Q.el("dd", {}, value)))),
      Q.el("details", { open: explained, ontoggle: (event) => { explained = event.target.open; } }, Q.el("summary", { class: "faint" }, "What these numbers are"),
        Q.el("dl", { class: "meanings" }, ...known(k, c).flatMap(([what, , meaning]) => [Q.el("dt", {}, what), Q.el("dd", {}, meaning)]))),
    );

    const list = Q.el("div", { class: "list tokens", id: "token-list" }), head = Q.el("div", { class: "kwic head", "aria-hidden": "true", hidden: blocks });
    Q.kwicHead(head);
    const detail = Q.el("div", { id: "token-detail" });
    const toggle = Q.el("button", { type: "button", "aria-pressed": String(blocks) }, "several lines");
    host.append(Q.el("div", { class: "row" }, Q.el("h3", {}, `Its ${tokens.length} tokens in context`), toggle), head, list, detail);

    const listing = Q.list(list, { label: "Tokens of the cluster", height: blocks ? 150 : 30, render: (t) => (blocks ? Q.block(t) : Q.kwic(t)), choose: (t) => Q.go({ token: Q.place(t) }, { quiet: true }) });
    toggle.addEventListener("click", () => { blocks = !blocks; toggle.setAttribute("aria-pressed", String(blocks)); head.hidden = blocks; listing.resize(blocks ? 150 : 30); });
    const start = chosen !== null && Q.at.has(chosen) ? Q.at.get(chosen) : null;
    listing.show(Array.from(tokens), start);
    Q.showToken = (token) => {
      if (token === null) { listing.select(null); Q.forget(detail); detail.replaceChildren(); return; }
      listing.select(token);
      showDetail(detail, k, token);
    };
    // the open token stands below the list, where a small screen does not show it
    Q.revealToken = () => {
      const { top } = detail.getBoundingClientRect();
      if (top > innerHeight - 120) scrollBy(0, top - innerHeight / 2);
    };
    if (start !== null) showDetail(detail, k, start);

    const size = Q.el("div", { class: "chart", role: "img", "aria-label": "Loss of the cluster's tokens over model sizes" }), sizeCard = Q.el("div", { class: "card" }, Q.el("h3", {}, "Loss over model sizes"), size);
    const sizes = Q.meta.by_size.length > 1; // of one size alone there is no curve over sizes
    const cards = Q.el("div", { class: "cards" }, sizes ? sizeCard : null);
    const trained = trainings();
    let overSteps = () => {};
    if (trained.size) {
      const step = Q.el("div", { class: "chart", role: "img", "aria-label": "Loss of the cluster's tokens over training" }), below = Q.el("div");
      const model = Q.el("select", { id: "trained", "aria-label": "Model that is followed over its training" }, ...[...trained.keys()].map((one) => Q.el("option", { value: one, selected: one === followed }, one)));
      overSteps = () => {
        const members = trained.get(model.value), at = members.map((m) => Q.meta.members[m].step);
        const curve = Q.curveChart(step, { members, x: at.map((s) => Math.max(s, 0.5)), label: "training step", tokens });
        below.replaceChildren(at[0] === 0 ? Q.el("p", { class: "faint" }, "Step 0 is drawn at one half.") : "",
          table(`Mean loss over the steps of ${model.value} (nats)`, ["step", "mean", "10 %", "90 %"], at.map((s, i) => [String(s), curve.mean[i].toFixed(3), curve.low[i].toFixed(3), curve.high[i].toFixed(3)])));
      };
      model.addEventListener("change", () => { followed = model.value; overSteps(); });
      cards.append(Q.el("div", { class: "card" }, Q.el("h3", {}, "Loss over training"), Q.el("div", { class: "row" }, model), step, below));
    }
    const final = Q.el("div", { class: "chart small", role: "img", "aria-label": "Histogram of the tokens' losses" });
    const which = Q.el("select", { "aria-label": "Model of the histogram" }, ...Q.meta.by_size.map((m) => Q.el("option", { value: m, selected: m === Q.meta.by_size.at(-1) }, Q.meta.members[m].model)));
    const histogram = () => Q.histogram(final, Array.from(tokens, (t) => Q.loss(+which.value, t)), "loss (nats)");
    which.addEventListener("change", histogram);
    cards.append(Q.el("div", { class: "card" }, Q.el("h3", {}, "Distribution of losses"), Q.el("div", { class: "row" }, which), final));
    cards.append(Q.el("div", { class: "card" }, Q.el("h3", {}, "Commonest tokens"), Q.el("div", { class: "three" }, ...KINDS.map(([key, label]) => bars(label, commonest(tokens, pieces[key]))))));
    const similar = Q.el("div", { class: "card", hidden: true }), nearest = Q.el("div", { class: "card", hidden: true });
    cards.append(similar, nearest);
    cards.append(Q.el("div", { class: "card wide" }, Q.el("h3", {}, "Lineage: where its tokens are at other numbers of clusters"), lineage(k, c)));
    host.append(cards);

    const bySize = sizes && Q.curveChart(size, { members: Q.meta.by_size, x: Q.meta.by_size.map((m) => Q.meta.members[m].parameters), label: "non-embedding parameters", tokens, others: otherSeeds() });
    if (sizes) sizeCard.append(curveNote(), table("Mean loss over model sizes (nats)", ["model", "parameters", "mean", "10 %", "90 %"], Q.meta.by_size.map((m, i) => [Q.meta.members[m].model, Q.meta.members[m].parameters.toLocaleString("en"), bySize.mean[i].toFixed(3), bySize.low[i].toFixed(3), bySize.high[i].toFixed(3)])));
    overSteps();
    histogram();
    showSimilar(similar, nearest, k, c);
  };

  /* Rows from few clusters to many; a row's parts are the clusters that hold the open cluster's tokens there. */
  function lineage(k, c) {
    const tokens = Q.clustering(k).of(c), host = Q.el("div", { class: "lineage" }), alone = [], within = [], split = [];
    for (const other of Q.meta.ks) {
      const { label } = Q.clustering(other), counts = new Map();
      for (const token of tokens) counts.set(label[token], (counts.get(label[token]) ?? 0) + 1);
      const parts = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
      const shown = parts.filter(([, n]) => n / tokens.length >= 0.04).slice(0, 14), rest = tokens.length - shown.reduce((sum, [, n]) => sum + n, 0);
      const level = Q.el("div", { class: "level" });
      for (const [cluster, n] of shown) {
        const text = `${cluster} · ${n} of ${Q.clustering(other).size(cluster)}`;
        const said = `${text}: cluster ${cluster} of ${other} holds ${n} of the open cluster's ${tokens.length} tokens; ${Q.names.get(other, cluster) || Q.rule(other, cluster)}`;
        const button = openButton(other, cluster, text, { title: said, "aria-label": said, class: other === k ? "now" : "" });
        button.style.flexGrow = n;
        level.append(button);
      }
      if (rest) { const filler = Q.el("span", { class: "rest", title: `${rest} tokens in smaller parts` }); filler.style.flexGrow = rest; level.append(filler); }
      host.append(Q.el("span", { class: other === k ? "k now" : "k" }, String(other)), level);
      const whole = parts[0][1] === tokens.length;
      (whole ? (Q.clustering(other).size(parts[0][0]) === tokens.length ? alone : within) : split).push(other);
    }
    const words = [
      alone.length > 1 ? `The same tokens are a cluster at ${runs(alone)} clusters` : "These tokens are a cluster at no other number",
      within.length ? `part of a larger one at ${runs(within)}` : null, split.length ? `split at ${runs(split)}` : null,
    ].filter(Boolean);
    return Q.el("div", {}, Q.el("p", { class: "faint", id: "lineage-words" }, `${words.join("; ")}. Each part is a cluster. It shows its number, how many tokens of the open cluster it has, and its size.`), host);
  }

  async function showSimilar(card, others, k, c) {
    const near = await Q.own(`near_${k}`), values = await Q.own(`within_${k}`);
    if (!near) { Q.drawn("cluster"); return; }
    if (!card.isConnected) return;
    const tokens = near.tokens[c], n = tokens.length;
    const start = near.tokens.slice(0, c).reduce((sum, one) => sum + (one.length * (one.length - 1)) / 2, 0);
    const of = (i, j) => (i === j ? 100 : values[start + (Math.max(i, j) * (Math.max(i, j) - 1)) / 2 + Math.min(i, j)]);
    const canvas = Q.el("canvas", { class: "within", role: "img", "aria-label": `Cosine similarity of ${n} of its tokens` }), readout = Q.el("p", { class: "readout" }, "\u00a0");
    Q.heat(canvas, n, of);
    canvas.addEventListener("pointermove", (event) => {
      const [i, j] = Q.cell(canvas, event);
      readout.textContent = `${Q.line(Q.tokens.before[tokens[i]].slice(-16))}[${Q.visible(Q.tokens.target[tokens[i]])}] and ${Q.line(Q.tokens.before[tokens[j]].slice(-16))}[${Q.visible(Q.tokens.target[tokens[j]])}]: ${(of(i, j) / 100).toFixed(2)}`;
    });
    canvas.addEventListener("click", (event) => Q.go({ token: Q.place(tokens[Q.cell(canvas, event)[0]]) }, { quiet: true }));
    card.append(
      Q.el("h3", {}, Q.which ? "Similarity of its tokens, second affinity" : "Similarity of its gradients"),
      Q.el("p", { class: "faint" }, `mean cosine within: ${Q.fixed(near.within[c], 3)}${n < Q.clustering(k).size(c) ? `; the picture has ${n} of its tokens` : ""}`),
      canvas, Q.el("div", { class: "key" }, ...Q.rampKey("cosine 0 and below", "1")), readout);
    others.append(
      Q.el("h3", {}, "Nearest clusters"), Q.el("p", { class: "faint" }, "by the mean cosine between their tokens"),
      Q.el("div", { class: "chips stack" }, ...near.nearest[c].map((other, i) => {
        const said = `${near.cosine[c][i].toFixed(2)} · ${other}: ${Q.names.get(k, other) || Q.rule(k, other)}`;
        return openButton(k, other, said, { title: said });
      })));
    card.hidden = others.hidden = false;
    Q.drawn("cluster");
  }

  /* All about one token. */
  function showDetail(host, k, token) {
    Q.forget(host);
    const size = Q.el("div", { class: "chart small", role: "img", "aria-label": "Loss of the token over model sizes" }), step = Q.el("div", { class: "chart small", role: "img", "aria-label": "Loss of the token over training" });
    const members = Q.meta.members, loss = (m) => [members[m].model, String(members[m].step), Q.fixed(Q.loss(m, token), 3)];
    host.replaceChildren(
      Q.el("div", { class: "head-row" },
        Q.el("h3", {}, `Token ${token}: ${Q.plain(Q.source(token))}, document ${Q.tokens.document[token]}, position ${Q.tokens.position[token]}, id ${Q.tokens.token_id[token]}`),
        Q.el("button", { type: "button", id: "token-close", "aria-label": "Close the token", title: "Close (Esc)", onclick: () => Q.closeToken() }, "✕")),
      Q.el("div", { class: "context", tabindex: 0, role: "region", "aria-label": "Context of the token" }, Q.context(token)),
      Q.el("div", { class: "cards" },
        Q.meta.by_size.length > 1 ? Q.el("div", { class: "card" }, Q.el("h3", {}, "Its loss over model sizes"), size) : null, Q.meta.by_step.length > 1 ? Q.el("div", { class: "card" }, Q.el("h3", {}, "and over training"), step) : null,
        Q.el("div", { class: "card" }, Q.el("h3", {}, "Under every model"), Q.el("div", { class: "scroll short", tabindex: 0, role: "region", "aria-label": "Loss under every model" }, Q.el("table", { id: "token-losses" }, Q.el("thead", {}, Q.el("tr", {}, ...["model", "step", "loss (nats)"].map((t) => Q.el("th", { scope: "col" }, t)))),
          Q.el("tbody", {}, ...[...Q.meta.by_size, ...Q.meta.other_seeds, ...Q.meta.by_step.filter((m) => !Q.meta.by_size.includes(m))].map((m) => Q.el("tr", {}, ...loss(m).map((t) => Q.el("td", {}, t))))))))),
      Q.el("h3", {}, "Its cluster at each number of clusters"),
      Q.el("p", { class: "chips" }, ...Q.meta.ks.map((other) => { const c = Q.clustering(other).label[token]; return openButton(other, c, `${c} of ${other}`, { title: Q.names.get(other, c) || Q.rule(other, c) }); })));
    if (size.isConnected) Q.curveChart(size, { members: Q.meta.by_size, x: Q.meta.by_size.map((m) => members[m].parameters), label: "non-embedding parameters", tokens: [token], others: otherSeeds() });
    if (step.isConnected) Q.curveChart(step, { members: Q.meta.by_step, x: Q.meta.by_step.map((m) => Math.max(members[m].step, 0.5)), label: "training step", tokens: [token] });
  }
}

/* labels.csv, as the pipeline reads it. Every field is quoted. */
Q.labelsFile = () => {
  const quote = (value) => `"${String(value).replace(/"/g, '""').replace(/[\r\n]+/g, " ")}"`;
  return ["n_clusters,label,fingerprint,name", ...Q.names.all().map(([k, c, print, name]) => `${k},${c},${quote(print)},${quote(name)}`)].join("\n") + "\n";
};
