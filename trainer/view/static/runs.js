// The table of runs and their curves side by side, and the page of one run.
import { chart, order } from "/static/charts.js";
import { el, get, link, number, tag } from "/static/dom.js";

const SHOWN = 12;

function runTable(runs) {
  const keys = ["reward_mean", "reward", "eval/pass@1", "eval/pass_at/1"].filter((key) => runs.some((run) => key in run.last));
  const head = ["run", "environment", "objective", "seed", "step", ...keys, "rollouts", "unscored", ""];
  const rows = runs.map((run) => el("tr", { class: "row", "data-href": link("run", run.name) },
    el("td", {}, el("a", { href: link("run", run.name) }, run.name)),
    el("td", {}, run.env ?? "-"), el("td", {}, run.objective ?? "-"), el("td", {}, run.seed ?? "-"),
    el("td", { class: "num" }, run.step ?? "-", run.steps ? ` / ${run.steps}` : ""),
    keys.map((key) => el("td", { class: "num" }, number(run.last[key]))),
    el("td", { class: "num" }, run.rollouts), el("td", { class: "num" }, run.unscored),
    el("td", {}, run.report ? el("a", { href: `/runs/${encodeURIComponent(run.name)}/report.html` }, "report") : "",
      run.notes.length ? el("span", { class: "bad", title: run.notes.join("\n") }, ` ${run.notes.length} note${run.notes.length > 1 ? "s" : ""}`) : "")));
  return el("div", { class: "wide" }, el("table", { id: "runs" }, el("thead", {}, el("tr", {}, head.map((name) => el("th", {}, name)))), el("tbody", {}, rows)));
}

function charts(all) { // all: {run: series}
  const names = order(new Set(Object.values(all).flatMap(Object.keys)));
  const box = el("div", { class: "charts" });
  const draw = (from, to) => names.slice(from, to).forEach((name) => box.append(chart(name,
    Object.fromEntries(Object.entries(all).filter(([, series]) => series[name]).map(([run, series]) => [run, series[name]])))));
  draw(0, SHOWN);
  if (names.length <= SHOWN) return [box];
  const more = el("button", { type: "button", onclick: () => { more.remove(); draw(SHOWN, names.length); } }, `show ${names.length - SHOWN} more metrics`);
  return [box, more];
}

export async function runsPage() {
  const runs = await get("/api/runs");
  if (!runs.length) return [el("p", { class: "soft" }, "No runs here yet. `palaestra train` writes one; this page finds it when you reload.")];
  const whole = await Promise.all(runs.slice(0, 7).map((run) => get(`/api/runs/${encodeURIComponent(run.name)}`)));
  return [el("h1", {}, `${runs.length} run${runs.length > 1 ? "s" : ""}`), runTable(runs),
    el("h2", {}, "Side by side"), runs.length > 7 ? el("p", { class: "soft" }, "The first seven runs; give fewer folders to compare others.") : null,
    ...charts(Object.fromEntries(whole.map((run) => [run.name, run.series])))];
}

export async function runPage(name) {
  await get("/api/runs");
  const run = await get(`/api/runs/${encodeURIComponent(name)}`);
  const judge = Object.entries(run.last).filter(([key]) => /judge|p_first|tie|unscored|cost/.test(key));
  return [el("h1", {}, name),
    el("div", { class: "tags" }, tag(run.env ?? "unknown environment"), tag(run.objective ?? "unknown objective"), tag(`seed ${run.seed ?? "?"}`),
      tag(`step ${run.step ?? "-"}${run.steps ? ` of ${run.steps}` : ""}`),
      tag(el("a", { href: link("run", name, "rollouts") }, `${run.rollouts} rollouts`)), tag(`${run.unscored} unscored`)),
    run.notes.map((note) => el("p", { class: "note" }, note)),
    ...charts({ [name]: run.series }),
    judge.length ? el("h2", {}, "Judge") : null,
    judge.length ? el("table", {}, el("tbody", {}, judge.map(([key, value]) => el("tr", {}, el("td", {}, key), el("td", { class: "num" }, number(value)))))) : null,
    el("details", {}, el("summary", {}, "Configuration"), el("pre", {}, JSON.stringify(run.config, null, 2)))];
}
