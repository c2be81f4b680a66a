/* What the page knows: chunks unpacked when they are first needed, and what follows from them for each number of clusters. */
"use strict";

const Q = { meta: JSON.parse(document.getElementById("meta").textContent), started: performance.now() };

Q.bytes = (text) => (Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));

{
  const KINDS = { uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, uint32: Uint32Array, int32: Int32Array };
  const loading = new Map();

  async function unpack(name) {
    const element = document.getElementById(`chunk-${name}`);
    if (!element) return null;
    const stream = new Blob([Q.bytes(element.textContent)]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    const buffer = await new Response(stream).arrayBuffer();
    element.remove(); // its text is not needed twice
    const { kind } = Q.meta.chunks[name];
    return kind === "json" ? JSON.parse(new TextDecoder().decode(buffer)) : new KINDS[kind](buffer);
  }

  /* A chunk by name, or null where the run has none. */
  Q.load = (name) => {
    if (!loading.has(name)) loading.set(name, unpack(name));
    return loading.get(name);
  };
}

/* Which clustering is shown: the paper's, or the second one where the run has it. What both have, they have by the same names. */
Q.which = "";
Q.use = (of) => { Q.which = of === "second" && Q.meta.second ? "second_" : ""; };
Q.own = (name) => Q.load(`${Q.which}${name}`);
Q.law = () => (Q.which ? { ...Q.meta, ...Q.meta.second } : Q.meta);

/* ------------------------------------------------------------------------------------------------ text, made safe */

/* Characters that would reorder or hide text are shown by their number. */
Q.plain = (text) =>
  text.replace(/[\u0000-\u0008\u000b-\u001f\u007f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, (c) =>
    `⟨U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
Q.visible = (text) => Q.plain(text).replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/ /g, "␣");
Q.line = (text) => Q.plain(text).replace(/\n/g, "⏎").replace(/\t/g, "⇥");

/* The only way in which the page makes elements: text is always text. */
Q.el = (tag, properties = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "class") element.className = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};

Q.count = (n) => (n >= 1e9 ? `${+(n / 1e9).toPrecision(3)}G` : n >= 1e6 ? `${+(n / 1e6).toPrecision(3)}M` : n >= 1e3 ? `${+(n / 1e3).toPrecision(3)}k` : `${n}`);
Q.fixed = (x, digits) => (x === null || x === undefined || Number.isNaN(x) ? "–" : x.toFixed(digits));

/* ---------------------------------------------------------------------------------------------------- clusterings */

Q.start = async () => {
  const [tokens, losses, ...packed] = await Promise.all(["tokens", "losses", "labels", "clusters", "second_labels", "second_clusters"].map(Q.load));
  const n = tokens.target.length, { ks, members } = Q.meta;
  const made = new Map();

  Q.n = n;
  Q.tokens = tokens;
  Q.loss = (member, token) => losses[member * n + token] / 1000;
  Q.source = (token) => tokens.sources[tokens.source[token]];
  Q.place = (token) => `${tokens.document[token]}.${tokens.position[token]}`;
  Q.at = new Map(Array.from({ length: n }, (_, i) => [Q.place(i), i]));

  /* One clustering: label of each token, tokens of each cluster, and the table of its clusters. */
  Q.clustering = (k, which = Q.which) => {
    if (made.has(`${which}${k}`)) return made.get(`${which}${k}`);
    const [labels, table] = which ? packed.slice(2) : packed;
    const row = ks.indexOf(k);
    const label = labels.subarray(row * n, (row + 1) * n);
    const columns = table[k], number = columns.label.length;
    const start = new Uint32Array(number + 1);
    for (const l of label) start[l + 1]++;
    for (let c = 0; c < number; c++) start[c + 1] += start[c];
    const fill = start.slice(), sorted = new Uint32Array(n);
    for (let i = 0; i < n; i++) sorted[fill[label[i]]++] = i;
    const one = {
      k, label, number, columns,
      of: (c) => sorted.subarray(start[c], start[c + 1]),
      size: (c) => start[c + 1] - start[c],
      means: lazily(() => means(label, start, number)),
    };
    one.measures = lazily(() => measures(one));
    made.set(`${which}${k}`, one);
    return one;
  };

  function lazily(make) {
    let value;
    return () => (value ??= make());
  }

  /* Mean loss (nats) of each cluster under each member, cluster after cluster. */
  function means(label, start, number) {
    const sums = new Float64Array(number * members.length);
    for (let m = 0; m < members.length; m++)
      for (let i = 0; i < n; i++) sums[label[i] * members.length + m] += losses[m * n + i];
    for (let c = 0; c < number; c++)
      for (let m = 0; m < members.length; m++) sums[c * members.length + m] /= 1000 * (start[c + 1] - start[c]);
    return sums;
  }

  /* By which clusters can be sorted. */
  function measures(one) {
    const mean = one.means(), sizes = Q.meta.by_size;
    const column = (name) => one.columns[name];
    const found = { size: column("size"), purity: column("purity"), n_sources: column("n_sources"), fall: [], sharpness: [], largest: [], f1: [] };
    for (let c = 0; c < one.number; c++) {
      const curve = sizes.map((m) => mean[c * members.length + m]);
      const fall = curve[0] - curve[curve.length - 1];
      let step = 0;
      for (let i = 1; i < curve.length; i++) step = Math.max(step, curve[i - 1] - curve[i]);
      found.fall.push(fall);
      found.sharpness.push(fall > 0.1 ? step / fall : null);
      found.largest.push(curve[curve.length - 1]);
      const p = column("precision_held_out")[c], r = column("recall_held_out")[c];
      found.f1.push(p === null || r === null || p + r === 0 ? null : (2 * p * r) / (p + r));
    }
    for (const name of Object.keys(Q.MEASURES)) if (name in one.columns) found[name] ??= column(name);
    return found;
  }
};

/*
 * What is known of a cluster: `name` as a fact and, with `sort`, as an order of the list (`first` 1: large values first, −1: small
 * ones), `meaning`, `digits`, and `unit` if it has one.
 */
Q.MEASURES = {
  size: { name: "tokens", sort: "cluster size", digits: 0, first: 1, meaning: "number of its tokens" },
  n_sources: { name: "sources", sort: "number of sources", digits: 0, first: 1, meaning: "files that the tokens come from" },
  purity: { name: "purity", sort: "purity", digits: 3, first: 1, meaning: "share of the commonest target" },
  purity_bigram: { name: "bigram purity", digits: 3, meaning: "share of the commonest pair of token before and target" },
  purity_source: { name: "source purity", digits: 3, meaning: "share of the commonest source" },
  f1: { name: "held-out F1", sort: "held-out F1 of its description", digits: 2, first: 1, meaning: "harmonic mean of the description's precision and recall on documents that it was not found on" },
  fall: { name: "fall", sort: "fall in loss over model sizes", digits: 2, unit: "nats", first: 1, meaning: "mean loss under the smallest model minus that under the largest" },
  sharpness: { name: "sharpness", sort: "sharpness of the fall", digits: 2, first: 1, meaning: "largest drop between neighbouring model sizes, as a share of the fall. It is above 1 if the loss rises elsewhere. –: the fall is below 0.1 nats" },
  largest: { name: "loss, largest model", sort: "loss of the largest model", digits: 3, unit: "nats", first: 1, meaning: "mean loss under the largest model" },
  skill: { name: "skill", sort: "skill beyond the target", digits: 3, first: 1, meaning: "chance that a token is nearer to a token of its cluster than to one outside with the same target. At one half, the cluster is no more than its target. –: there is no such token outside" },
  cosine_within: { name: "cosine within", sort: "mean cosine within", digits: 3, first: 1, meaning: "mean cosine of the gradients of its pairs; about 0 for unrelated tokens" },
  stability_halves: { name: "stability, halves", sort: "stability, half the tokens", digits: 3, first: 1, meaning: "how much of it is found again from half of the tokens (Jaccard index: 1 is all)" },
  stability_seeds: { name: "stability, seeds", sort: "stability, other seeds", digits: 3, first: 1, meaning: "how much of it is found again with another seed of k-means (Jaccard index: 1 is all)" },
  removed: { name: "removed with half", sort: "loss shared by its other half", digits: 2, first: 1, meaning: "the weights move until half of its tokens have lost 2 nats. The other half loses this share of it, with its 90 % interval" },
  removed_alone: { name: "removed alone", sort: "how much it is removed alone", digits: 2, first: 1, meaning: "that share minus the share that tokens outside lose, with its 90 % interval. Outside are those of its targets, or all others, whichever lose more. Above 0.25 at its low end, the cluster can be removed alone" },
  removed_by_noise: { name: "removed alone by noise", sort: "how much it is removed alone by noise", digits: 2, first: 1, meaning: "the same as removed alone, if noise is put on the weights that half of its tokens use" },
  removed_bare: { name: "removed, no bigram shared", sort: "loss shared without a common bigram", digits: 2, first: 1, meaning: "the same share if the halves have no bigram in common. –: there are no such halves" },
};
if (Q.meta.by_size.length < 2) for (const name of ["fall", "sharpness"]) delete Q.MEASURES[name];
for (const { column, axis, reference } of Q.meta.learned) {
  const size = axis === "size";
  Q.MEASURES[column] = {
    name: `learned at ${size ? "model size" : axis}`, sort: size ? "model size at which learned" : `step learned, ${axis.replace(/^step of /, "")}`, digits: 0, first: -1, unit: size ? "parameters" : "steps",
    learned: size ? Q.meta.members[Q.meta.by_size[0]].parameters : 1, // the first point of the axis
    meaning: `where half of its tokens are learned, with a 90 % interval. A token is learned when ${reference}. ≤: at the first point already. –: not at the last point`,
  };
}

/* A measure as text, with its unit. */
Q.said = (key, value, low, high) => {
  const { digits, unit, learned } = Q.MEASURES[key], none = value === null || value === undefined || Number.isNaN(value);
  if (none) return "–";
  const end = unit ? ` ${unit}` : "";
  const within = typeof low === "number" && typeof high === "number" ? ` [${low.toFixed(digits)}, ${high.toFixed(digits)}]` : "";
  if (learned === undefined) return `${value.toFixed(digits)}${within}${end}`;
  if (value <= learned) return `≤ ${Q.count(Math.round(learned))}${end}`;
  const number = (x) => (x === null || x === undefined ? "…" : Q.count(Math.round(x)));
  return `${number(value)}${low === undefined ? "" : ` [${number(low)}, ${number(high)}]`}${end}`;
};

/* Mean cosine below which a cluster is called mixed; that of unrelated tokens is about 0. */
Q.mixed = (k, c) => Q.clustering(k).columns.cosine_within?.[c] < 0.1;

/* The automatic description. A rule that misses more than it tells, on documents that it was not found on, is called loose. */
Q.rule = (k, c) => {
  const { rule, precision, recall } = Q.clustering(k).columns;
  if (!rule[c].length) return "no rule found";
  const held = Q.clustering(k).measures().f1[c], f1 = held ?? (2 * precision[c] * recall[c]) / (precision[c] + recall[c]);
  return `${f1 < 0.5 ? "loosely: " : ""}${Q.plain(rule[c].join(", and "))}`;
};

/* The reader's own name of a cluster, else the pipeline's, else none. */
Q.names = (() => {
  const key = `quanta:${Q.meta.run}:${Q.meta.fingerprint}`;
  let own = {};
  try { own = JSON.parse(localStorage.getItem(key) ?? "{}"); } catch { /* a browser may refuse storage to a file: names then last as long as the page */ }
  const place = (k, c) => `${k}:${Q.clustering(k).columns.fingerprint[c]}`;
  return {
    get: (k, c) => own[place(k, c)] ?? (Q.which ? null : Q.meta.names[`${k}:${c}`]) ?? "",
    set: (k, c, name) => {
      own[place(k, c)] = name;
      try { localStorage.setItem(key, JSON.stringify(own)); } catch { /* as above */ }
    },
    // of the paper's clustering, whichever is shown: the pipeline reads these
    all: () => {
      const shown = Q.which;
      Q.which = "";
      const rows = Q.meta.ks.flatMap((k) => Array.from({ length: Q.clustering(k).number }, (_, c) => [k, c, Q.clustering(k).columns.fingerprint[c], Q.names.get(k, c)]).filter((row) => row[3]));
      Q.which = shown;
      return rows;
    },
  };
})();
