// The filterable list of rollouts, and one rollout as a conversation or as tokens.
import { el, get, link, longText, number, reward, tag } from "/static/dom.js";

const FILTERS = [["text", "search text", "text", ""], ["task", "task", "text", ""], ["reward_from", "reward from", "number", "short"],
  ["reward_to", "to", "number", "short"], ["tokens_from", "tokens from", "number", "short"], ["tokens_to", "to", "number", "short"], ["step", "step", "number", "short"]];

export async function listPage(name, parameters) {
  await get("/api/runs");
  const form = el("form", { class: "filter" },
    FILTERS.map(([key, label, type, style]) => el("label", {}, label, el("input", { name: key, type, class: style || null, step: type === "number" ? "any" : null, value: parameters.get(key) ?? "" }))),
    el("label", {}, "scored", el("select", { name: "scored" }, ["all", "scored", "unscored"].map((value) => el("option", { value, selected: parameters.get("scored") === value }, value)))),
    el("button", {}, "filter"));
  form.addEventListener("submit", (event) => { event.preventDefault();
    const wanted = new URLSearchParams([...new FormData(form)].filter(([key, value]) => value && !(key === "scored" && value === "all")));
    location.hash = `${link("run", name, "rollouts")}?${wanted}`; });
  const body = el("tbody");
  const count = el("p", { class: "soft" });
  const more = el("button", { type: "button" }, "older rollouts");
  let before = null;
  async function load() {
    const page = await get(`/api/runs/${encodeURIComponent(name)}/rollouts`, { ...Object.fromEntries(parameters), before });
    body.append(...page.rollouts.map((r) => el("tr", { class: "row", "data-href": link("run", name, "rollout", r.key) },
      el("td", { class: "num" }, r.step ?? "-"), el("td", {}, el("a", { href: link("run", name, "rollout", r.key) }, r.id || `rollout ${r.key}`)),
      el("td", { class: "hide-narrow" }, r.task_id), el("td", { class: "num" }, reward(r.reward)), el("td", { class: "num" }, r.tokens),
      el("td", {}, r.stop_reason))));
    before = page.next;
    more.hidden = page.next === null;
    count.textContent = `${body.children.length}${page.next === null ? "" : " or more"} of ${page.total} rollouts, newest first`;
  }
  more.addEventListener("click", load);
  await load();
  return [el("h1", {}, "Rollouts"), form, count, el("div", { class: "wide" }, el("table", { id: "rollouts" },
    el("thead", {}, el("tr", {}, el("th", { class: "num" }, "step"), el("th", {}, "rollout"), el("th", { class: "hide-narrow" }, "task"),
      el("th", { class: "num" }, "reward"), el("th", { class: "num" }, "tokens"), el("th", {}, "ended"))), body)), more];
}

const textOf = (content) => typeof content === "string" ? content : Array.isArray(content) ? content.map((p) => p?.text ?? "").join("") : content === null || content === undefined ? "" : JSON.stringify(content);

function message(role, text, calls) {
  return el("div", { class: `msg ${["assistant", "tool", "user", "system", "feedback"].includes(role) ? role : ""}` }, el("div", { class: "who" }, role),
    text ? longText(text) : null,
    (calls ?? []).map((call) => el("pre", {}, `→ ${call?.function?.name ?? "?"}(${textOf(call?.function?.arguments)})`)));
}

export function conversation(rollout, depth = 0) {
  const said = (rollout.messages ?? []).map((m) => message(m?.role ?? "?", textOf(m?.content), m?.tool_calls));
  const feedback = (rollout.feedback ?? []).map((f) => message("feedback", `${f?.kind ? `[${f.kind}] ` : ""}${textOf(f?.text)}`));
  const children = depth < 8 ? (rollout.children ?? []).map((child) => el("details", { class: "msg child" },
    el("summary", {}, `child ${child?.id ?? ""} `, reward(child?.reward)), conversation(child ?? {}, depth + 1))) : [];
  return el("div", {}, said, feedback, children);
}

// Blue pushes a token up, orange down; both are visible to colour-blind people.
function shade(value, scale) {
  if (value === null || value === undefined || !scale) return null;
  const share = Math.min(1, Math.abs(value) / scale) * 0.75;
  return value >= 0 ? `rgba(0, 114, 178, ${share})` : `rgba(213, 94, 0, ${share})`;
}

function tokens(line, rollout, texts) {
  const modes = { advantage: "advantage", gap: "log-prob gap (learner - engine)", logprob: "log-probability" };
  const box = el("div");
  const perToken = (turn, index, mode) => {
    if (mode === "logprob") return turn.logprobs ?? [];
    if (mode === "gap") { const learner = line.learner_logprobs?.[index]; return learner ? learner.map((v, i) => v - turn.logprobs[i]) : []; }
    const a = line.advantage ?? line.advantages;
    return Array.isArray(a) ? (Array.isArray(a[index]) ? a[index] : a) : (turn.completion_ids ?? []).map(() => a ?? null);
  };
  const draw = (mode) => {
    const turns = rollout.turns ?? [];
    const values = turns.map((turn, index) => perToken(turn, index, mode));
    const scale = Math.max(1e-9, ...values.flat().filter((v) => typeof v === "number").map(Math.abs));
    box.replaceChildren(...turns.map((turn, index) => el("div", { class: "msg" },
      el("div", { class: "who" }, `turn ${index + 1} · ${turn.prompt_ids?.length ?? 0} prompt tokens (not trained) · ${turn.completion_ids?.length ?? 0} sampled · version ${turn.policy_version ?? "?"} · ${turn.stop ?? ""}`),
      el("div", { class: "tokens" }, (texts[index] ?? []).map((text, at) => el("span", {
        class: line.mask?.[index]?.[at] === 0 ? "tok masked" : "tok",
        style: { background: shade(values[index]?.[at], scale) ?? "" },
        title: `id ${turn.completion_ids?.[at]}  logp ${number(turn.logprobs?.[at])}  ${modes[mode]} ${number(values[index]?.[at])}` }, text))),
      values[index]?.length ? null : el("p", { class: "soft" }, `This run did not record ${modes[mode]}.`))));
  };
  const pick = el("select", { "aria-label": "colour tokens by", onchange: () => draw(pick.value) }, Object.entries(modes).map(([value, label]) => el("option", { value }, label)));
  draw("advantage");
  return [el("p", {}, "Coloured by ", pick), box];
}

export async function rolloutPage(name, key) {
  await get("/api/runs");
  const { line, token_texts: texts, token_note: note } = await get(`/api/runs/${encodeURIComponent(name)}/rollouts/${key}`);
  const rollout = line.rollout ?? line;
  const facts = [["step", line.step], ["advantage", Array.isArray(line.advantage) ? null : line.advantage], ["cluster", line.cluster], ["rank", line.rank]];
  const area = el("div", { id: "area" }, conversation(rollout));
  let asTokens = false;
  const toggle = el("button", { type: "button", id: "tokens", onclick: () => { asTokens = !asTokens;
    toggle.textContent = asTokens ? "conversation (t)" : "tokens (t)";
    area.replaceChildren(...(asTokens ? [note ? el("p", { class: "soft" }, note) : "", ...tokens(line, rollout, texts)] : [conversation(rollout)])); } }, "tokens (t)");
  return [el("h1", {}, rollout.id ?? `rollout ${key}`),
    el("div", { class: "tags" }, tag("reward ", reward(rollout.reward, rollout.error)), tag(rollout.stop_reason ?? "?"), tag(`task ${rollout.task_id ?? "?"}`),
      facts.filter(([, value]) => value !== undefined && value !== null).map(([label, value]) => tag(`${label} ${typeof value === "number" ? number(value) : value}`)),
      Object.entries(rollout.scores ?? {}).map(([label, value]) => tag(`${label} ${number(value)}`)),
      rollout.group_id ? tag(el("a", { id: "group", href: link("run", name, "group", rollout.group_id) }, "group (g)")) : null),
    rollout.error ? el("p", { class: "note" }, rollout.error) : null,
    el("p", {}, el("a", { "data-key": "k", href: link("run", name, "rollout", Number(key) + 1) }, "newer (k)"), " · ",
      el("a", { "data-key": "j", href: link("run", name, "rollout", Math.max(0, key - 1)) }, "older (j)"), " ", toggle),
    area];
}
