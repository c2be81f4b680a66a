/* The first view: clusters that are worth a look, with tokens in context and how sure they are. */
"use strict";

{
  const CARDS = 12, FEWEST = 6, TOKENS = 4;
  const ALONE = 0.25; // as in quanta.interventions.scores: the low end of the interval is above it

  const share = (value) => `${(100 * value).toFixed(0)} %`;

  /*
   * How much a cluster is worth a look: its rule holds on other documents, its gradients are alike, and it is found again from half
   * of the texts. What a run did not compute counts as one.
   */
  Q.worth = (own, c) => {
    const { cosine_within: cosine, stability_halves: halves } = own.columns;
    return (own.measures().f1[c] ?? 0) * (cosine?.[c] ?? 1) * (halves?.[c] ?? 1);
  };

  /* The best clusters, each target once. A run of small clusters alone shows these. */
  function chosen(own) {
    const large = own.columns.size.some((size) => size >= FEWEST) ? FEWEST : 1, targets = new Set();
    return Array.from({ length: own.number }, (_, c) => c)
      .filter((c) => own.columns.size[c] >= large)
      .sort((a, b) => Q.worth(own, b) - Q.worth(own, a) || a - b)
      .filter((c) => !targets.has(own.columns.target[c]) && targets.add(own.columns.target[c]))
      .slice(0, CARDS);
  }

  /* What is known of a cluster, in words. */
  function sure(own, c) {
    const { size, precision_held_out: precision, recall_held_out: recall, stability_halves: halves } = own.columns, said = [`${size[c]} tokens`];
    if (precision[c] !== null && recall[c] !== null) said.push(`on other documents, its rule is right for ${share(precision[c])} and finds ${share(recall[c])}`);
    if (halves && halves[c] !== null) said.push(`${share(halves[c])} of it comes back from half of the texts`);
    const alone = own.columns.removed_alone_low?.[c];
    if (typeof alone === "number") said.push(alone > ALONE ? "can be removed alone" : "cannot be removed alone");
    return said.join(" · ");
  }

  function line(token) {
    const { before, target, after } = Q.tokens;
    return Q.el("div", { class: "sample" },
      Q.el("span", { class: "before" }, Q.el("span", {}, Q.line(before[token].slice(-60)))),
      Q.el("span", { class: "after" }, Q.el("mark", {}, Q.visible(target[token])), Q.line(after[token].slice(0, 30))));
  }

  Q.showGallery = (host, k) => {
    const own = Q.clustering(k);
    host.replaceChildren(...chosen(own).map((c) => {
      const tokens = own.of(c), step = Math.max(Math.floor(tokens.length / TOKENS), 1);
      const title = Q.names.get(k, c) || Q.rule(k, c);
      return Q.el("article", { class: "card" },
        Q.el("h3", {}, Q.el("button", { type: "button", class: "link", onclick: () => Q.go({ view: "cluster", cluster: c, token: null }) }, title)),
        Q.el("p", { class: "faint" }, sure(own, c)),
        ...Array.from(tokens).filter((_, i) => i % step === 0).slice(0, TOKENS).map(line));
    }));
  };
}
