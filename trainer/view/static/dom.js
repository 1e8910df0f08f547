// Building pages from text. Nothing here parses markup: every string becomes a text node.

// Characters that would hide or reorder text are shown by their number.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
export const visible = (text) => text.replace(HIDDEN, (c) => `⟨${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);

const fill = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(node.style, value);
    else node.setAttribute(name, value === true ? "" : name === "title" ? visible(String(value)) : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => child instanceof Node ? child : visible(String(child))));
  return node;
};

export const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

// What a run file says may have any shape; these give the expected one or nothing.
export const list = (value) => Array.isArray(value) ? value : [];
export const object = (value) => value !== null && typeof value === "object" && !Array.isArray(value) ? value : {};
export const known = (value) => value !== null && value !== undefined;
export const textOf = (content) => typeof content === "string" ? content
  : Array.isArray(content) ? content.map((part) => typeof part === "string" ? part : part?.text ?? `[${part?.type ?? "?"}]`).join("")
  : known(content) ? JSON.stringify(content) : "";
export const short = (text, limit) => text.length > limit ? `${text.slice(0, limit - 1)}…` : text;

export const number = (value, digits = 3) => {
  if (typeof value !== "number" || !Number.isFinite(value)) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(1) : String(Number(value.toPrecision(digits)));
};
export const percent = (value) => typeof value === "number" ? `${Number((100 * value).toPrecision(3))} %` : "–";

export function reward(value, error) {
  if (typeof value !== "number") return el("span", { class: "none", title: error ? String(error) : null }, "unscored");
  return el("span", { class: value > 0 ? "good" : "bad" }, number(value));
}

export const tag = (...children) => el("span", { class: "tag" }, ...children);
export const note = (...children) => el("p", { class: "note" }, ...children);
export const soft = (...children) => el("p", { class: "soft" }, ...children);

export function table(headers, rows, attributes = {}) {
  // "#" before a header means numbers, "~" that a narrow window leaves the column out.
  const head = headers.map((name) => el("th", { class: [name.includes("#") && "num", name.startsWith("~") && "hide-narrow"].filter(Boolean).join(" ") || null }, name.replace(/^~?#?/, "")));
  return el("div", { class: "wide" }, el("table", attributes, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows)));
}

export const LIMIT = 20000; // characters shown of one message before a person asks for the rest

export function longText(text) {
  const pre = el("pre", { dir: "auto" }, text.slice(0, LIMIT));
  if (text.length <= LIMIT) return [pre];
  const more = el("button", { type: "button", onclick: () => { pre.textContent = visible(text); more.remove(); } },
    `show ${(text.length - LIMIT).toLocaleString("en")} more characters`);
  return [pre, more];
}

export async function get(path, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, v]) => v !== "" && known(v)));
  const reply = await fetch(query.size ? `${path}?${query}` : path);
  const body = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Error(typeof body.detail === "string" ? body.detail : `the server answered ${reply.status}`);
  return body;
}

export const api = (name, ...parts) => ["/api/runs", name, ...parts].map((part, i) => i ? encodeURIComponent(part) : part).join("/");
export const link = (...parts) => "#/" + parts.map(encodeURIComponent).join("/");
