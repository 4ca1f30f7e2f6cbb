// The table of alerts: what fires first, then what may come to fire, then what was resolved.

import { el, head } from "./dom.js";
import { duration, figure, joules, moment } from "./format.js";

const COLUMNS = [["Alert"], ["State"], ["Where"], ["Since"], ["For", "number"],
  ["Wasted", "number", "Energy that did no work while the condition held"]];
const STATES = ["firing", "pending", "resolved"];
const SEVERITIES = ["critical", "warning", "info"];
const MARKS = { firing: "●", pending: "◐", resolved: "○" };
const opened = new Set();
let wanted = null;

// An alert that a link leads to: it is opened, and shown once it is drawn.
export function wantAlert(id) {
  wanted = id;
  if (id) opened.add(id);
}

// Each alert once, as it may go from a state to the next between the questions; in a state the gravest first.
export function inOrder(...lists) {
  const each = new Map(lists.flat().map((alert) => [alert.id, alert]));
  const rank = ({ state, severity }) => 10 * STATES.indexOf(state) + (state === "resolved" ? 0 : SEVERITIES.indexOf(severity));
  return [...each.values()].sort((a, b) => rank(a) - rank(b));
}

export function drawAlerts(table, alerts, rules, pick) {
  const known = new Map(rules.map((rule) => [rule.name, rule]));
  const redraw = () => drawAlerts(table, alerts, rules, pick);
  const rows = alerts.flatMap((alert) => [row(alert, pick, redraw), ...(opened.has(alert.id) ? [detail(alert, known.get(alert.rule))] : [])]);
  table.hidden = !alerts.length;
  table.replaceChildren(head(COLUMNS), el("tbody", {}, ...rows));
  if (!wanted || !alerts.length) return;
  table.querySelector(`[data-alert="${CSS.escape(wanted)}"]`)?.scrollIntoView({ block: "center" });
  wanted = null;
}

export function counted(firing, pending) {
  const some = ({ alerts, next_cursor: more }, state) => (alerts.length ? [`${alerts.length}${more ? "+" : ""} ${state}`] : []);
  return [...some(firing, "firing"), ...some(pending, "pending")].join(", ");
}

function row(alert, pick, redraw) {
  const open = opened.has(alert.id);
  const toggle = el("button", { ariaExpanded: String(open), onclick: () => {
    if (open) opened.delete(alert.id);
    else opened.add(alert.id);
    redraw();
  } }, `${open ? "▾" : "▸"} ${alert.title}`);
  const critical = alert.severity === "critical" ? [" ", el("span", { className: "severity" }, alert.severity)] : [];
  return el("tr", { "data-alert": alert.id },
    el("td", {}, toggle, ...critical),
    el("td", { className: `state ${alert.state}` }, `${MARKS[alert.state]} ${alert.state}`),
    el("td", {}, ...where(alert.labels, pick)),
    el("td", { title: alert.since }, moment(alert.since)),
    el("td", { className: "number" }, duration(lengthS(alert))),
    el("td", { className: "number" }, alert.wasted_uj === null ? "–" : joules(alert.wasted_uj)));
}

const lengthS = (alert) => (new Date(alert.resolved ?? alert.seen) - new Date(alert.since)) / 1e3;

function where({ gpu, node, job, user }, pick) {
  const holder = job && [el("button", { title: "Show this job", onclick: () => pick.job(job) }, job), user ? ` (${user})` : ""];
  const place = node && el("button", { title: "Show this node alone", onclick: () => pick.node(node) }, node);
  if (!gpu) return [...(holder ? [...holder, node ? " on " : ""] : []), place ?? ""];
  return [gpu, ...(place ? [" on ", place] : []), ...(holder ? [", held by ", ...holder] : [])];
}

function detail(alert, rule) {
  const facts = Object.entries(alert.evidence).map(([name, value]) => figure(name, value));
  facts.push(["watched for", duration(alert.observed_s)]);
  if (alert.firing) facts.push(["fires since", moment(alert.firing)]);
  if (alert.resolved) facts.push(["resolved", `${moment(alert.resolved)}${alert.resolution ? `, ${alert.resolution}` : ""}`]);
  const list = el("dl", { className: "facts" }, ...facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  const advice = rule ? [el("p", {}, `→ ${rule.advice}`), el("p", { className: "soft" }, `Fires when ${rule.condition}.`)] : [];
  return el("tr", { className: "detail" }, el("td", { colSpan: COLUMNS.length }, el("p", {}, alert.summary), list, ...advice));
}
