/* Charts, by uPlot: the rank-frequency law, loss curves, histograms. Colours come from the style sheet, so that themes hold. */
"use strict";

Q.colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

{
  const charts = new Map(); // host → chart: one chart a host

  const faint = (colour, share) => {
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
    return `rgba(${r},${g},${b},${share})`;
  };

  function decades(u, axis, low, high) {
    const ticks = [];
    const many = Math.log10(high / low) > 2.2;
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
      for (const m of many ? [1] : [1, 2, 5]) if (m * 10 ** e >= low && m * 10 ** e <= high) ticks.push(m * 10 ** e);
    return ticks;
  }

  function axis(label, { splits, values } = {}) {
    const ink = Q.colour("ink"), line = Q.colour("line");
    const one = {
      label, stroke: ink, labelSize: 22, size: 46, font: "12px system-ui", labelFont: "12px system-ui",
      grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 },
    };
    if (splits) { one.splits = splits; one.filter = (u, ticks) => ticks; } // the chosen ticks are all labelled
    one.values = values ?? ((u, ticks) => ticks.map((t) => (t >= 1e4 ? Q.count(t) : `${+t.toPrecision(6)}`)));
    return one;
  }

  function draw(host, options, data) {
    charts.get(host)?.plot.destroy();
    const box = host.getBoundingClientRect();
    const plot = new uPlot({ width: Math.max(box.width, 200), height: Math.max(box.height, 120), legend: { show: false }, ...options }, data, host);
    const watch = charts.get(host)?.watch ?? new ResizeObserver(() => {
      const now = host.getBoundingClientRect(), own = charts.get(host).plot;
      if (now.width && (Math.abs(now.width - own.width) > 1 || Math.abs(now.height - own.height) > 1)) own.setSize({ width: now.width, height: now.height });
    });
    watch.observe(host);
    charts.set(host, { plot, watch });
    return plot;
  }

  Q.forget = (root) => {
    for (const [host, { plot, watch }] of charts) if (root.contains(host)) { watch.disconnect(); plot.destroy(); charts.delete(host); }
  };

  /* ------------------------------------------------------------------------------------------ rank and frequency */

  Q.lawChart = (host, { k, cluster, strong, choose, hover }) => {
    const { ks, rank, nulls, fit, theory_slope } = Q.law();
    const own = rank[k], envelope = rank[0];
    const length = Math.max(envelope.length, ...nulls.map((one) => one.sizes.length));
    const x = Array.from({ length }, (_, i) => i + 1);
    const wide = (sizes) => x.map((_, i) => sizes[i] ?? null);
    const ink = Q.colour("ink"), series = [{}], data = [x], bands = [];
    const add = (values, look) => { data.push(values); series.push({ points: { show: false }, ...look }); return data.length - 1; };

    for (const one of ks) if (one !== k) add(wide(rank[one]), { stroke: faint(Q.colour("series"), 0.28), width: 1 });
    for (const [i, one] of nulls.entries()) if (one.name !== strong) add(wide(one.sizes), { stroke: strong ? faint(Q.colour("null"), 0.35) : Q.colour("null"), width: 1.5, dash: Q.nullDash(i) });
    add(wide(envelope), { stroke: ink, width: 2 });
    if (fit.value !== null) {
      const [first, last] = fit.ranks;
      const inside = x.filter((r) => r >= first && r <= last && envelope[r - 1]);
      const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
      const middle = mean(inside.map(Math.log)), height = mean(inside.map((r) => Math.log(envelope[r - 1])));
      const line = (slope) => x.map((r) => (r >= first && r <= last ? Math.exp(height + slope * (Math.log(r) - middle)) : null));
      if (fit.interval) {
        const [a, b] = fit.interval.map((slope) => add(line(slope), { stroke: "transparent", width: 0 }));
        bands.push({ series: [a, b], fill: faint(Q.colour("fit"), 0.3) }, { series: [b, a], fill: faint(Q.colour("fit"), 0.3) });
      }
      add(line(fit.value), { stroke: Q.colour("fit"), width: 2.5 });
      if (theory_slope !== null) add(line(theory_slope), { stroke: Q.colour("theory"), width: 2, dash: [8, 3, 2, 3] });
    }
    add(wide(own), { stroke: Q.colour("accent"), width: 2.5, points: { show: true, size: 6, fill: Q.colour("accent") } });
    for (const [i, one] of nulls.entries()) if (one.name === strong) add(wide(one.sizes), { stroke: Q.colour("chosen"), width: 3, dash: Q.nullDash(i) });
    const top = Math.max(...envelope, ...nulls.flatMap((one) => one.sizes)) * 1.4;

    /* Cluster nearest to the pointer, among all curves and null models, or null if none is within twenty pixels. */
    function nearest(u) {
      const { left, top: y } = u.cursor;
      if (left === null || left < 0) return null;
      let best = null, distance = 400;
      const from = Math.max(Math.floor(u.posToVal(left - 20, "x")), 1), to = Math.min(Math.ceil(u.posToVal(left + 20, "x")), length);
      for (let r = from; r <= to; r++) {
        const dx = u.valToPos(r, "x") - left;
        for (const one of ks) {
          const size = rank[one][r - 1];
          if (!size) continue;
          // of points in one place the curve of the chosen number of clusters is meant
          const d = dx ** 2 + (u.valToPos(size, "y") - y) ** 2 - (one === k ? 30 : 0);
          if (d < distance) { distance = d; best = { k: one, rank: r, size }; }
        }
        for (const one of nulls) {
          const size = one.sizes[r - 1], d = size ? dx ** 2 + (u.valToPos(size, "y") - y) ** 2 + 30 : Infinity;
          if (d < distance) { distance = d; best = { null: one.name, rank: r, size }; }
        }
      }
      return best;
    }

    let found = null;
    return draw(host, {
      scales: { x: { time: false, distr: 3, range: () => [0.85, length * 1.15] }, y: { distr: 3, range: () => [0.8, top] } },
      axes: [axis("rank of cluster", { splits: decades }), axis("tokens in cluster", { splits: decades })],
      cursor: { drag: { x: false, y: false }, points: { show: false } },
      series, bands,
      hooks: {
        drawClear: [(u) => {
          if (fit.value === null) return;
          const [a, b] = fit.ranks.map((r) => u.valToPos(r, "x", true));
          u.ctx.fillStyle = faint(Q.colour("fit"), 0.1);
          u.ctx.fillRect(a, u.bbox.top, b - a, u.bbox.height);
        }],
        draw: [(u) => {
          if (cluster === null || !own[cluster]) return;
          u.ctx.strokeStyle = ink;
          u.ctx.lineWidth = 2 * devicePixelRatio;
          u.ctx.beginPath();
          u.ctx.arc(u.valToPos(cluster + 1, "x", true), u.valToPos(own[cluster], "y", true), 7 * devicePixelRatio, 0, 7);
          u.ctx.stroke();
        }],
        setCursor: [(u) => { found = nearest(u); hover(found); }],
        ready: [(u) => u.over.addEventListener("click", () => { if (found?.k) choose(found); })],
      },
    }, data);
  };

  const NULL_DASHES = [[6, 4], [2, 3], [10, 3], [3, 6], [8, 2, 2, 2], [14, 4], [8, 2, 2, 2, 2, 2], [1, 5]];
  Q.nullDash = (i) => NULL_DASHES[i % NULL_DASHES.length];

  /* ------------------------------------------------------------------------------------------------- loss curves */

  /*
   * Curves over the given members: single tokens faint (at most forty), the middle 80 % shaded, their mean strong. `others`
   * are members of the same sizes with other seeds: [x, mean] of each is an open point, joined to nothing.
   */
  Q.curveChart = (host, { members, x, label, tokens, others = [], log = true }) => {
    const n = tokens.length, rows = members.map((m) => Array.from(tokens, (t) => Q.loss(m, t)).sort((a, b) => a - b));
    const quantile = (p) => rows.map((row) => { const at = p * (n - 1), i = Math.floor(at); return row[i] + (at - i) * ((row[i + 1] ?? row[i]) - row[i]); });
    const mean = rows.map((row) => row.reduce((a, b) => a + b, 0) / n);
    const shown = n <= 40 ? Array.from(tokens) : Array.from({ length: 40 }, (_, i) => tokens[Math.round((i * (n - 1)) / 39)]);
    const colour = Q.colour("series"), hidden = { points: { show: false } };
    const series = [{}], data = [x];
    for (const token of shown) { data.push(members.map((m) => Q.loss(m, token))); series.push({ ...hidden, stroke: faint(colour, n > 1 ? 0.22 : 0), width: 1 }); }
    data.push(quantile(0.9), quantile(0.1));
    series.push({ ...hidden, stroke: "transparent" }, { ...hidden, stroke: "transparent" });
    const bands = n > 4 ? [{ series: [data.length - 2, data.length - 1], fill: faint(colour, 0.16) }] : [];
    data.push(mean);
    series.push({ stroke: Q.colour("ink"), width: 2.5, points: { show: true, size: 5, fill: Q.colour("ink") } });
    const apart = others.map(({ at, member }) => [at, Array.from(tokens, (t) => Q.loss(member, t)).reduce((a, b) => a + b, 0) / n]);
    const top = Math.max(...rows.map((row) => row[n - 1]), ...apart.map(([, y]) => y), 0.02) * 1.05;
    draw(host, {
      scales: { x: { time: false, distr: log ? 3 : 1, range: () => (log ? [x[0] / 1.25, x[x.length - 1] * 1.25] : [x[0], x[x.length - 1]]) }, y: { range: () => [0, top] } },
      axes: [axis(label, { splits: decades }), axis("loss (nats)")],
      cursor: { drag: { x: false, y: false } },
      series, bands,
      hooks: {
        draw: [(u) => {
          u.ctx.strokeStyle = Q.colour("ink");
          u.ctx.lineWidth = 1.2 * devicePixelRatio;
          for (const [at, y] of apart) {
            u.ctx.beginPath();
            u.ctx.arc(u.valToPos(at, "x", true), u.valToPos(y, "y", true), 4 * devicePixelRatio, 0, 7);
            u.ctx.stroke();
          }
        }],
      },
    }, data);
    return { mean, low: quantile(0.1), high: quantile(0.9) };
  };

  Q.histogram = (host, values, label) => {
    const top = Math.max(...values, 0.02), bins = Math.min(30, Math.max(8, Math.ceil(Math.sqrt(values.length) * 2)));
    const width = top / bins, counts = new Array(bins).fill(0);
    for (const value of values) counts[Math.min(Math.floor(value / width), bins - 1)]++;
    draw(host, {
      scales: { x: { time: false, range: () => [0, top] }, y: { range: () => [0, Math.max(...counts) * 1.08] } },
      axes: [axis(label), axis("tokens")],
      cursor: { show: false },
      series: [{}, { stroke: Q.colour("series"), fill: faint(Q.colour("series"), 0.35), width: 1, paths: uPlot.paths.bars({ size: [0.95, 100], align: 0 }), points: { show: false } }],
    }, [counts.map((_, i) => (i + 0.5) * width), counts]);
  };
}
