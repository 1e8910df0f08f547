// Routes, keys and the frame around every page. A page is an async function that returns nodes.
import { el, link } from "/static/dom.js";
import { groupPage } from "/static/groups.js";
import { listPage, rolloutPage } from "/static/rollouts.js";
import { runPage, runsPage } from "/static/runs.js";

const main = document.getElementById("main");
const crumbs = document.getElementById("crumbs");
const keys = document.getElementById("keys");
let shown = 0;

function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decodeURIComponent);
  const [, name, kind, key] = parts;
  if (!name) return { page: runsPage(), trail: [] };
  const run = [name, link("run", name)];
  const list = ["rollouts", link("run", name, "rollouts")];
  if (kind === "rollouts") return { page: listPage(name, new URLSearchParams(query)), trail: [run, list] };
  if (kind === "rollout") return { page: rolloutPage(name, key), trail: [run, list, [key, location.hash]] };
  if (kind === "group") return { page: groupPage(name, key), trail: [run, list, [`group ${key}`, location.hash]] };
  return { page: runPage(name), trail: [run] };
}

async function show() {
  const mine = ++shown;
  const { page, trail } = route();
  crumbs.replaceChildren(...trail.map(([text, href]) => el("a", { href }, text)));
  try {
    const nodes = (await page).flat(Infinity).filter((node) => node !== null && node !== undefined && node !== "");
    if (mine !== shown) return; // the person has moved on
    main.replaceChildren(...nodes);
  } catch (error) {
    if (mine === shown) main.replaceChildren(el("p", { class: "note" }, `This page cannot be shown: ${error.message}`));
  }
  main.dataset.ready = location.hash || "#/";
  window.scrollTo(0, 0);
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
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "Escape") { event.target.blur(); keys.close(); return; }
  if (typing) return;
  const actions = {
    j: () => move(1), k: () => move(-1), "?": () => keys.showModal(),
    u: () => { const trail = [...crumbs.children]; location.hash = trail.length > 1 ? trail[trail.length - 2].hash : "#/"; },
    g: () => document.getElementById("group")?.click(), t: () => document.getElementById("tokens")?.click(),
    "/": () => { const box = main.querySelector('input[name="text"]'); if (box) { box.focus(); event.preventDefault(); } },
    Enter: () => { const here = main.querySelector("tr.here"); if (here) location.hash = here.dataset.href; },
  };
  actions[event.key]?.();
});
main.addEventListener("click", (event) => { const row = event.target.closest("tr.row"); if (row && !event.target.closest("a")) location.hash = row.dataset.href; });
document.getElementById("help").addEventListener("click", () => keys.showModal());
window.addEventListener("hashchange", show);
show();
