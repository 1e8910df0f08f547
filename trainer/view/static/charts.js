// Learning curves: several runs in one chart, told apart by colour (Okabe-Ito) and by dash.
import uPlot from "/static/uPlot.esm.js";
import { el } from "/static/dom.js";

const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"];
const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];
const FIRST = [/^reward/, /pass@/, /pass_at/, /greedy/, /distinct/, /entropy/, /kl/, /unscored/, /loss/];

const rank = (name) => { const at = FIRST.findIndex((pattern) => pattern.test(name.split("/").pop()) || pattern.test(name)); return at < 0 ? FIRST.length : at; };

export const order = (names) => [...names].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));

// series: {run: [[step, value], ...]}; steps of the runs need not agree.
export function chart(title, series) {
  const box = el("div", { class: "chart" }, el("h3", {}, title));
  const runs = Object.keys(series);
  const steps = [...new Set(runs.flatMap((run) => series[run].map(([step]) => step)))].sort((a, b) => a - b);
  const rows = runs.map((run) => { const at = new Map(series[run]); return steps.map((step) => at.get(step) ?? null); });
  const options = {
    width: 340, height: 210, cursor: { points: { size: 6 } },
    scales: { x: { time: false } },
    axes: [{ size: 34 }, { size: 52 }],
    series: [{ label: "step" }, ...runs.map((run, index) => ({
      label: run, stroke: COLOURS[index % COLOURS.length], width: 1.6, dash: DASHES[index % DASHES.length], spanGaps: true,
      points: { show: steps.length < 40, size: 4 },
    }))],
  };
  const plot = new uPlot(options, [steps, ...rows], box);
  new ResizeObserver(() => { const width = box.clientWidth - 16; if (width > 80 && Math.abs(width - plot.width) > 2) plot.setSize({ width, height: 210 }); }).observe(box);
  return box;
}
