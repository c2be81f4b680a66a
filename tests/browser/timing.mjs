/* Times a page in headless Chromium at three widths, each in a fresh context, and prints medians as a table.
 *
 * node timing.mjs MODULES CHROMIUM PAGE [REPETITIONS]
 */
import { createRequire } from "node:module";
import path from "node:path";

const [modules, executablePath, page, repetitions = "5"] = process.argv.slice(2);
const { chromium } = createRequire(path.resolve(modules, "x.js"))("playwright-core");
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];

/* In the page: the slowest of each kind, until the layout is done and what comes later (map, heat maps) is drawn. */
async function measure() {
  const done = (begun) => { document.body.getBoundingClientRect(); return performance.now() - begun; };
  const found = { paint: performance.getEntriesByName("first-contentful-paint")[0].startTime, ready: Q.ready };
  const spans = [];
  for (const text of ["t", "ta", "target", "", "zzz", ""]) {
    const begun = performance.now();
    document.getElementById("filter").value = text;
    document.getElementById("filter").dispatchEvent(new Event("input"));
    spans.push(done(begun));
  }
  found.filter = Math.max(...spans);
  Q.go({ view: "search" });
  const searches = [];
  for (const text of ["e", "\\w+\\($", "^zzzz$", "[aeiou].{3}n$"]) {
    Q.searchTime = null;
    document.getElementById("query").value = text;
    document.getElementById("query").dispatchEvent(new Event("input"));
    while (Q.searchTime === null) await new Promise((resume) => setTimeout(resume, 20));
    searches.push(Q.searchTime);
  }
  found.search = Math.max(...searches);
  for (const view of ["law", "cluster", "map", "heat"]) {
    Q.go({ view });
    await new Promise((resume) => setTimeout(resume, 300));
    const steps = [];
    for (const k of Q.meta.ks) {
      if (k === +document.getElementById("k-value").textContent) continue; // nothing would be drawn
      const begun = performance.now(), before = Q.drawings[view];
      Q.go({ k });
      // a turn of the loop at a time, not a timer: a timer of a browser is coarser than what is timed
      while (before !== undefined && Q.drawings[view] === before) await new Promise((resume) => { const { port1, port2 } = new MessageChannel(); port1.onmessage = resume; port2.postMessage(0); });
      steps.push(done(begun));
    }
    found[view] = Math.max(...steps);
  }
  return found;
}

console.log("| width | first paint | ready | filter | search | slider: rank–frequency | cluster | map | affinity |\n|---|---|---|---|---|---|---|---|---|");
for (const [width, height] of [[1440, 900], [820, 1100], [390, 844]]) {
  const runs = [];
  for (let i = 0; i < +repetitions; i++) {
    const context = await browser.newContext({ viewport: { width, height }, offline: true }), tab = await context.newPage();
    await tab.goto(`file://${path.resolve(page)}`);
    await tab.waitForFunction(() => typeof Q !== "undefined" && Q.ready, null, { timeout: 120000 });
    runs.push(await tab.evaluate(measure));
    await context.close();
  }
  console.log(`| ${width} | ${Object.keys(runs[0]).map((key) => Math.round(median(runs.map((one) => one[key])))).join(" | ")} |`);
}
await browser.close();
