// How the judge behaved in a run: preference for a slot, ties, failures, cost.
import { chart, flat, interval, order } from "/static/charts.js";
import { api, el, get, known, link, list, note, number, percent, short, soft, table, tag } from "/static/dom.js";

const SHARES = [["first", "Won by the response shown first", "decisive comparisons; an unbiased judge gives 50 %", 0.5], ["disagree", "The two orders disagree", "pairs asked in both orders; a steady judge gives 0 %", 0],
  ["ties", "Ties", "scored comparisons", null], ["failed", "Comparisons that failed", "comparisons asked", 0]];

export async function judgePage(name) {
  const found = await get(api(name, "judge"));
  const series = found.series;
  const moving = order(Object.keys(series)).filter((metric) => !flat(series[metric]));
  const curves = moving.map((metric) => chart(metric, { [name]: series[metric] }, { legend: false, height: 150 }));
  if (!found.records) return [el("h1", {}, "Judge"), soft("No judgements are recorded in this run: it asked no judge server, or it was made before they were kept."), el("div", { class: "charts" }, curves)];
  const { usage, matches } = found;
  return [el("h1", {}, "Judge"),
    el("div", { class: "tags" }, list(found.judges).map((judge) => tag(`${judge.name} (${judge.kind}${judge.model ? `, ${judge.model}` : ""})`, judge.not_semantic ? el("span", { class: "bad" }, " not semantic") : null)),
      Object.entries(found.operations).map(([operation, count]) => tag(`${operation}: ${number(count)} groups`)), tag(`${number(found.requests)} requests`)),
    found.indexed < 1 ? soft(`Read so far: ${Math.floor(100 * found.indexed)} %`) : null, found.notes.map((one) => note(one)),
    SHARES.some(([key]) => known(found[key])) ? [el("h2", {}, "Comparisons"), table(["", "#share", "95 % interval", "", "#of"], SHARES.filter(([key]) => known(found[key])).map(([key, label, of, ideal]) => el("tr", {},
      el("td", {}, label), el("td", { class: "num" }, percent(found[key].value)), el("td", {}, interval(found[key], ideal)), el("td", { class: "num soft" }, `${percent(found[key].low)} to ${percent(found[key].high)}`),
      el("td", { class: "num" }, `${number(found[key].n)} `, el("span", { class: "soft" }, of)))), { id: "shares" })] : null,
    el("h2", {}, "Cost"), table(["#model calls", "#cache hits", "#prompt tokens", "#completion tokens", "#US dollars"], [el("tr", {}, ["calls", "cache_hits", "prompt_tokens", "completion_tokens"].map((key) => el("td", { class: "num" }, number(usage[key] ?? 0))), el("td", { class: "num" }, known(usage.cost_usd) ? number(usage.cost_usd) : el("span", { class: "none" }, "price not set")))]),
    el("h2", {}, "Outcomes"), table(["status", "#judgements", ""], Object.entries(found.statuses).sort((a, b) => b[1] - a[1]).map(([status, count]) => el("tr", {}, el("td", { class: ["ok", "gated"].includes(status) ? null : "bad" }, status), el("td", { class: "num" }, number(count)),
      el("td", { class: "soft" }, { ok: "scored", gated: "not worth a call (empty, repeated); placed last", degenerate: "nothing to compare with" }[status] ?? "a failure is not a score: no reward")))),
    matches.unasked ? soft(`${number(matches.unasked)} comparisons were planned and not asked: the budget was spent.`) : null,
    Object.keys(found.flags).length ? soft("Flags: ", Object.entries(found.flags).map(([flag, count]) => `${flag} ${count}`).join(", ")) : null,
    found.failures.length ? [el("h2", {}, "Latest failures"), table(["#step", "group", "operation", "why"], found.failures.map((one) => el("tr", {}, el("td", { class: "num" }, number(one.step)), el("td", {}, el("a", { href: link("run", name, "group", one.group) }, one.rollout ?? one.group)), el("td", {}, one.operation), el("td", {}, short(one.why, 300)))))] : null,
    curves.length ? [el("h2", {}, "By step"), el("div", { class: "charts" }, curves)] : null,
    soft("Counted over the groups that the run wrote down (log.rollouts); the curves are over all groups, and those that never move are left out.")];
}
