/* What is drawn point by point: the map of all tokens and the heat maps of similarity. */
"use strict";

/* Sequential colours, dark to light with the value, of even steps in lightness so that grey print keeps the order. */
Q.ramp = (() => {
  const stops = [[16, 12, 44], [52, 40, 110], [44, 96, 148], [52, 150, 156], [118, 196, 148], [236, 240, 190]];
  return (share) => {
    const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1), i = Math.min(Math.floor(at), stops.length - 2), f = at - i;
    return stops[i].map((c, j) => Math.round(c + f * (stops[i + 1][j] - c)));
  };
})();

Q.rampKey = (low, high, from = 0, to = 1) => {
  const canvas = Q.el("canvas", { width: 160, height: 10, "aria-hidden": "true" }), context = canvas.getContext("2d");
  for (let i = 0; i < 160; i++) { context.fillStyle = `rgb(${Q.ramp(from + ((to - from) * i) / 159)})`; context.fillRect(i, 0, 1, 10); }
  return [Q.el("span", {}, low), canvas, Q.el("span", {}, high)];
};

/* Neighbouring numbers get distant hues; forty lightness and hue pairs before they come close again. */
Q.hue = (c) => `hsl(${(c * 137.508) % 360} ${55 + ((c * 7) % 3) * 12}% ${document.documentElement.dataset.theme === "dark" ? 58 + (c % 3) * 8 : 36 + (c % 3) * 8}%)`;

Q.map = (canvas, { choose, hover }) => {
  const view = { x: 0, y: 0, zoom: 1 };
  let layout = null, colours = [], ringed = new Uint8Array(0), found = -1, grab = null;
  const context = canvas.getContext("2d");

  const scale = () => Math.min(canvas.width, canvas.height) * 0.94 * view.zoom;
  const px = (i) => canvas.width / 2 + (layout[i] / 65535 - 0.5 * spanX - view.x) * scale();
  const py = (i) => canvas.height / 2 - (layout[Q.n + i] / 65535 - 0.5 * spanY - view.y) * scale();
  let spanX = 1, spanY = 1;

  function draw() {
    const box = canvas.getBoundingClientRect();
    if (!box.width || !layout) return;
    const [width, height] = [box.width, box.height].map((v) => Math.round(v * devicePixelRatio));
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    context.clearRect(0, 0, width, height);
    const size = Math.max(1.6, Math.min(5, 140 / Math.sqrt(Q.n)) * Math.sqrt(view.zoom)) * devicePixelRatio;
    const ring = (i, radius) => { context.beginPath(); context.arc(px(i), py(i), radius, 0, 7); context.stroke(); };
    context.strokeStyle = Q.colour("ink");
    context.lineWidth = 1.5 * devicePixelRatio;
    for (let i = 0; i < Q.n; i++) if (ringed[i]) ring(i, size * 1.3); // below the points, which rings of a dense cluster would hide
    let last = null;
    for (let i = 0; i < Q.n; i++) {
      if (colours[i] !== last) context.fillStyle = last = colours[i];
      context.fillRect(px(i) - size / 2, py(i) - size / 2, size, size);
    }
    if (found >= 0) ring(found, size * 1.8);
  }

  function at(event) {
    const box = canvas.getBoundingClientRect(), x = (event.clientX - box.left) * devicePixelRatio, y = (event.clientY - box.top) * devicePixelRatio;
    let best = -1, distance = (14 * devicePixelRatio) ** 2;
    for (let i = 0; i < Q.n; i++) {
      const d = (px(i) - x) ** 2 + (py(i) - y) ** 2;
      if (d < distance) { distance = d; best = i; }
    }
    return best;
  }

  function zoom(factor) {
    if (factor === 0) Object.assign(view, { x: 0, y: 0, zoom: 1 });
    else view.zoom = Math.min(Math.max(view.zoom * factor, 0.5), 60);
    draw();
  }

  function pan(dx, dy) { view.x += dx / scale(); view.y += dy / scale(); draw(); }

  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2); }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => { grab = { x: event.clientX, y: event.clientY, moved: 0 }; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    if (grab) {
      const dx = event.clientX - grab.x, dy = event.clientY - grab.y;
      grab = { x: event.clientX, y: event.clientY, moved: grab.moved + Math.abs(dx) + Math.abs(dy) };
      if (grab.moved > 4) pan(-dx * devicePixelRatio, dy * devicePixelRatio);
      return;
    }
    const now = at(event);
    if (now !== found) { found = now; hover(found); draw(); }
  });
  canvas.addEventListener("pointerup", (event) => { if (grab && grab.moved <= 4) { const i = at(event); if (i >= 0) choose(i); } grab = null; });
  canvas.addEventListener("keydown", (event) => {
    const step = 60 * devicePixelRatio;
    const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
    if (move) pan(...move);
    else if (event.key === "+") zoom(1.3);
    else if (event.key === "-") zoom(1 / 1.3);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(draw).observe(canvas);

  return {
    show(next, nextColours, rings) {
      layout = next;
      colours = nextColours;
      ringed = rings;
      let x = 0, y = 0;
      for (let i = 0; i < Q.n; i++) { x = Math.max(x, layout[i]); y = Math.max(y, layout[Q.n + i]); }
      spanX = x / 65535;
      spanY = y / 65535;
      draw();
    },
    zoom,
  };
};

/* A square picture of cosines, `of(i, j)` in hundredths, coloured by their `power`; values below zero are the darkest. */
Q.heat = (canvas, size, of, power = 1) => {
  canvas.width = canvas.height = size;
  const context = canvas.getContext("2d"), image = context.createImageData(size, size);
  const table = Array.from({ length: 101 }, (_, i) => Q.ramp((i / 100) ** power));
  for (let i = 0, at = 0; i < size; i++) for (let j = 0; j < size; j++, at += 4) {
    const [r, g, b] = table[Math.max(of(i, j), 0)];
    image.data[at] = r; image.data[at + 1] = g; image.data[at + 2] = b; image.data[at + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return image;
};

/* Counts what was drawn after its data had come: whoever measures waits for it. */
Q.drawings = { map: 0, heat: 0, cluster: 0 };
Q.drawn = (view) => { Q.drawings[view] += 1; };

/* Row and column under the pointer. */
Q.cell = (canvas, event) => {
  const box = canvas.getBoundingClientRect();
  const place = (v, low, span) => Math.min(Math.max(Math.floor(((v - low) / span) * canvas.width), 0), canvas.width - 1);
  return [place(event.clientY, box.top, box.height), place(event.clientX, box.left, box.width)];
};
