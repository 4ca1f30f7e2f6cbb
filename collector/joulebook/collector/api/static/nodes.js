// The table of nodes, those with trouble first. What is wrong comes with what mends it.

import { el, head } from "./dom.js";
import { duration, watts } from "./format.js";

const COLUMNS = [["Node"], ["Power now", "number"], ["Jobs", "number"], ["Last report", "number"], ["Sources"]];
const MARKS = { working: "✓", suspect: "!", unreadable: "✕" };
const SILENT_S = 60;

const ageS = (node) => (Date.now() - new Date(node.last_report)) / 1e3;
const wrong = (node) => node.sources.filter(({ state }) => state === "suspect" || state === "unreadable");
export const speaks = (node) => ageS(node) < SILENT_S;

export function drawNodes(table, nodes, find, choose) {
  const words = find.toLowerCase();
  const fits = (node) => !words || node.node.toLowerCase().includes(words)
    || wrong(node).some(({ name, state }) => name.includes(words) || state.includes(words));
  const trouble = (node) => (speaks(node) && !wrong(node).length ? 1 : 0);
  const rows = nodes.filter(fits).sort((a, b) => trouble(a) - trouble(b)).map((node) => row(node, choose));
  if (!rows.length) rows.push(el("tr", {}, el("td", { colSpan: COLUMNS.length, className: "soft" }, "No such node.")));
  table.replaceChildren(head(COLUMNS), el("tbody", {}, ...rows));
}

function row(node, choose) {
  const name = el("button", { title: "Show this node alone", onclick: () => choose(node.node) }, node.node);
  const working = node.sources.filter(({ state }) => state === "working").map((source) => source.name);
  const sources = el("td");
  for (const { name: source, state, reason, fix } of wrong(node)) {
    sources.append(el("div", {}, el("span", { className: "bad" }, `${MARKS[state]} ${source} ${state}`),
      `: ${reason}`, fix ? el("span", { className: "soft" }, ` → ${fix}`) : ""));
  }
  if (working.length) sources.append(el("span", { title: working.join(" ") }, `${MARKS.working} ${working.length} working`));
  return el("tr", {}, el("td", {}, name),
    el("td", { className: "number" }, watts(node.power_mw)),
    el("td", { className: "number", title: node.jobs.join(" ") }, String(node.jobs.length)),
    el("td", { className: speaks(node) ? "number" : "number bad", title: node.last_report },
      speaks(node) ? `${duration(ageS(node))} ago` : `silent for ${duration(ageS(node))}`),
    sources);
}
