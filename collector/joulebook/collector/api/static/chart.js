// Power stacked by account: jobs at the bottom, what nobody used on top.

import { el } from "./dom.js";
import { si } from "./format.js";

// Okabe and Ito's colours, told apart with any kind of colour vision; the lines between layers do the rest.
const JOBS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"];
const OTHERS = { rest: "#8c7aa9", system: "#6b7782", agent: "#8a5a2b", unattributed: "#b03a5b" };
const ORDER = ["rest", "agent", "system", "unattributed", "idle"];
const NAMES = { rest: "all other jobs", unattributed: "unattributed (unwatched)", idle: "idle capacity" };
const HEIGHT = 320;

const taken = new Map();
let plot = null;
let shown = "";

function colour(account) {
  if (!account.startsWith("job:")) return OTHERS[account];
  if (!taken.has(account)) {
    const inUse = new Set(taken.values());
    taken.set(account, JOBS.find((each) => !inUse.has(each)) ?? JOBS[taken.size % JOBS.length]);
  }
  return taken.get(account);
}

function variable(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function stripes(context) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const draw = tile.getContext("2d");
  draw.fillStyle = variable("--stripe");
  draw.fillRect(0, 0, 8, 8);
  draw.strokeStyle = variable("--idle");
  draw.lineWidth = 2.5;
  for (const x of [-8, 0, 8]) {
    draw.beginPath();
    draw.moveTo(x - 1, 9);
    draw.lineTo(x + 9, -1);
    draw.stroke();
  }
  return context.createPattern(tile, "repeat");
}

// Layers from the bottom, each {account, watts: one a bucket}.
function layersOf(power) {
  // The first bucket and the last may be shorter than a step.
  const begins = [Math.max(Date.parse(power.from) / 1e3, power.times[0] - power.step_s), ...power.times];
  const toWatts = (values) => values.map((uj, i) => uj / 1e6 / (power.times[i] - begins[i]));
  const layers = power.accounts.map(({ account, energy_uj }) => ({ account, watts: toWatts(energy_uj) }));
  if (power.rest_uj.some(Boolean)) layers.push({ account: "rest", watts: toWatts(power.rest_uj) });
  // Colours go to the largest first, and stay with whom they were given to.
  const present = new Set(layers.map(({ account }) => account));
  for (const account of taken.keys()) if (!present.has(account)) taken.delete(account);
  for (const { account } of layers) colour(account);
  const place = (layer) => ORDER.indexOf(layer.account);
  return layers.sort((a, b) => place(a) - place(b));
}

function stacked(layers, count) {
  const sums = new Array(count).fill(0);
  return layers.map(({ watts }) => watts.map((value, i) => (sums[i] += value)));
}

export function drawPower(place, legend, power) {
  const layers = layersOf(power);
  const tops = stacked(layers, power.times.length);
  const total = tops.at(-1) ?? [];
  // Nothing was booked: nothing is known, which is not the same as no power.
  const known = tops.map((top) => top.map((value, i) => (total[i] > 0 ? value : null)));
  const tell = (at) => drawLegend(legend, layers, power.times, at);
  const key = JSON.stringify([layers.map(({ account }) => account), power.step_s]);
  const data = [power.times, ...known.toReversed()];
  if (plot && key === shown) plot.setData(data);
  else {
    plot?.destroy();
    plot = build(place, layers, data);
    shown = key;
  }
  plot.tell = tell;
  tell(null);
}

export function resize(place) {
  plot?.setSize({ width: place.clientWidth, height: HEIGHT });
}

export function forget() {
  plot?.destroy();
  plot = null;
}

function build(place, layers, data) {
  const axis = {
    stroke: () => variable("--soft"),
    grid: { stroke: () => variable("--line"), width: 1 },
    ticks: { show: false },
    font: "12px system-ui, sans-serif",
  };
  const series = layers.toReversed().map(({ account }) => ({
    label: account,
    stroke: () => variable("--ground"),
    width: 1,
    fill: (self) => (account === "idle" ? stripes(self.ctx) : colour(account)),
    paths: uPlot.paths.stepped({ align: -1 }),
    points: { show: false },
  }));
  return new uPlot({
    width: place.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
    scales: { y: { range: (_, __, most) => [0, (most || 1) * 1.05] } },
    axes: [{ ...axis, size: 28, values: [[86400, "{MMM} {D}", null, null, null, null, null, null, 0],
      [3600, "{HH}:{mm}", null, null, null, null, null, null, 0],
      [60, "{HH}:{mm}", null, null, null, null, null, null, 0],
      [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 0]] },
    { ...axis, size: 64, values: (_, ticks) => ticks.map((value) => si(value, "W").replace(/\.0+ /, " ")) }],
    series: [{}, ...series],
    hooks: { setCursor: [(self) => self.tell?.(self.cursor.idx)] },
  }, data, place);
}

function drawLegend(legend, layers, times, at) {
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.filter(Boolean).length);
  const when = at === null || at === undefined ? "mean" : new Date(times[at] * 1e3).toLocaleTimeString(undefined, { hour12: false });
  const rows = layers.toReversed().map(({ account, watts }) => {
    const swatch = el("span", { className: account === "idle" ? "swatch idle" : "swatch" });
    if (account !== "idle") swatch.style.background = colour(account);
    const name = NAMES[account] ?? account.replace(/^job:/, "");
    return el("li", {}, swatch, el("span", { className: "name", title: name }, name),
      el("span", {}, si(when === "mean" ? mean(watts) : watts[at], "W")));
  });
  const label = el("span", { className: "name" }, "account");
  legend.replaceChildren(el("li", { className: "head" }, el("span"), label, el("span", {}, when)), ...rows);
}
