// Routes, keys and the frame around every page. A page is an async function that returns nodes.
import { el, get, link, note } from "/static/dom.js";
import { groupPage, groupsPage } from "/static/groups.js";
import { judgePage } from "/static/judge.js";
import { listPage } from "/static/list.js";
import { rolloutPage } from "/static/rollout.js";
import { runPage, runsPage } from "/static/runs.js";

const main = document.getElementById("main");
const crumbs = document.getElementById("crumbs");
const tabs = document.getElementById("tabs");
const keys = document.getElementById("keys");
const live = document.getElementById("live");
let shown = 0;
let versions = null; // what the runs were when the page was drawn

const TABS = [["overview", []], ["rollouts", ["rollouts"]], ["groups", ["groups"]], ["judge", ["judge"]]];

const fingerprint = (runs) => JSON.stringify(runs.map((run) => [run.name, run.version]));

// Pages are functions, so that what is known of the runs is brought up to date before one is made.
function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
  const [, name, kind, key] = parts;
  const parameters = new URLSearchParams(query);
  if (!name) return { page: (runs) => runsPage(runs, parameters), trail: [], follows: true };
  const run = [name, link("run", name)];
  const list = ["rollouts", link("run", name, "rollouts") + (query && kind === "rollout" ? `?${query}` : "")];
  const at = { name, tab: { rollout: "rollouts", group: "groups" }[kind] ?? kind ?? "overview" };
  if (kind === "rollouts") return { ...at, page: () => listPage(name, parameters), trail: [run, list], follows: !query.includes("text=") };
  if (kind === "rollout") return { ...at, page: () => rolloutPage(name, key, parameters), trail: [run, list, [key, location.hash]] };
  if (kind === "groups") return { ...at, page: () => groupsPage(name, parameters), trail: [run, ["groups", link("run", name, "groups")]], follows: true };
  if (kind === "group") return { ...at, page: () => groupPage(name, key), trail: [run, ["groups", link("run", name, "groups")], [key, location.hash]] };
  if (kind === "judge") return { ...at, page: () => judgePage(name), trail: [run, ["judge", location.hash]], follows: true };
  return { ...at, page: () => runPage(name), trail: [run], follows: true };
}

async function show(again = false) {
  const mine = ++shown;
  const { page, trail, name, tab, follows } = route();
  crumbs.replaceChildren(...trail.map(([text, href]) => el("a", { href }, text)));
  tabs.replaceChildren(...(name ? TABS : []).map(([label, path], i) =>
    el("a", { href: link("run", name, ...path), "aria-current": label === tab ? "page" : null, title: `key ${i + 1}` }, label)));
  try {
    const runs = await get("/api/runs");
    versions = fingerprint(runs);
    const nodes = (await page(runs)).flat(Infinity).filter((node) => node instanceof Node || (node !== null && node !== undefined && node !== ""));
    if (mine !== shown) return; // the person has moved on
    const row = again ? main.querySelector("tr.here")?.dataset.href : null;
    const scroll = window.scrollY;
    main.replaceChildren(...nodes);
    if (again) window.scrollTo(0, scroll); else window.scrollTo(0, 0);
    if (row) [...main.querySelectorAll("tr.row")].find((one) => one.dataset.href === row)?.classList.add("here");
  } catch (error) {
    if (mine === shown) main.replaceChildren(note(`This page cannot be shown: ${error.message}`));
  }
  main.dataset.ready = location.hash || "#/";
  main.dataset.follows = follows ? "yes" : "";
}

// Runs grow while one looks: ask what there is, and draw list pages again when something was added.
async function follow() {
  let pause = 3000;
  try {
    if (!document.hidden) {
      const runs = await get("/api/runs");
      const now = fingerprint(runs);
      const read = runs.reduce((low, run) => Math.min(low, run.indexed), 1);
      live.textContent = read < 1 ? `reading ${Math.floor(100 * read)} %` : "";
      if (read < 1) pause = 300;
      const open = main.querySelector("details[open], #more[data-used]") || keys.open;
      const busy = document.activeElement?.closest?.("input, select") || open;
      if (now !== versions && main.dataset.follows && !busy && (read === 1 || window.scrollY === 0)) await show(true);
    }
  } catch { live.textContent = "the viewer has stopped"; }
  setTimeout(follow, pause);
}

function move(by) {
  const rows = [...main.querySelectorAll("tr.row")];
  if (!rows.length) { main.querySelector(`a[data-key="${by > 0 ? "j" : "k"}"]`)?.click(); return; }
  const at = rows.findIndex((row) => row.classList.contains("here"));
  rows[at]?.classList.remove("here");
  const row = rows[Math.max(0, Math.min(rows.length - 1, at + by))];
  row.classList.add("here");
  row.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape") { event.target.blur(); keys.close(); return; }
  if (typing || keys.open) return;
  const click = (id) => document.getElementById(id)?.click();
  const actions = {
    j: () => move(1), k: () => move(-1), "?": () => keys.showModal(),
    u: () => { const trail = [...crumbs.children]; location.hash = trail.length > 1 ? trail[trail.length - 2].hash : "#/"; },
    g: () => click("group"), t: () => click("tokens"), m: () => click("more"),
    x: () => main.querySelector("tr.here input[type=checkbox]")?.click(),
    "/": () => { const box = main.querySelector('input[name="text"], input[type="search"]'); if (box) { box.focus(); event.preventDefault(); } },
    Enter: () => { const here = main.querySelector("tr.here"); if (here && !event.target.closest("a, button, summary")) location.hash = here.dataset.href; },
  };
  for (const [i, tab] of [...tabs.children].entries()) actions[i + 1] = () => tab.click();
  actions[event.key]?.();
});
main.addEventListener("click", (event) => {
  const row = event.target.closest("tr.row");
  if (row && !event.target.closest("a, input, label, button") && !String(getSelection())) location.hash = row.dataset.href;
});
document.getElementById("help").addEventListener("click", () => keys.showModal());
keys.addEventListener("click", (event) => { if (event.target === keys) keys.close(); });
window.addEventListener("hashchange", () => show());
show().then(follow);
