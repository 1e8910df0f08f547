// One group: rollouts of one task side by side, by cluster, with the judge's ranking and matches where recorded.
import { el, get, link, number, reward, tag } from "/static/dom.js";

const answer = (rollout) => (rollout.messages ?? []).filter((m) => m?.role === "assistant").map((m) => typeof m.content === "string" ? m.content : JSON.stringify(m.content)).join("\n");

function card(name, { key, line }) {
  const rollout = line.rollout ?? line;
  return el("div", { class: "card" }, el("a", { href: link("run", name, "rollout", key) }, rollout.id ?? key),
    el("div", { class: "tags" }, tag("reward ", reward(rollout.reward, rollout.error)),
      line.advantage !== undefined && !Array.isArray(line.advantage) ? tag(`advantage ${number(line.advantage)}`) : null,
      line.rank !== undefined && line.rank !== null ? tag(`rank ${number(line.rank)}`) : null,
      line.theta !== undefined ? tag(`rating ${number(line.theta)}${line.stderr !== undefined ? ` ± ${number(line.stderr, 2)}` : ""}`) : null),
    el("pre", {}, answer(rollout).slice(0, 1500)));
}

function matchTable(matches) {
  return el("div", { class: "wide" }, el("table", {}, el("thead", {}, el("tr", {}, ["round", "a", "b", "shown first", "winner", "scores", "status"].map((h) => el("th", {}, h)))),
    el("tbody", {}, matches.map((m) => el("tr", {}, el("td", { class: "num" }, m.round ?? "-"), el("td", {}, m.a), el("td", {}, m.b), el("td", {}, m.first ?? "-"),
      el("td", {}, m.winner ?? "-"), el("td", { class: "num" }, `${number(m.score_a)} : ${number(m.score_b)}`), el("td", {}, m.status ?? "")))))); 
}

export async function groupPage(name, id) {
  await get("/api/runs");
  const { rollouts } = await get(`/api/runs/${encodeURIComponent(name)}/groups/${encodeURIComponent(id)}`);
  const clusters = new Map();
  for (const one of rollouts) { const label = one.line.cluster ?? null; clusters.set(label, [...(clusters.get(label) ?? []), one]); }
  const clustered = clusters.size > 1 || !clusters.has(null);
  const first = rollouts[0].line.rollout ?? rollouts[0].line;
  const prompt = (first.messages ?? []).find((m) => m?.role === "user")?.content;
  const matches = rollouts.flatMap(({ line }) => line.matches ?? []);
  return [el("h1", {}, `Group ${id}`), el("p", {}, `${rollouts.length} rollouts of ${first.task_id ?? "one task"}`, clustered ? `, ${clusters.size} clusters` : ""),
    prompt ? el("div", { class: "msg user" }, el("div", { class: "who" }, "task"), el("pre", {}, typeof prompt === "string" ? prompt : JSON.stringify(prompt))) : null,
    ...[...clusters].sort((a, b) => b[1].length - a[1].length).flatMap(([label, members]) => [
      clustered ? el("h2", {}, label === null ? "not clustered" : `cluster ${label} · ${members.length}`) : null,
      el("div", { class: "grid" }, members.map((one) => card(name, one)))]),
    matches.length ? el("h2", {}, "Comparisons") : null, matches.length ? matchTable(matches) : null];
}
