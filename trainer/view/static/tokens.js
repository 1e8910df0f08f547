// Tokens of a rollout, coloured by advantage, by the gap between learner and engine, or by log-probability.
import { el, known, list, number, object, soft } from "/static/dom.js";

const MODES = { advantage: "advantage", gap: "log-prob gap, learner − engine", logprob: "log-probability" };
const AT_ONCE = 3000; // tokens drawn before a person asks for the rest

// Blue pushes a token up, orange down; both are told apart by colour-blind people, and each token says its number.
function shade(value, scale) {
  if (typeof value !== "number" || !scale) return "";
  const share = Math.min(1, Math.abs(value) / scale) * 0.7;
  return value >= 0 ? `rgba(0, 114, 178, ${share})` : `rgba(213, 94, 0, ${share})`;
}

function valuesOf(line, turn, index, mode) {
  const sampled = list(turn.completion_ids), engine = list(turn.logprobs);
  if (mode === "logprob") return engine;
  if (mode === "gap") return list(list(line.learner_logprobs)[index]).map((value, at) => typeof value === "number" && typeof engine[at] === "number" ? value - engine[at] : null);
  const each = list(line.advantages)[index];
  if (Array.isArray(each)) return each;
  return typeof line.advantage === "number" ? sampled.map(() => line.advantage) : [];
}

function run(texts, draw) { // texts as tokens, many of them only when asked for
  const box = el("div", { class: "tokens", dir: "auto" });
  const add = (from) => {
    const to = Math.min(texts.length, from + AT_ONCE);
    box.append(...texts.slice(from, to).map((text, at) => draw(text, from + at)));
    if (to < texts.length) box.append(el("button", { type: "button", onclick: (event) => { event.target.remove(); add(to); } }, `${number(texts.length - to)} more tokens`));
  };
  add(0);
  return box;
}

const spaced = (text) => text === "\n" ? "⏎\n" : text.replaceAll("\n", "⏎\n");

function legend(scale, mode) {
  if (!scale) return null;
  const stops = [-1, -0.5, 0, 0.5, 1].map((share) => el("span", { class: "tok", style: { background: shade(share * scale, scale) } }, number(share * scale, 2)));
  return el("span", { class: "legend" }, mode === "logprob" ? stops.slice(0, 3) : stops);
}

export function tokenView(line, rollout, { token_texts: texts, prompt_texts: prompts, token_note: hint }) {
  const turns = list(rollout.turns).filter((turn) => turn && typeof turn === "object");
  const box = el("div"), key = el("span");
  const draw = (mode) => {
    const values = turns.map((turn, index) => valuesOf(line, turn, index, mode));
    const sizes = values.flat().filter((value) => typeof value === "number").map(Math.abs);
    const scale = sizes.reduce((largest, size) => Math.max(largest, size), 0);
    key.replaceChildren(legend(scale, mode) ?? "");
    box.replaceChildren(...turns.map((turn, index) => {
      const ids = list(turn.completion_ids), logprobs = list(turn.logprobs), mine = values[index];
      const span = (text, at) => el("span", { class: known(mine[at]) ? "tok" : "tok bare", style: { background: shade(mine[at], scale) },
        title: `token ${at + 1} of ${ids.length}, id ${ids[at]}\nlog-probability ${number(logprobs[at], 4)} (p = ${number(Math.exp(logprobs[at]), 3)})${mode === "logprob" ? "" : `\n${MODES[mode]} ${number(mine[at], 4)}`}` }, spaced(text));
      return el("section", { class: "msg" },
        el("div", { class: "who" }, `turn ${index + 1} · version ${turn.policy_version ?? "?"} · ended by ${turn.stop ?? "?"}`),
        el("details", { open: list(prompts[index]).length <= 400 }, el("summary", {}, `${number(list(prompts[index]).length)} ${index ? "new " : ""}prompt tokens, masked: not trained`),
          run(list(prompts[index]), (text) => el("span", { class: "tok masked" }, spaced(text)))),
        el("div", { class: "who" }, `${number(ids.length)} sampled tokens`),
        run(list(texts[index]), span),
        mine.length ? null : soft(mode === "advantage" ? "Not trained: the rollout was unscored, filtered, or in a group that teaches nothing."
          : "The learner did not score this rollout (its advantage was zero), or the run did not record it."));
    }));
    if (!turns.length) box.replaceChildren(soft("This rollout has no recorded tokens."));
  };
  const pick = el("select", { "aria-label": "colour tokens by", onchange: () => draw(pick.value) }, Object.entries(MODES).map(([value, label]) => el("option", { value }, label)));
  draw("advantage");
  return [el("p", {}, "Coloured by ", pick, " ", key), hint ? soft(hint) : null, box];
}
