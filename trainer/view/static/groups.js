// Groups of a run, and one group: its rollouts by cluster, and what judges said about them.
import { api, el, get, known, link, list, longText, note, number, object, reward, short, soft, table, tag, textOf } from "/static/dom.js";
import { COLOURS } from "/static/charts.js";
import { tournament } from "/static/tournament.js";

export async function groupsPage(name, parameters) {
  const search = el("input", { type: "search", name: "text", value: parameters.get("task") ?? "", placeholder: "task contains (/)", "aria-label": "task contains" });
  const form = el("form", { class: "filter", role: "search" }, search, el("button", {}, "filter"));
  form.addEventListener("submit", (event) => { event.preventDefault(); location.hash = `${link("run", name, "groups")}${search.value ? `?${new URLSearchParams({ task: search.value })}` : ""}`; });
  const rows = table(["#step", "group", "~task", "#rollouts", "#mean reward", "~#lowest", "~#highest", "#unscored", "#clusters"], [], { id: "groups" });
  const more = el("button", { type: "button", id: "more", onclick: () => { more.dataset.used = "yes"; load(); } }, "more (m)");
  const count = soft();
  let start = 0;
  async function load() {
    const page = await get(api(name, "groups"), { task: parameters.get("task"), start });
    rows.querySelector("tbody").append(...page.groups.map((g) => el("tr", { class: "row", "data-href": link("run", name, "group", g.id) },
      el("td", { class: "num" }, number(g.step)), el("td", { class: "name" }, el("a", { href: link("run", name, "group", g.id) }, g.id)), el("td", { class: "name soft hide-narrow" }, g.task_id),
      el("td", { class: "num" }, number(g.size)), el("td", { class: "num" }, known(g.mean) ? number(g.mean) : el("span", { class: "none" }, "unscored")), el("td", { class: "num soft hide-narrow" }, number(g.low)), el("td", { class: "num soft hide-narrow" }, number(g.high)),
      el("td", { class: `num ${g.size - g.scored ? "bad" : "soft"}` }, g.size - g.scored), el("td", { class: "num" }, number(g.clusters)))));
    start = page.next;
    more.hidden = start === null;
    count.textContent = `${number(rows.querySelectorAll("tbody tr").length)} of ${number(page.total)} groups, newest first`;
  }
  await load();
  return [el("h1", {}, "Groups"), form, count, rows, more];
}

const answer = (rollout) => list(rollout.messages).map(object).filter((m) => m.role === "assistant").map((m) => textOf(m.content)).join("\n");

function card(name, { key, line }, rating) {
  const rollout = object(line.rollout ?? line);
  return el("article", { class: "card" }, el("a", { class: "name", href: link("run", name, "rollout", key) }, rollout.id ?? key),
    el("div", { class: "tags" }, tag("reward ", reward("reward" in line ? line.reward : rollout.reward, rollout.error)),
      typeof line.advantage === "number" ? tag(`advantage ${number(line.advantage)}`) : tag("not trained"),
      known(rating?.rank) ? tag(`rank ${number(rating.rank)}`) : null,
      known(rating?.theta) ? tag(`rating ${number(rating.theta)}${known(rating.stderr) ? ` ± ${number(rating.stderr, 2)}` : ""}`) : null,
      rating && rating.status !== "ok" ? tag(el("span", { class: "bad" }, String(rating.status))) : null),
    el("pre", { dir: "auto" }, short(answer(rollout), 1500)));
}

function scored(record) { // what /v1/score said, criterion by criterion
  return list(record.result?.results).map(object).map((item) => el("details", {}, el("summary", {}, `${item.id} `, item.status === "ok" || item.status === "gated" ? reward(item.reward) : el("span", { class: "bad" }, item.status)),
    list(item.criteria).length ? table(["criterion", "#weight", "#score", "why"], list(item.criteria).map(object).map((c) => el("tr", {}, el("td", {}, c.name), el("td", { class: "num" }, number(c.weight)), el("td", { class: "num" }, number(c.score)), el("td", {}, short(textOf(c.evidence), 600))))) : null,
    item.error ? note(String(object(item.error).message ?? item.error)) : null));
}

function judged(record) {
  const judge = object(record.judge), usage = object(record.usage);
  const facts = [judge.name, judge.model, known(usage.calls) ? `${number(usage.calls)} model calls in the request` : null, known(usage.cost_usd) ? `${number(usage.cost_usd)} USD` : null].filter(Boolean).join(" · ");
  if (record.error) return [el("h2", {}, `Judge: ${record.operation}`), note(`The request failed, so this group was not judged: ${record.error}`)];
  const head = [el("h2", {}, { rank: "Tournament", partition: "Clusters by the judge", score: "Scores by the judge" }[record.operation] ?? record.operation), facts ? soft(facts) : null, list(record.warnings).map((one) => note(one))];
  if (!record.result) return [head, note("The reply says nothing about this group.")];
  if (record.operation === "rank") return [head, tournament(object(record.result))];
  if (record.operation === "score") return [head, scored(record)];
  const unplaced = list(record.result.items).map(object).filter((item) => item.status !== "ok");
  return [head, unplaced.map((item) => note(`${item.id} could not be placed: ${object(item.error).message ?? item.status}`)), unplaced.length ? null : soft("Every response was placed.")];
}

export async function groupPage(name, id) {
  const { rollouts, judgements } = await get(api(name, "group"), { id });
  const clusters = new Map();
  for (const one of rollouts) { const label = typeof one.line.cluster === "number" ? one.line.cluster : null; clusters.set(label, [...(clusters.get(label) ?? []), one]); }
  const clustered = clusters.size > 1 || !clusters.has(null);
  const first = object(rollouts[0].line.rollout ?? rollouts[0].line);
  const prompt = textOf(list(first.messages).map(object).find((m) => m.role === "user")?.content);
  const records = judgements.map(object);
  const ratings = new Map(records.filter((r) => r.operation === "rank").flatMap((r) => list(r.result?.ranking)).map(object).map((row) => [row.id, row]));
  const unscored = rollouts.filter(({ line }) => typeof ("reward" in line ? line.reward : object(line.rollout).reward) !== "number").length;
  const sorted = [...clusters].sort((a, b) => (a[0] === null) - (b[0] === null) || b[1].length - a[1].length || a[0] - b[0]);
  const placed = [...clusters.keys()].filter(known).length;
  return [el("h1", {}, `Group ${id}`), el("div", { class: "tags" }, tag(`${rollouts.length} rollouts`), tag(`task ${first.task_id ?? "?"}`), clustered ? tag(`${placed} cluster${placed === 1 ? "" : "s"}`) : null, unscored ? tag(el("span", { class: "bad" }, `${unscored} unscored`)) : null),
    prompt ? el("section", { class: "msg user" }, el("div", { class: "who" }, "task"), longText(prompt)) : null,
    clustered ? el("div", { class: "shares", role: "img", "aria-label": "sizes of the clusters" }, sorted.map(([label, members], i) => el("i", { title: `${label === null ? "not clustered" : `cluster ${label}`}: ${members.length}`, style: { flexGrow: members.length, background: label === null ? "transparent" : COLOURS[i % COLOURS.length] } }, String(members.length)))) : null,
    sorted.map(([label, members], i) => [
      clustered ? el("h2", {}, el("i", { class: "dot", style: { background: label === null ? "transparent" : COLOURS[i % COLOURS.length] } }), label === null ? "not clustered" : `cluster ${label}`, el("span", { class: "soft" }, ` · ${members.length} of ${rollouts.length}`)) : null,
      el("div", { class: "grid" }, members.map((one) => card(name, one, ratings.get(object(one.line.rollout ?? one.line).id))))]),
    records.map(judged)];
}
