/* Uses every control of the explorer in headless Chromium and prints what it saw as one line of JSON.
 *
 * node explorer.mjs MODULES CHROMIUM PAGE [FOLDER FOR SCREENSHOTS]
 *
 * It waits for what should happen and never for a time: a machine may be as slow as it likes.
 */
import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";

const [modules, executablePath, page, shots] = process.argv.slice(2);
const need = createRequire(path.resolve(modules, "x.js"));
const { chromium } = need("playwright-core");
const axe = fs.readFileSync(need.resolve("axe-core/axe.min.js"), "utf8");
const quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", ...quiet] });
const seen = { errors: [], requests: [], dialogs: 0, axe: [], overflow: [], timings: {}, checks: {}, downloads: {} };
const url = `file://${path.resolve(page)}`;
const WIDTHS = [[1366, 860, "light"], [820, 1100, "light"], [390, 844, "dark"]];

async function open(context, fragment = "") {
  const tab = await context.newPage();
  tab.on("console", (message) => { if (["error", "warning"].includes(message.type())) seen.errors.push(message.text()); });
  tab.on("pageerror", (error) => seen.errors.push(String(error)));
  tab.on("dialog", (dialog) => { seen.dialogs++; dialog.dismiss(); });
  tab.on("request", (request) => { if (!/^(blob|data):/.test(request.url())) seen.requests.push(request.url().split("#")[0]); });
  await tab.goto(url + fragment);
  await tab.waitForFunction(() => typeof Q !== "undefined" && Q.ready, null, { timeout: 120000 });
  return tab;
}

const state = (tab) => tab.evaluate(() => Object.fromEntries(new URLSearchParams(location.hash.slice(1))));
const context = (width, height, colorScheme) => browser.newContext({ viewport: { width, height }, colorScheme, offline: true, acceptDownloads: true });

/* Until `condition` holds in the page. */
const until = (tab, condition, given) => tab.waitForFunction(condition, given, { timeout: 60000 });
const shows = (tab, key, value) => until(tab, ([name, wanted]) => new URLSearchParams(location.hash.slice(1)).get(name) === wanted, [key, value]);
/* Until what the open view shows of data that come later is drawn, and sizes have come to rest. */
const settle = (tab) => tab.evaluate(async () => {
  const own = document.getElementById("k-value").textContent;
  const later = { map: ["layout"], heat: ["heat_tokens", "heat"], cluster: [`near_${own}`, `within_${own}`] }[document.body.dataset.view] ?? [];
  await Promise.all(later.map(Q.load));
  for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
});
async function turn(tab, view) {
  await tab.click(`#views [data-view="${view}"]`);
  await settle(tab);
}
/* Does what makes the page search, until it has. */
async function searched(tab, act) {
  await tab.evaluate(() => { Q.searchTime = null; document.getElementById("query").removeAttribute("aria-invalid"); });
  await act();
  await until(tab, () => Q.searchTime !== null || document.getElementById("query").ariaInvalid === "true");
}

/* Width by width: what is too wide, what axe finds, how it looks. */
for (const [width, height, scheme] of WIDTHS) {
  const own = await context(width, height, scheme), tab = await open(own);
  const paint = await tab.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
  seen.timings[`first_paint_ms_${width}`] = Math.round(paint);
  seen.timings[`ready_ms_${width}`] = Math.round(await tab.evaluate(() => Q.ready));
  await tab.evaluate(axe);
  const views = await tab.$$eval("#views button", (all) => all.filter((one) => one.offsetParent).map((one) => one.dataset.view));
  for (const view of views) {
    await turn(tab, view);
    if (await tab.evaluate(() => document.documentElement.scrollWidth > innerWidth + 1)) seen.overflow.push(`${width} ${view}`);
    const found = await tab.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
    seen.axe.push(...found.violations.map((one) => `${width} ${view} ${one.id}: ${one.nodes[0].target.join(" ")}`));
    if (shots) await tab.screenshot({ path: path.join(shots, `${width}-${view}.png`) });
  }
  await own.close();
}

/* Every control, on a desktop. */
const desk = await context(1366, 860, "light");
const tab = await open(desk);
const chosen = String(await tab.evaluate(() => Q.meta.show));
const check = (name, value) => { seen.checks[name] = value; };
const download = async (selector) => {
  const [file] = await Promise.all([tab.waitForEvent("download"), tab.click(selector)]);
  return { name: file.suggestedFilename(), text: fs.readFileSync(await file.path(), "utf8") };
};

// the first view: cards, each opens its cluster
const cards = await tab.$$eval("#cards .card", (all) => all.map((one) => ({ title: one.querySelector("h3").textContent, samples: one.querySelectorAll(".sample mark").length, sure: one.querySelector("p").textContent })));
await tab.click("#cards .card button");
check("cards", { cards, opened: await state(tab), view: (await state(tab)).view });
await turn(tab, "law");

// the slider, by keyboard; the chart, by mouse
await tab.focus("#k");
const first = await tab.textContent("#k-value");
await tab.keyboard.press("ArrowLeft");
const second = await tab.textContent("#k-value");
await tab.keyboard.press("ArrowRight");
check("slider", first !== second && (await tab.textContent("#k-value")) === first);
await shows(tab, "k", chosen); // the slider draws with the next frame
const box = await tab.locator("#law-chart .u-over").boundingBox();
// across the chart until a point is near enough
for (let step = 1; step < 400; step++) {
  await tab.mouse.move(box.x + (box.width * (step % 20)) / 20, box.y + (box.height * Math.floor(step / 20)) / 20);
  if (/tokens/.test(await tab.textContent("#law-readout"))) break;
}
const told = await tab.textContent("#law-readout");
await tab.mouse.down();
await tab.mouse.up();
const opened = await state(tab);
check("law_click", { told, opened });

// sorting and filtering the list
const times = [];
for (const key of await tab.$$eval("#sort option", (all) => all.map((one) => one.value))) {
  const begun = Date.now();
  await tab.selectOption("#sort", key);
  times.push(Date.now() - begun);
}
await tab.selectOption("#sort", "size");
const top = await tab.textContent("#cluster-list .option");
await tab.click("#reverse");
check("reverse", top !== (await tab.textContent("#cluster-list .option")));
await tab.click("#reverse");
seen.timings.sort_ms = Math.max(...times);
seen.timings.filter_ms = await tab.evaluate(() => {
  const spans = [];
  for (const text of ["t", "th", "target", "", "zzz", ""]) {
    const begun = performance.now();
    document.getElementById("filter").value = text;
    document.getElementById("filter").dispatchEvent(new Event("input"));
    document.body.getBoundingClientRect();
    spans.push(performance.now() - begun);
  }
  return +Math.max(...spans).toFixed(1);
});
await tab.evaluate(() => Q.go({ k: Q.meta.ks.at(-1), cluster: Q.meta.ks.at(-1) - 1 }));
await tab.selectOption("#sort", "purity");
check("sort_top", await tab.evaluate(() => document.getElementById("cluster-list").scrollTop === 0));
await tab.selectOption("#sort", "size");
await tab.evaluate(() => Q.go({ k: Q.meta.show, cluster: 0 }));
await tab.focus("#cluster-list");
await tab.keyboard.press("Home");
await tab.keyboard.press("ArrowDown");
await tab.keyboard.press("Enter");
check("list_keys", (await state(tab)).cluster === "1");
await tab.keyboard.press("j");
check("key_j", (await state(tab)).cluster === "2");
await tab.keyboard.press("k");
const before = (await state(tab)).k;
await tab.keyboard.press("]");
check("key_bracket", (await state(tab)).k !== before);
await tab.keyboard.press("[");

// one cluster: numbers, tokens, label, files
await tab.evaluate(() => Q.go({ view: "cluster", k: Q.meta.show, cluster: 0, token: null }));
await settle(tab);
check("facts", await tab.$$eval("#view-cluster .facts div", (all) => Object.fromEntries(all.map((one) => [one.children[0].textContent, one.children[1].textContent]))));
check("rule", await tab.textContent("#view-cluster .rule .text"));
check("means", await tab.$$eval("#view-cluster .card:first-child tbody tr", (all) => all.map((one) => [one.children[0].textContent, one.children[2].textContent])));
check("similar", await tab.$eval("#view-cluster", (view) => view.textContent.match(/mean cosine within: (-?[\d.]+)/)?.[1] ?? null));
check("rows", await tab.$$eval("#token-list .option", (all) => all.length));
await tab.click("#token-list .option");
await tab.waitForSelector("#token-losses");
check("token", { state: await state(tab), losses: await tab.$$eval("#token-losses tbody tr", (all) => all.map((one) => [...one.children].map((cell) => cell.textContent))) });
await tab.click("text=several lines");
check("blocks", await tab.$$eval("#token-list pre", (all) => all.length));
await tab.click("text=several lines");
await tab.selectOption("#view-cluster select", { index: 0 });
const label = 'mine, "quoted" <b>';
await tab.fill("#name", label);
await tab.press("#name", "Enter");
await tab.dispatchEvent("#name", "change");
check("named", (await tab.textContent("#view-cluster h2")).includes(label) && (await tab.textContent("#cluster-list")).includes(label));
seen.downloads.labels = await download("#labels-download");
seen.downloads.csv = await download("#export-csv");
seen.downloads.json = await download("#export-json");
await tab.click("#link");
await tab.locator(".lineage button:not(.now)").first().click();
check("lineage", (await state(tab)).k !== chosen);
await tab.goBack();
await shows(tab, "k", chosen);
check("back", (await state(tab)).k === chosen);
await settle(tab);
await tab.locator(".chips.stack button").first().click();
check("nearest", (await state(tab)).cluster !== "0");
await settle(tab);
await tab.hover("canvas.within");
await tab.click("canvas.within");
check("within", "token" in (await state(tab)));

// reading: what the facts mean, the steps of another model, where it splits; the open token closes
check("meanings", await tab.$$eval("#view-cluster .facts dt", (facts) => {
  const told = new Set([...document.querySelectorAll("#view-cluster .meanings dt")].map((one) => one.textContent));
  return facts.map((one) => one.textContent).filter((name) => !told.has(name));
}));
await tab.evaluate(() => Q.go({ view: "cluster", k: Q.meta.show, cluster: 0, token: Q.place(Q.clustering(Q.meta.show).of(0)[0]) }));
await tab.waitForSelector("#token-losses");
check("lineage_words", await tab.textContent("#lineage-words"));
check("trained", await tab.$$eval("#trained option", (all) => all.map((one) => one.value)));
await tab.keyboard.press("Escape");
check("escape", (await state(tab)).token === undefined && !(await tab.$("#token-losses")) && (await tab.evaluate(() => document.activeElement.id === "token-list")));
await tab.click("[aria-label='Next cluster of the list']");
check("next", (await state(tab)).cluster === "1");
check("title", await tab.title());
// the slider to its ends and back finds the cluster again, and says where it came from
await tab.evaluate(() => Q.go({ view: "cluster", k: Q.meta.show, cluster: 3, token: null }));
await tab.focus("#k");
await tab.keyboard.press("Home");
await tab.waitForSelector("#followed");
const astray = { state: await state(tab), told: await tab.textContent("#followed") };
await tab.evaluate(() => Q.go({ k: Q.meta.show }));
check("followed", { ...astray, back: (await state(tab)).cluster, gone: (await tab.$("#followed")) === null });
await tab.selectOption("#sort", "learned_0");
check("learned", await tab.evaluate(() => {
  const { learned_0 } = Q.clustering(Q.meta.show).measures(), order = [...document.querySelectorAll("#cluster-list .option b")].map((one) => learned_0[+one.textContent]);
  return { order, said: document.querySelector("#cluster-list .option .title").textContent };
}));
await tab.selectOption("#sort", "size");
check("mixed", await tab.evaluate(() => {
  const { columns } = Q.clustering(Q.meta.show), kept = columns.cosine_within[0], tags = () => { Q.refreshList(); return document.querySelectorAll("#cluster-list .tag").length; };
  const without = tags();
  columns.cosine_within[0] = 0.05;
  const withOne = tags();
  columns.cosine_within[0] = kept;
  return withOne - without;
}));
await tab.fill("#filter", "nothing like it");
check("none_filtered", await tab.textContent("#cluster-list"));
await tab.fill("#filter", "");
await tab.focus(".skip");
await tab.keyboard.press("Enter");
check("skip", await tab.evaluate(() => document.activeElement.id === "main" && location.hash.includes("view=")));
await turn(tab, "law");
await tab.click("#law-nulls button");
check("nulls", { rows: await tab.$$eval("#law-nulls tbody tr", (all) => all.map((one) => [...one.children].map((cell) => cell.textContent))), strong: await tab.$$eval("#law-nulls [aria-pressed='true']", (all) => all.length) });
await tab.click("#view-law [data-open='about']");
check("about", (await state(tab)).view === "about");

// the second clustering: by mouse and by keyboard, with its own clusters; the open one is followed there and back
if (await tab.$("#of")) {
  await tab.evaluate(() => Q.go({ view: "cluster", of: "first", k: Q.meta.show, cluster: 1, token: null }));
  const told = () => tab.evaluate(() => ({ of: new URLSearchParams(location.hash.slice(1)).get("of"), heading: document.querySelector("#view-cluster h2").textContent, labels: Array.from(Q.clustering(Q.meta.show).label), said: document.getElementById("of-said").textContent, pressed: document.querySelector("#of [aria-pressed='true']").dataset.of, options: document.querySelectorAll("#cluster-list .option").length }));
  const paper = await told();
  await tab.focus("#of [data-of='second']");
  await tab.keyboard.press("Enter");
  await settle(tab);
  const other = { ...(await told()), followed: await tab.textContent("#followed"), rule: await tab.textContent("#view-cluster .rule .text") };
  const file = await download("#export-json");
  const link = await open(desk, await tab.evaluate(() => location.hash));
  const shared = await link.textContent("#view-cluster h2");
  await link.close();
  for (const view of ["law", "map", "heat", "search", "cluster"]) await turn(tab, view);
  await tab.focus("#main");
  await tab.keyboard.press("a");
  check("second", { paper, other, file: JSON.parse(file.text).clustering, name: file.name, shared, back: await told(), unknown: await tab.evaluate(() => Q.meta.second.kind) });
}

// the map and the heat map
await turn(tab, "map");
await tab.selectOption("#map-colour", { index: 1 });
await tab.selectOption("#map-colour", "cluster");
await settle(tab);
for (const zoom of await tab.$$("[data-zoom]")) await zoom.click();
await tab.focus("#map");
for (const key of ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "+", "-"]) await tab.keyboard.press(key);
await tab.click("[data-zoom='0']");
const field = await tab.locator("#map").boundingBox();
let hit = null;
for (let step = 0; step < 900 && !hit; step++) {
  await tab.mouse.move(field.x + field.width * (0.2 + (0.6 * (step % 30)) / 30), field.y + field.height * (0.05 + (0.9 * Math.floor(step / 30)) / 30));
  if (/cluster \d/.test(await tab.textContent("#map-readout"))) hit = await tab.textContent("#map-readout");
}
await tab.mouse.down();
await tab.mouse.up();
check("map_click", { hit, state: await state(tab) });
if (await tab.evaluate(() => "heat" in Q.meta.chunks)) {
  const told = () => until(tab, () => /^cluster \d/.test(document.getElementById("heat-readout").textContent));
  await turn(tab, "heat");
  await tab.hover("#heat");
  await told();
  const said = await tab.textContent("#heat-readout");
  await tab.click("#heat");
  await shows(tab, "view", "cluster");
  check("heat_click", { said, state: await state(tab) });
  await turn(tab, "heat");
  const even = await tab.evaluate(() => document.getElementById("heat").toDataURL());
  await tab.selectOption("#heat-scale", "0.5");
  await settle(tab);
  check("heat_scale", even !== (await tab.evaluate(() => document.getElementById("heat").toDataURL())));
  await tab.focus("#heat");
  for (const key of ["ArrowDown", "ArrowRight", "ArrowRight"]) await tab.keyboard.press(key);
  await told();
  const pair = await tab.textContent("#heat-readout");
  await tab.keyboard.press("Enter");
  await shows(tab, "view", "cluster");
  check("heat_keys", { said: pair, state: await state(tab) });
}

// search
await searched(tab, () => tab.keyboard.press("/"));
check("key_slash", await tab.evaluate(() => document.activeElement.id === "query"));
const search = async (text) => {
  await searched(tab, () => tab.fill("#query", text));
  return { status: await tab.textContent("#query-status"), ms: await tab.evaluate(() => Q.searchTime) };
};
const searches = {};
for (const text of ["e", "\\w+\\($", "^zzzz$", "[aeiou].{3}n$"]) searches[text] = await search(text);
check("searches", searches);
seen.timings.search_ms = +Math.max(...Object.values(searches).map((one) => one.ms)).toFixed(1);
const begun = Date.now(), slow = await search("(?:.+)+\\u0001$"); // would run for longer than the universe is old
check("slow", { status: slow.status, seconds: (Date.now() - begun) / 1000, marked: await tab.getAttribute("#query", "aria-invalid"), after: (await search("e")).status.replace(/ \(.*/, "") === searches.e.status.replace(/ \(.*/, "") });
check("invalid", { status: (await search("(")).status, marked: await tab.getAttribute("#query", "aria-invalid"), list: await tab.textContent("#query-list") });
for (const scope of ["target", "before", "all", "source", "until"]) await searched(tab, () => tab.selectOption("#scope", scope));
await search("e");
for (const choice of ["#case", "#inside"]) await searched(tab, () => tab.check(choice));
check("inside", await tab.textContent("#query-status"));
await searched(tab, () => tab.uncheck("#inside"));
check("address", (await state(tab)).q);
await tab.click("#query-list .option");
check("found", "token" in (await state(tab)));

// figures, numbers, colours; the same address opens the same
await turn(tab, "figures");
check("figures", await tab.$$eval("#gallery figure", (all) => all.map((one) => one.id)));
await tab.evaluate(async () => { for (const image of document.querySelectorAll("#gallery img")) { image.loading = "eager"; await image.decode(); } });
check("pictures", await tab.$$eval("#gallery img", (all) => all.every((one) => one.naturalWidth > 0)));
check("table", await tab.$$eval("#paper-table tbody tr", (all) => all.map((one) => [...one.children].map((cell) => cell.textContent))));
const colours = [];
for (let i = 0; i < 3; i++) { await tab.click("#theme"); colours.push(await tab.evaluate(() => getComputedStyle(document.body).backgroundColor)); }
check("themes", new Set(colours).size);
const place = await tab.evaluate(() => `#k=${Q.meta.show}&token=${Q.place(3)}`);
const again = await open(desk, place);
check("deep_link", { asked: place, title: await again.textContent("#view-cluster h2"), token: await again.textContent("#token-detail h3") });
check("kept_label", await again.evaluate(() => Q.names.get(Q.meta.show, 0)));
const lost = await open(desk, "#view=cluster&k=3&cluster=99&token=9.9999");
check("lost_link", { told: await lost.textContent("#trouble"), state: await state(lost), hidden: await lost.evaluate(() => { Q.go({ view: "law" }); return document.getElementById("trouble").hidden; }) });
await lost.close();
// a small screen: the token that was chosen comes into sight, with a long source in its heading
const phone = await open(await context(390, 844, "light"), "#view=cluster");
await phone.evaluate(() => { Q.tokens.sources.fill("a/very/long/path/without/any/blank/".repeat(4)); });
await phone.click("#token-list .option");
await settle(phone);
check("phone", await phone.evaluate(() => ({ seen: document.querySelector("#token-detail h3").getBoundingClientRect().top < innerHeight, wide: document.documentElement.scrollWidth > innerWidth + 1 })));
const linked = await open(phone.context(), `#token=${await phone.evaluate(() => Q.place(3))}`);
check("phone_link", await linked.evaluate(() => { const { top } = document.querySelector("#token-detail h3").getBoundingClientRect(); return top > 0 && top < innerHeight; }));
await phone.context().close();
const slides = {};
for (const view of ["law", "cluster", "map", "heat"]) {
  await turn(again, view);
  slides[view] = await again.evaluate(async (name) => {
    const spans = [];
    for (const k of Q.meta.ks) {
      if (k === +document.getElementById("k-value").textContent) continue; // nothing would be drawn
      const begun = performance.now(), before = Q.drawings[name];
      Q.go({ k });
      while (before !== undefined && Q.drawings[name] === before) await new Promise((resume) => { const { port1, port2 } = new MessageChannel(); port1.onmessage = resume; port2.postMessage(0); });
      document.body.getBoundingClientRect();
      spans.push(performance.now() - begun);
    }
    return +Math.max(...spans).toFixed(1);
  }, view);
}
seen.timings.slider_ms = slides;
check("hacked", await again.evaluate(() => window.hacked ?? null));
await browser.close();
console.log(JSON.stringify(seen));
