/* Lists of any length: only the rows in sight exist. A list is one stop of the Tab key; arrows move within it. */
"use strict";

/*
 * Q.list(container, {label, height, render, choose, empty}): `render(item, index)` makes the content of one row, `choose(item)` is
 * called on click and Enter. `show(items, selected)` puts items into it; without any, the text `empty` stands there.
 */
Q.list = (container, { label, height, render, choose, empty = "None." }) => {
  const inner = document.createElement("div");
  inner.setAttribute("role", "presentation");
  container.setAttribute("role", "listbox");
  container.setAttribute("aria-label", label);
  container.tabIndex = 0;
  container.append(inner);
  let items = [], active = 0, selected = null, rows = new Map();

  const id = (index) => `${container.id}-${index}`;

  function draw() {
    const top = container.scrollTop, first = Math.max(Math.floor(top / height) - 4, 0);
    const last = Math.min(Math.ceil((top + container.clientHeight) / height) + 4, items.length);
    for (const [index, row] of rows) if (index < first || index >= last) { row.remove(); rows.delete(index); }
    for (let index = first; index < last; index++) {
      if (rows.has(index)) continue;
      const row = Q.el("div", { class: "option", role: "option", id: id(index), "aria-posinset": index + 1, "aria-setsize": items.length }, render(items[index], index));
      row.style.top = `${index * height}px`;
      row.style.height = `${height}px`;
      row.addEventListener("click", () => { active = index; choose(items[index]); mark(); });
      rows.set(index, row);
      // in the order of the list, as a screen reader reads it
      const next = [...rows.keys()].filter((i) => i > index).sort((a, b) => a - b)[0];
      inner.insertBefore(row, next === undefined ? null : rows.get(next));
    }
    mark();
  }

  function mark() {
    for (const [index, row] of rows) {
      row.setAttribute("aria-selected", String(items[index] === selected));
      row.classList.toggle("active", index === active);
    }
    if (rows.has(active)) container.setAttribute("aria-activedescendant", id(active));
    else container.removeAttribute("aria-activedescendant");
  }

  function reveal(index) {
    const top = index * height;
    if (top < container.scrollTop) container.scrollTop = top;
    else if (top + height > container.scrollTop + container.clientHeight) container.scrollTop = top + height - container.clientHeight;
  }

  container.addEventListener("scroll", draw, { passive: true });
  new ResizeObserver(draw).observe(container);
  container.addEventListener("keydown", (event) => {
    const page = Math.max(Math.floor(container.clientHeight / height) - 1, 1);
    const to = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + page, PageUp: active - page, Home: 0, End: items.length - 1 }[event.key];
    if (event.key === "Enter" || event.key === " ") { if (items.length) choose(items[active]); }
    else if (to === undefined) return;
    else { active = Math.min(Math.max(to, 0), items.length - 1); reveal(active); draw(); }
    event.preventDefault();
  });

  return {
    show(next, chosen = null, keep = false) {
      items = next;
      selected = chosen;
      for (const row of rows.values()) row.remove();
      rows = new Map();
      inner.style.height = `${items.length * height}px`;
      container.querySelector(".empty")?.remove();
      if (!items.length) container.append(Q.el("p", { class: "empty" }, empty));
      const where = items.indexOf(selected);
      active = where >= 0 ? where : 0;
      if (where >= 0) reveal(where);
      else if (!keep) container.scrollTop = 0;
      draw();
    },
    select(chosen) {
      selected = chosen;
      const where = items.indexOf(chosen);
      if (where >= 0) { active = where; reveal(where); }
      draw();
    },
    step(by) {
      if (!items.length) return;
      // where the filter hides the open one, the first of the list comes next
      active = items.indexOf(selected) < 0 ? 0 : Math.min(Math.max(active + by, 0), items.length - 1);
      reveal(active);
      choose(items[active]);
    },
    resize(next) { height = next; this.show(items, selected, true); },
    get length() { return items.length; },
  };
};

/* One token on one line, its target in a column of its own, as concordances have it. */
Q.kwic = (token) => {
  const { before, target, after } = Q.tokens;
  return Q.el("div", { class: "kwic" },
    Q.el("span", { class: "before" }, Q.el("span", {}, Q.line(before[token].slice(-110)))),
    Q.el("span", { class: "after" }, Q.el("mark", {}, Q.visible(target[token])), Q.line(after[token].slice(0, 60))),
    Q.spark(token),
    Q.el("span", { class: "loss" }, Q.fixed(Q.loss(Q.meta.clustered, token), 3)));
};

/* What the columns of such a list are. */
Q.kwicHead = (host) => host.replaceChildren(
  Q.el("span", { class: "before" }, "context, target"), Q.el("span", {}, "and what follows"), Q.el("span", { class: "sizes" }, "loss over model sizes"), Q.el("span", { class: "loss", title: `loss under ${Q.meta.members[Q.meta.clustered].model}` }, "loss, nats"));

/* The same over several lines, as the author wrote it. */
Q.block = (token) => Q.el("div", { class: "block" },
  Q.context(token, 5),
  Q.el("span", { class: "faint" }, `${Q.plain(Q.source(token))} · ${Q.fixed(Q.loss(Q.meta.clustered, token), 3)} nats`));

Q.context = (token, lines = 0) => {
  const { before, target, after } = Q.tokens;
  const cut = (text) => (lines ? text.split("\n").slice(-lines).join("\n") : text);
  const shown = Q.visible(target[token]) + (target[token].includes("\n") ? "\n" : "");
  return Q.el("pre", {}, Q.el("span", {}, Q.plain(cut(before[token])), Q.el("mark", {}, shown), Q.el("span", { class: "after" }, Q.plain(lines ? after[token].split("\n")[0] : after[token]))));
};

/* A piece of line as a key shows it, with the chart's own dashes. */
Q.stroke = (colour, dash = [], opacity = 1) => {
  const space = "http://www.w3.org/2000/svg", svg = document.createElementNS(space, "svg"), line = document.createElementNS(space, "line");
  for (const [key, value] of Object.entries({ viewBox: "0 0 36 6", width: 36, height: 6, "aria-hidden": "true" })) svg.setAttribute(key, value);
  for (const [key, value] of Object.entries({ x1: 0, y1: 3, x2: 36, y2: 3, stroke: colour, "stroke-width": 2.5, "stroke-opacity": opacity, "stroke-dasharray": dash.join(" ") || "none" })) line.setAttribute(key, value);
  svg.append(line);
  return svg;
};

/* Loss over model sizes as a small line, with the numbers as its name. */
Q.spark = (token) => {
  if (Q.meta.by_size.length < 2) return Q.el("span");
  const sizes = Q.meta.by_size, values = sizes.map((m) => Q.loss(m, token)), top = Math.max(...values, 1);
  const space = "http://www.w3.org/2000/svg", svg = document.createElementNS(space, "svg"), line = document.createElementNS(space, "polyline");
  const points = values.map((value, i) => `${(60 * i) / Math.max(values.length - 1, 1) + 2},${18 - (16 * value) / top}`);
  svg.setAttribute("viewBox", "0 0 64 20");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `loss over model sizes: ${values.map((v) => v.toFixed(2)).join(", ")} nats`);
  line.setAttribute("points", points.join(" "));
  line.setAttribute("fill", "none");
  line.setAttribute("stroke", "currentColor");
  line.setAttribute("stroke-width", "1.5");
  svg.append(line);
  return svg;
};
