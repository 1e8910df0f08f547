// The filterable list of rollouts.
import { api, el, get, link, number, reward, soft, table } from "/static/dom.js";

const FILTERS = [["text", "text contains", "search", ""], ["task", "task contains", "text", ""], ["reward_from", "reward from", "number", "short"],
  ["reward_to", "to", "number", "short"], ["tokens_from", "tokens from", "number", "short"], ["tokens_to", "to", "number", "short"], ["step", "step", "number", "short"]];
const ORDERS = ["newest", "oldest", "best", "worst", "longest", "shortest"];

const select = (name, values, chosen) => el("select", { name }, values.map((value) => el("option", { value, selected: chosen === value }, value)));

const line = (name, r, query) => el("tr", { class: "row", "data-href": link("run", name, "rollout", r.key) + query },
  el("td", { class: "num" }, number(r.step)),
  el("td", { class: "name" }, el("a", { href: link("run", name, "rollout", r.key) + query }, r.id || `rollout ${r.key}`), r.children ? el("span", { class: "soft" }, ` +${r.children}`) : null),
  el("td", { class: "name hide-narrow soft" }, r.task_id), el("td", { class: "num" }, reward(r.reward)), el("td", { class: "num" }, number(r.tokens)),
  el("td", { class: r.stop_reason === "finished" ? "soft" : null }, r.stop_reason));

export async function listPage(name, parameters) {
  const form = el("form", { class: "filter", role: "search" },
    FILTERS.map(([key, label, type, style]) => el("label", {}, label, el("input", { name: key, type, class: style || null, step: type === "number" ? "any" : null, value: parameters.get(key) ?? "" }))),
    el("label", {}, "scored", select("scored", ["all", "scored", "unscored"], parameters.get("scored"))),
    el("label", {}, "order", select("order", ORDERS, parameters.get("order"))),
    el("button", {}, "filter"));
  form.addEventListener("submit", (event) => { event.preventDefault();
    const wanted = new URLSearchParams([...new FormData(form)].filter(([key, value]) => value && value !== { scored: "all", order: "newest" }[key]));
    location.hash = `${link("run", name, "rollouts")}${wanted.size ? `?${wanted}` : ""}`; });
  for (const choice of form.querySelectorAll("select")) choice.addEventListener("change", () => form.requestSubmit());
  const query = parameters.size ? `?${parameters}` : "";
  const body = [];
  const rows = table(["#step", "rollout", "~task", "#reward", "#tokens", "ended"], body, { id: "rollouts" });
  const count = soft();
  const more = el("button", { type: "button", id: "more", onclick: () => { more.dataset.used = "yes"; load(); } }, "more (m)");
  let start = 0;
  const here = location.hash;
  let lookedAt = 0;
  async function load() {
    for (let missing = 100; missing > 0;) { // a text search pauses now and then to say how far it is
      const page = await get(api(name, "rollouts"), { ...Object.fromEntries(parameters), start, limit: missing });
      if (location.hash !== here) return; // the person has moved on
      rows.querySelector("tbody").append(...page.rollouts.map((r) => line(name, r, query)));
      missing -= page.rollouts.length;
      start = page.next;
      lookedAt += page.looked_at;
      more.hidden = start === null;
      const looked = start === null ? "" : `, ${number(lookedAt)} looked at`;
      const reading = page.indexed < 1 ? ` read so far (${Math.floor(100 * page.indexed)} %)` : "";
      count.textContent = `${number(rows.querySelectorAll("tbody tr").length)} shown${looked}, of ${number(page.total)} rollouts${reading}`;
      if (start === null) return;
    }
  }
  const patience = new Promise((done) => setTimeout(done, 2500));
  await Promise.race([load(), patience]); // a long search goes on under the eyes of the person
  return [el("h1", {}, "Rollouts"), form, count, rows, more];
}
