// Learning curves: several runs in one chart, told apart by colour (Okabe-Ito) and by dash; intervals as bands.
import uPlot from "/static/uPlot.esm.js";
import { el, number } from "/static/dom.js";

export const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#595959"];
const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3]];
const FIRST = [/^reward$/, /^reward_mean/, /pass@/, /pass_at/, /eval\/reward/, /^reward/, /greedy/, /distinct/, /^entropy/, /unscored/, /^judge\/(p_first|tie|failed_share|cost)/, /^loss/, /kl/, /^length/];

const rank = (name) => { const at = FIRST.findIndex((pattern) => pattern.test(name)); return at < 0 ? FIRST.length : at; };
export const order = (names) => [...names].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b, "en", { numeric: true }));

export const flat = (points) => points.every(([, value]) => value === points[0][1]);

// A line that hardly moves is drawn in the middle of its chart (axes cannot be labelled finer), at the bottom when it is zero.
function range(_, low, high) {
  if (low === null) return [0, 1];
  const size = Math.max(Math.abs(low), Math.abs(high));
  if (high - low > 1e-5 * size) return uPlot.rangeNum(low, high, 0.08, true);
  return size === 0 ? [0, 1] : [low - size / 2, high + size / 2];
}

const sync = uPlot.sync("steps"); // the cursor stands at the same step in every chart

// series: {run: [[step, value], ...]}; bands: {run: [[step, low, high], ...]}; steps of the runs need not agree.
export function chart(title, series, { bands = {}, colours = {}, legend = true, height = 190 } = {}) {
  const box = el("figure", { class: "chart", role: "img", "aria-label": `${title} by step, ${Object.keys(series).join(", ")}` }, el("figcaption", {}, title));
  const runs = Object.keys(series);
  const steps = [...new Set(runs.flatMap((run) => series[run].map(([step]) => step)))].sort((a, b) => a - b);
  const column = (points, at) => { const found = new Map(points.map((point) => [point[0], point[at]])); return steps.map((step) => found.get(step) ?? null); };
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--soft").trim();
  const grid = { stroke: getComputedStyle(document.documentElement).getPropertyValue("--line").trim(), width: 1 };
  const lines = runs.map((run, index) => ({
    label: run, stroke: colours[run] ?? COLOURS[index % COLOURS.length], width: 1.8, dash: DASHES[index % DASHES.length], spanGaps: true,
    points: { show: series[run].length < 30, size: 5 }, value: (_, value) => number(value),
  }));
  const data = [steps, ...runs.map((run) => column(series[run], 1))];
  const edges = [], filled = [];
  runs.forEach((run, index) => {
    if (!bands[run]?.length) return;
    const colour = lines[index].stroke;
    data.push(column(bands[run], 1), column(bands[run], 2));
    const low = 1 + runs.length + edges.length;
    edges.push(...[0, 1].map(() => ({ label: "", stroke: "transparent", spanGaps: true, points: { show: false } })));
    filled.push({ series: [low + 1, low], fill: `${colour}26` });
  });
  const axis = { stroke: ink, grid, ticks: grid, font: "11px system-ui" };
  const options = {
    width: 340, height, cursor: { points: { size: 7 }, sync: { key: sync.key } }, legend: { show: legend },
    scales: { x: { time: false }, y: { range } },
    axes: [{ ...axis, size: 30 }, { ...axis, size: 58, values: (_, ticks) => ticks.map((tick) => number(tick)) }],
    series: [{ label: "step", value: (_, value) => number(value) }, ...lines, ...edges], bands: filled,
  };
  const plot = new uPlot(options, data, box);
  [...box.querySelectorAll(".u-legend .u-series")].slice(1 + runs.length).forEach((row) => row.remove()); // edges of bands
  new ResizeObserver(() => { const width = box.clientWidth - 18; if (width > 80 && Math.abs(width - plot.width) > 2) plot.setSize({ width, height }); }).observe(box);
  return box;
}

// A point with its interval on a line from 0 to 1, with a mark where nothing would be amiss.
export function interval(found, ideal = null) {
  const x = (value) => `${(100 * value).toFixed(2)}%`;
  return el("span", { class: "interval", title: `95 % interval ${number(found.low)} to ${number(found.high)}` },
    ideal === null ? null : el("i", { class: "ideal", style: { left: x(ideal) } }),
    el("i", { class: "range", style: { left: x(found.low), width: x(found.high - found.low) } }),
    el("i", { class: "point", style: { left: x(found.value) } }));
}
