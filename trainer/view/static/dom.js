// Building pages from text. Nothing here parses markup: every string becomes a text node.

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(node.style, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined).map((c) => c instanceof Node ? c : String(c)));
  return node;
}

export const number = (value, digits = 3) =>
  value === null || value === undefined ? "-" : Number.isInteger(value) ? String(value) : Number(value).toPrecision(digits);

export function reward(value, error) {
  if (value === null || value === undefined) return el("span", { class: "none", title: error || null }, "unscored");
  return el("span", { class: value > 0 ? "good" : "bad" }, number(value));
}

export const tag = (...children) => el("span", { class: "tag" }, ...children);

export const LIMIT = 20000; // characters shown of one message before a person asks for the rest

export function longText(text) {
  const pre = el("pre", {}, text.slice(0, LIMIT));
  if (text.length <= LIMIT) return [pre];
  const more = el("button", { type: "button", onclick: () => { pre.textContent = text; more.remove(); } },
    `show ${text.length - LIMIT} more characters`);
  return [pre, more];
}

export async function get(path, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, v]) => v !== "" && v !== null && v !== undefined));
  const reply = await fetch(query.size ? `${path}?${query}` : path);
  const body = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Error(typeof body.detail === "string" ? body.detail : `the server answered ${reply.status}`);
  return body;
}

export const link = (...parts) => "#/" + parts.map(encodeURIComponent).join("/");
