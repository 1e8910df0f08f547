// A ranking drawn: ratings with their errors, the bracket of a knock-out, the graph of comparisons, every match.
import { el, known, list, number, object, percent, reward, short, soft, svg, table } from "/static/dom.js";

const BRACKETS = ["seeding", "winners", "losers", "bracket", "final", "swiss"];
const name = (id) => String(id).split("-").at(-1) === String(id) ? short(String(id), 14) : `…${short(String(id).split("-").slice(-2).join("-"), 12)}`;
const won = (match, id) => match.winner === id ? "won" : match.winner === "tie" ? "tie" : match.winner === null || match.winner === undefined ? "failed" : "lost";

// Ratings from best to worst, each with one standard error. What was not rated stands below with its reason.
function ratings(rows) {
  const rated = rows.filter((row) => known(row.theta)).sort((a, b) => b.theta - a.theta);
  const rest = rows.filter((row) => !known(row.theta));
  const edges = rated.flatMap((row) => [row.theta - (row.stderr ?? 0), row.theta + (row.stderr ?? 0)]);
  const low = Math.min(...edges), high = Math.max(...edges), span = high - low || 1;
  const width = 720, left = 150, right = 250, line = 26, x = (value) => left + (value - low) / span * (width - left - right);
  const height = line * rated.length + 26;
  const plot = !rated.length ? null : svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "plot", role: "img", "aria-label": "ratings with their standard errors" },
    low < 0 && high > 0 ? svg("line", { x1: x(0), x2: x(0), y1: 0, y2: height - 22, class: "axis dashed" }) : null,
    rated.map((row, i) => { const y = line * i + 15; return svg("g", {},
      svg("line", { x1: left, x2: width - right, y1: y, y2: y, class: "axis" }),
      svg("text", { x: left - 10, y: y + 4, "text-anchor": "end" }, name(row.id)),
      known(row.stderr) ? svg("line", { x1: x(row.theta - row.stderr), x2: x(row.theta + row.stderr), y1: y, y2: y, class: "error" }) : null,
      svg("circle", { cx: x(row.theta), cy: y, r: 5, class: "mark" }),
      svg("text", { x: width - right + 12, y: y + 4, class: "soft" }, `${number(row.theta)}${known(row.stderr) ? ` ± ${number(row.stderr, 2)}` : ""} · rank ${number(row.rank)} · ${number(row.wins)}–${number(row.losses)}${row.ties ? `–${number(row.ties)}` : ""}`)); }),
    svg("text", { x: left, y: height - 4, class: "soft" }, number(low)), svg("text", { x: width - right, y: height - 4, class: "soft", "text-anchor": "end" }, number(high)));
  return [plot, rest.length ? table(["response", "#rank", "#wins", "#losses", "status", "why"], rest.map((row) => el("tr", {}, el("td", {}, row.id), el("td", { class: "num" }, number(row.rank)), el("td", { class: "num" }, number(row.wins)), el("td", { class: "num" }, number(row.losses)),
    el("td", { class: row.status === "ok" ? "soft" : "bad" }, row.status), el("td", {}, object(row.error).message ?? "")))) : null];
}

// Matches of a knock-out, round by round; both orders of a pair are one match.
function bracket(matches, byes) {
  const stages = BRACKETS.filter((stage) => matches.some((match) => match.stage === stage));
  return stages.map((stage) => {
    const mine = matches.filter((match) => match.stage === stage);
    const rounds = [...new Set(mine.map((match) => match.round))].sort((a, b) => a - b);
    return [el("h3", {}, stage), el("div", { class: "bracket" }, rounds.map((round, i) => el("div", { class: "round" }, el("div", { class: "who" }, `round ${i + 1}`), [...new Map(mine.filter((match) => match.round === round).map((match) => [match.comparison ?? match.id, match])).keys()].map((key) => {
      const calls = mine.filter((match) => match.round === round && (match.comparison ?? match.id) === key);
      const { a, b } = calls[0];
      const total = (id) => calls.reduce((sum, match) => sum + (match.winner === id ? 1 : match.winner === "tie" ? 0.5 : 0), 0);
      const failed = calls.filter((match) => !known(match.winner)).length;
      const side = (id, other) => el("div", { class: total(id) > total(other) ? "side through" : "side" }, el("span", {}, name(id)), el("span", {}, number(total(id))));
      return el("div", { class: "match", title: calls.map((match) => `${match.first} shown first: ${match.winner ?? match.status}`).join("\n") }, side(a, b), side(b, a), failed ? el("div", { class: "bad small" }, `${failed} of ${calls.length} calls failed`) : null);
    }), byes.filter((bye) => bye.stage === stage && bye.round === round).map((bye) => el("div", { class: "match" }, el("div", { class: "side through" }, name(bye.id), el("span", { class: "soft" }, "bye")))))))];
  });
}

// Everyone on a circle from best (top) clockwise to worst; arrows point to the winner, dashes are ties, dots failed calls.
function graph(rows, matches) {
  const order = [...rows].sort((a, b) => (a.rank ?? 1e9) - (b.rank ?? 1e9));
  const size = 380, middle = size / 2, radius = size / 2 - 46;
  const at = new Map(order.map((row, i) => { const angle = 2 * Math.PI * i / order.length - Math.PI / 2; return [row.id, [middle + radius * Math.cos(angle), middle + radius * Math.sin(angle)]]; }));
  const pairs = new Map();
  for (const match of matches) {
    if (!at.has(match.a) || !at.has(match.b)) continue;
    const key = JSON.stringify([match.a, match.b].sort());
    const pair = pairs.get(key) ?? { a: match.a, b: match.b, balance: 0, calls: 0, failed: 0 };
    pair.calls += 1;
    if (!known(match.winner)) pair.failed += 1;
    else if (match.winner !== "tie") pair.balance += match.winner === pair.a ? 1 : -1;
    pairs.set(key, pair);
  }
  const edges = [...pairs.values()].map((pair) => {
    const [from, to] = pair.balance > 0 ? [pair.b, pair.a] : [pair.a, pair.b];
    const [x1, y1] = at.get(from), [x2, y2] = at.get(to), length = Math.hypot(x2 - x1, y2 - y1) || 1;
    const cut = 19 / length, kind = pair.failed === pair.calls ? "none" : pair.balance === 0 ? "tie" : "win";
    return svg("line", { x1: x1 + (x2 - x1) * cut, y1: y1 + (y2 - y1) * cut, x2: x2 - (x2 - x1) * cut, y2: y2 - (y2 - y1) * cut, class: `edge ${kind}`, "stroke-width": 1 + Math.abs(pair.balance) * 0.7, "marker-end": kind === "win" ? "url(#arrow)" : null },
      svg("title", {}, `${pair.a} against ${pair.b}: ${pair.calls} calls, ${pair.failed} failed${kind === "win" ? `, won by ${to}` : kind === "tie" ? ", a tie" : ""}`));
  });
  return svg("svg", { viewBox: `0 0 ${size} ${size}`, class: "graph", role: "img", "aria-label": "graph of comparisons" },
    svg("defs", {}, svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, markerUnits: "userSpaceOnUse", orient: "auto-start-reverse" }, svg("path", { d: "M0,0 L8,4 L0,8 z", class: "head" }))),
    edges, order.map((row) => { const [x, y] = at.get(row.id); return svg("g", {}, svg("circle", { cx: x, cy: y, r: 16, class: known(row.rank) ? "node" : "node out" }), svg("text", { x, y: y + 4, "text-anchor": "middle" }, known(row.rank) ? number(row.rank) : "–"), svg("title", {}, String(row.id)),
      svg("text", { x, y: y + (y > middle ? 32 : -22), "text-anchor": "middle", class: "soft" }, name(row.id))); }));
}

function matchTable(matches) {
  return el("details", {}, el("summary", {}, `all ${matches.length} judge calls`), table(["#round", "a", "b", "shown first", "winner", "#scores", "status"], matches.slice(0, 1000).map((m) => el("tr", {},
    el("td", { class: "num" }, number(m.round)), el("td", { class: won(m, m.a) === "won" ? "good" : null }, m.a), el("td", { class: won(m, m.b) === "won" ? "good" : null }, m.b), el("td", { class: "soft" }, m.first ?? "–"), el("td", {}, m.winner ?? el("span", { class: "none" }, "none")),
    el("td", { class: "num" }, known(m.score_a) ? `${number(m.score_a)} : ${number(m.score_b)}` : "–"), el("td", { class: m.status === "ok" ? "soft" : "bad" }, m.status, m.cached ? " (cached)" : "", m.error ? `: ${short(String(m.error), 200)}` : "")))));
}

export function tournament(result) {
  const rows = list(result.ranking).map(object), matches = list(result.matches).map(object), stats = object(result.stats);
  const said = [["method", stats.method], ["estimator", stats.estimator], ["calls", stats.calls], ["failed", stats.failed_calls], ["first slot won", known(stats.p_first) ? percent(stats.p_first) : null], ["ties", known(stats.tie_rate) ? percent(stats.tie_rate) : null],
    ["orders disagree", known(stats.inconsistent_rate) ? percent(stats.inconsistent_rate) : null], ["cyclic triads", known(stats.cyclic_triads) ? number(stats.cyclic_triads) : null], ["connected", known(stats.connected) ? (stats.connected ? "yes" : "no") : null]].filter(([, value]) => known(value));
  const stages = bracket(matches, list(result.byes).map(object));
  return [el("div", { class: "tags" }, said.map(([label, value]) => el("span", { class: "tag" }, `${label}: ${typeof value === "number" ? number(value) : value}`))),
    el("div", { class: "pair" }, el("figure", {}, ratings(rows), el("figcaption", {}, "Ratings with one standard error; wins–losses over scored comparisons.")),
      matches.length && rows.length > 1 ? el("figure", {}, graph(rows, matches), el("figcaption", {}, "Comparisons: arrows point to the winner, dashes are ties, dots are calls that failed. Best on top, clockwise.")) : null),
    stages.length ? stages : null, matches.length ? matchTable(matches) : soft("No comparisons were recorded.")];
}
