// The table of runs and their curves side by side, and the page of one run.
import { chart, COLOURS, flat, order } from "/static/charts.js";
import { api, el, get, known, link, list, note, number, soft, table, tag, visible } from "/static/dom.js";

const SHOWN = 12; // charts before a person asks for the rest
const COMPARED = 6; // runs in the charts at first

const colour = (index) => COLOURS[index % COLOURS.length];

function runTable(runs, chosen, choose) {
  const keys = ["reward", "reward_mean", "eval/pass@1", "eval/pass_at/1", "entropy"].filter((key) => runs.some((run) => key in run.last)).slice(0, 3);
  const rows = runs.map((run) => {
    const at = chosen.indexOf(run.name);
    const mark = el("label", { class: "swatch", title: "in the charts (x)", style: at < 0 ? {} : { background: colour(at), borderColor: colour(at) } },
      el("input", { type: "checkbox", checked: at >= 0, "aria-label": visible(`${run.name} in the charts`), onchange: () => choose(run.name) }));
    const share = run.steps ? Math.min(1, (run.step ?? 0) / run.steps) : 0;
    return el("tr", { class: "row", "data-href": link("run", run.name) },
      el("td", {}, mark), el("td", { class: "name" }, el("a", { href: link("run", run.name) }, run.name)),
      el("td", { class: "hide-narrow" }, run.env ?? "–"), el("td", {}, run.objective ?? "–"), el("td", { class: "num hide-narrow" }, run.seed ?? "–"),
      el("td", { class: "num" }, number(run.step), run.steps ? el("span", { class: "soft" }, ` / ${number(run.steps)}`) : "",
        run.steps ? el("span", { class: "bar" }, el("i", { style: { width: `${100 * share}%` } })) : null),
      keys.map((key) => el("td", { class: "num" }, number(run.last[key]))),
      el("td", { class: "num" }, number(run.rollouts), run.indexed < 1 ? el("span", { class: "soft" }, " so far") : null),
      el("td", { class: `num ${run.unscored ? "bad" : "soft"}` }, number(run.unscored)),
      el("td", {}, run.report ? el("a", { href: `/runs/${encodeURIComponent(run.name)}/report.html` }, "report") : "",
        run.notes.length ? el("span", { class: "bad", title: run.notes.join("\n") }, ` ${run.notes.length} note${run.notes.length > 1 ? "s" : ""}`) : ""));
  });
  return table(["", "run", "~environment", "objective", "~#seed", "#step", ...keys.map((key) => `#${key}`), "#rollouts", "#unscored", ""], rows, { id: "runs" });
}

const bandsOf = (run, metric) => list(run.evaluations).filter((row) => known(row.estimates?.[metric]?.low))
  .map((row) => [row.step, row.estimates[metric].low, row.estimates[metric].high]);

function charts(runs) { // runs: [{name, series, evaluations}]
  const sorted = order(new Set(runs.flatMap((run) => Object.keys(run.series))));
  const still = (metric) => runs.every((run) => !run.series[metric] || flat(run.series[metric]));
  const names = [...sorted.filter((metric) => !still(metric)), ...sorted.filter(still)]; // what moves comes first
  const colours = Object.fromEntries(runs.map((run, index) => [run.name, colour(index)]));
  const box = el("div", { class: "charts" });
  const draw = (wanted) => box.replaceChildren(...wanted.map((metric) => {
    const with_ = runs.filter((run) => run.series[metric]);
    return chart(metric, Object.fromEntries(with_.map((run) => [run.name, run.series[metric]])),
      { colours, bands: Object.fromEntries(with_.map((run) => [run.name, bandsOf(run, metric)])) });
  }));
  const more = el("button", { type: "button", id: "more", onclick: () => { more.dataset.used = "yes"; more.hidden = true; draw(names); } }, `show all ${names.length} metrics (m)`);
  more.hidden = names.length <= SHOWN;
  const search = el("input", { type: "search", placeholder: "filter metrics (/)", "aria-label": "filter metrics", oninput: () => {
    const found = names.filter((name) => name.toLowerCase().includes(search.value.toLowerCase()));
    draw(search.value ? found.slice(0, 40) : names.slice(0, SHOWN));
    more.hidden = Boolean(search.value) || names.length <= SHOWN; } });
  draw(names.slice(0, SHOWN));
  return names.length ? [el("p", {}, search), box, more] : [soft("No metrics yet.")];
}

export async function runsPage(runs, parameters) {
  if (!runs.length) return [el("h1", {}, "No runs yet"), soft("`palaestra train` writes one below this folder, and it appears here by itself.")];
  const names = runs.map((run) => run.name);
  const asked = parameters.has("runs") ? parameters.get("runs").split("\n").filter((name) => names.includes(name)) : names.slice(0, COMPARED);
  const choose = (name) => {
    const now = asked.includes(name) ? asked.filter((one) => one !== name) : [...asked, name];
    location.hash = `#/?${new URLSearchParams({ runs: now.join("\n") })}`;
  };
  const whole = await Promise.all(asked.map((name) => get(api(name))));
  return [el("h1", {}, `${runs.length} run${runs.length > 1 ? "s" : ""}`), runTable(runs, asked, choose),
    el("h2", {}, "Side by side"),
    asked.length < names.length ? soft(`${asked.length} of ${names.length} runs; tick others in the table (x). Bands are 95 % intervals over held-out tasks.`)
      : soft("Bands are 95 % intervals over held-out tasks."),
    ...charts(whole)];
}

function evaluations(rows) {
  if (!rows.length) return null;
  const names = [...new Set(rows.flatMap((row) => Object.keys(row.estimates)))];
  const cell = (found) => known(found) ? [number(found.value), known(found.low) ? el("span", { class: "soft" }, ` [${number(found.low)}, ${number(found.high)}]`) : null] : "–";
  return [el("h2", {}, "Evaluations"), table(["#step", "#tasks", "#samples", ...names.map((name) => `#${name.replace("eval/", "")}`), "#unscored"],
    rows.map((row) => el("tr", {}, [row.step, row.tasks, row.samples].map((value) => el("td", { class: "num" }, number(value))),
      names.map((name) => el("td", { class: "num" }, cell(row.estimates[name]))), el("td", { class: "num" }, number(row.unscored))))),
    soft("On held-out tasks, with 95 % intervals over tasks.")];
}

export async function runPage(name) {
  const run = await get(api(name));
  return [el("h1", {}, name),
    el("div", { class: "tags" }, tag(run.env ?? "unknown environment"), tag(run.objective ?? "unknown objective"), tag(`seed ${run.seed ?? "?"}`),
      tag(`step ${number(run.step)}${run.steps ? ` of ${number(run.steps)}` : ""}`),
      tag(el("a", { href: link("run", name, "rollouts") }, `${number(run.rollouts)} rollouts`)),
      run.unscored ? tag(el("a", { class: "bad", href: `${link("run", name, "rollouts")}?scored=unscored` }, `${number(run.unscored)} unscored`)) : tag("0 unscored"),
      run.report ? tag(el("a", { href: `/runs/${encodeURIComponent(name)}/report.html` }, "report")) : null),
    run.notes.map((one) => note(one)),
    ...charts([run]),
    evaluations(list(run.evaluations)),
    el("h2", {}, "Configuration"),
    el("details", {}, el("summary", {}, "config.toml, every default written out"), el("pre", {}, JSON.stringify(run.config, null, 2)))];
}
