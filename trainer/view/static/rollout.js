// One rollout: a conversation with tool calls and feedback, test results, the tree of its sub-calls, its tokens.
import { api, el, get, known, link, list, longText, note, number, object, reward, short, table, tag, textOf } from "/static/dom.js";
import { tokenView } from "/static/tokens.js";

const ROLES = ["assistant", "tool", "user", "system", "developer", "feedback"];

function callOf(call) {
  const what = object(object(call).function);
  let words = textOf(what.arguments);
  try { words = JSON.stringify(JSON.parse(words), null, 1).replace(/\n\s*/g, " "); } catch { /* as it was said */ }
  return el("pre", { class: "call" }, `${what.name ?? "?"}(${words})`);
}

function message(role, text, calls, extra) {
  return el("section", { class: `msg ${ROLES.includes(role) ? role : ""}` }, el("div", { class: "who" }, role, extra ? el("span", { class: "soft" }, ` ${extra}`) : null),
    text ? longText(text) : null, list(calls).map(callOf));
}

// Tests as the sandbox ran them: a strip to see them all at once, and a table to read.
function tests(results) {
  const rows = list(results).map(object);
  const passed = rows.filter((row) => row.passed === true).length;
  return el("div", { class: "tests" },
    el("div", { class: "who" }, `${passed} of ${rows.length} tests passed`),
    el("div", { class: "strip" }, rows.map((row) => el("i", { class: row.passed === true ? "pass" : "fail", title: `${row.id}: ${row.passed === true ? "passed" : row.verdict ?? "failed"}` }, row.passed === true ? "✓" : "✗"))),
    el("details", {}, el("summary", {}, "each test"), table(["test", "verdict", "shown to the policy", "#seconds"], rows.slice(0, 500).map((row) => el("tr", {},
      el("td", {}, row.id ?? "?"), el("td", { class: row.passed === true ? "good" : "bad" }, row.passed === true ? "✓ passed" : `✗ ${row.verdict ?? "failed"}`),
      el("td", { class: "soft" }, row.visibility ?? "–"), el("td", { class: "num" }, number(row.wall_s)))))));
}

function feedback(one) {
  const { kind, text, details } = object(one);
  const box = message("feedback", textOf(text), [], kind);
  if (list(object(details).tests).length) box.append(tests(details.tests));
  const rest = Object.entries(object(details)).filter(([name]) => name !== "tests");
  if (rest.length) box.append(el("details", {}, el("summary", {}, "details"), el("pre", {}, short(JSON.stringify(Object.fromEntries(rest), null, 1), 20000))));
  return box;
}

const sampled = (rollout) => list(rollout.turns).reduce((sum, turn) => sum + list(object(turn).completion_ids).length, 0);
const below = (rollout, depth = 0) => depth > 50 ? 0 : list(rollout.children).reduce((sum, child) => sum + 1 + below(object(child), depth + 1), 0);
const lastWord = (rollout) => textOf(list(rollout.messages).map(object).filter((m) => m.role === "assistant").at(-1)?.content);

// The tree of sub-calls: each line says what was asked and answered, and unfolds to the whole conversation.
function tree(rollout, depth) {
  const children = list(rollout.children).map(object);
  if (!children.length) return null;
  if (depth > 12) return note(`${below(rollout)} sub-calls lie deeper than is shown here; they are in the file.`);
  return el("ul", { class: "tree" }, children.map((child) => el("li", {}, el("details", { class: "node" },
    el("summary", {}, el("b", {}, short(String(child.id ?? "sub-call"), 60)), " ", el("span", { class: "soft" }, `${number(sampled(child))} tokens`), " ", child.error ? el("span", { class: "bad" }, "failed") : known(child.reward) ? reward(child.reward) : null,
      el("span", { class: "said" }, short(lastWord(child), 160))),
    conversation(child), child.error ? note(String(child.error)) : null), tree(child, depth + 1))));
}

function conversation(rollout) {
  const said = list(rollout.messages).map(object).map((m) => message(String(m.role ?? "?"), textOf(m.content), m.tool_calls, m.name));
  return el("div", {}, said, list(rollout.feedback).map(feedback));
}

function whole(rollout) {
  const count = below(rollout);
  return [conversation(rollout), count ? [el("h2", {}, `Sub-calls (${count})`), tree(rollout, 0)] : null];
}

export async function rolloutPage(name, key, parameters) {
  const found = await get(api(name, "rollouts", key), Object.fromEntries(parameters));
  const line = found.line, rollout = object(line.rollout ?? line);
  const query = parameters.size ? `?${parameters}` : "";
  const facts = [["step", line.step], ["advantage", line.advantage], ["cluster", line.cluster], ["rank reward", line.rank_reward], ["environment's reward", line.env_reward], ["solution", line.solution_key]];
  const area = el("div", { id: "area" }, whole(rollout));
  let asTokens = false;
  const toggle = el("button", { type: "button", id: "tokens", "aria-pressed": "false", onclick: () => { asTokens = !asTokens;
    toggle.setAttribute("aria-pressed", String(asTokens));
    toggle.textContent = asTokens ? "conversation (t)" : "tokens (t)";
    area.replaceChildren(...[asTokens ? tokenView(line, rollout, found) : whole(rollout)].flat(Infinity).filter(known)); } }, "tokens (t)");
  const step = (where, label, letter) => found[where] === null ? el("span", { class: "soft" }, `${label} (${letter})`)
    : el("a", { "data-key": letter, href: link("run", name, "rollout", found[where]) + query }, `${label} (${letter})`);
  return [el("h1", {}, rollout.id ?? `rollout ${key}`),
    el("div", { class: "tags" }, tag("reward ", reward("reward" in line ? line.reward : rollout.reward, rollout.error)), tag(`ended: ${rollout.stop_reason ?? "?"}`), tag(`task ${rollout.task_id ?? "?"}`),
      facts.filter(([, value]) => known(value)).map(([label, value]) => tag(`${label} ${typeof value === "number" ? number(value) : textOf(value)}`)),
      Object.entries(object(rollout.scores)).map(([label, value]) => tag(`${label} ${number(value)}`))),
    rollout.error ? note(String(rollout.error)) : null,
    el("p", { class: "toolbar" }, toggle, " ", rollout.group_id ? [el("a", { id: "group", href: link("run", name, "group", String(rollout.group_id)) }, "group (g)"), " · "] : null,
      step("newer", "newer", "k"), " · ", step("older", "older", "j"), " · ", el("a", { href: api(name, "rollouts", key, "raw") }, "raw")),
    area,
    Object.keys(object(rollout.metrics)).length ? el("details", {}, el("summary", {}, "metrics of the environment"), el("pre", {}, JSON.stringify(rollout.metrics, null, 1))) : null];
}
