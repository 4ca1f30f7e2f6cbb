// The page: what is chosen, what is asked, and what is drawn where. The choice is kept in the address.

import { counted, drawAlerts, inOrder, wantAlert } from "./alerts.js";
import { ask, every } from "./api.js";
import { drawPower, forget, resize } from "./chart.js";
import { choices, el } from "./dom.js";
import { duration, joules, kilowattHours, watts } from "./format.js";
import { drawJobs, openJob } from "./jobs.js";
import { drawNodes, speaks } from "./nodes.js";

const RANGES = [["15m", "15 min"], ["1h", "1 h"], ["6h", "6 h"], ["1d", "1 d"], ["7d", "7 d"]];
const STATES = [["", "all"], ["running", "running"], ["ended", "ended"]];
// As many as there are colours.
const JOBS_IN_CHART = 7;
const JOBS_A_PAGE = 50;
const OPEN_ALERTS = 200;
const RESOLVED_ALERTS = 20;
// The newest Reports are still on their way.
const LAG = "-15s";
const EVERY_MS = 10_000;

const place = (id) => document.getElementById(id);
const state = { nodes: [], jobs: [], cursor: null, job: "" };
const facts = new Map();
let asked = 0;

function choice() {
  const given = new URLSearchParams(location.hash.slice(1));
  const range = RANGES.some(([value]) => value === given.get("range")) ? given.get("range") : "1h";
  return { range, node: given.get("node") ?? "", jobs: given.get("jobs") ?? "" };
}

function choose(change) {
  const chosen = Object.entries({ ...choice(), ...change }).filter(([, value]) => value);
  location.hash = new URLSearchParams(chosen);
}

function note(name, value, more = "", bad = false) {
  facts.set(name, [value, more, bad]);
  const order = ["power now", "energy", "books", "nodes", "alerts"];
  place("summary").replaceChildren(...order.filter((each) => facts.has(each)).map((each) => {
    const [text, small, wrong] = facts.get(each);
    return el("div", {}, el("dt", {}, each), el("dd", { className: wrong ? "bad" : "" }, `${text} `, el("small", {}, small)));
  }));
}

function redrawJobs() {
  drawJobs(place("jobs"), state.jobs, redrawJobs);
  place("more").hidden = !state.cursor;
}

function redrawNodes() {
  drawNodes(place("nodes"), state.nodes, place("find").value.trim(), (node) => choose({ node }));
}

// Leads to a job's row, whether or not it is among those listed.
async function showJob(job) {
  state.job = job;
  openJob(job);
  try {
    state.jobs = await withShown(state.jobs);
    redrawJobs();
    place("jobs").querySelector(`[data-job="${CSS.escape(job)}"]`)?.scrollIntoView({ block: "center" });
  } catch (error) {
    state.job = "";
    complain(error);
  }
}

async function withShown(jobs) {
  if (!state.job || jobs.some(({ job }) => job === state.job)) return jobs;
  return [await ask(`jobs/${encodeURIComponent(state.job)}`), ...jobs];
}

async function alertsOf(node) {
  const some = (which, limit) => ask("alerts", { node, state: which, limit });
  return Promise.all([some("firing", OPEN_ALERTS), some("pending", OPEN_ALERTS), some("resolved", RESOLVED_ALERTS), every("rules", "rules")]);
}

function showAlerts([firing, pending, resolved, rules]) {
  const shown = inOrder(firing.alerts, pending.alerts, resolved.alerts);
  drawAlerts(place("alerts"), shown, rules, { node: (node) => choose({ node }), job: showJob });
  const open = counted(firing, pending);
  place("alerts-count").textContent = open || (shown.length ? "no alerts now" : "no alerts");
  place("alerts-count").className = firing.alerts.length ? "bad" : "soft";
  note("alerts", open || "none", "", firing.alerts.length > 0);
}

// Asks for everything that the choice needs; each part is drawn as it comes.
async function refresh() {
  const turn = ++asked;
  const { range, node, jobs } = choice();
  const from = `-${range}`;
  const current = (draw) => (answer) => { if (turn === asked) draw(answer); };
  const parts = [
    every("nodes", "nodes").then(current((nodes) => {
      state.nodes = nodes;
      redrawNodes();
      const seen = node ? nodes.filter((each) => each.node === node) : nodes;
      note("power now", watts(seen.reduce((sum, each) => sum + (each.power_mw ?? 0), 0)));
      const speaking = seen.filter(speaks).length;
      note("nodes", `${speaking} of ${seen.length}`, "reporting", speaking < seen.length);
    })),
    ask("power", { node, from, to: LAG, limit: JOBS_IN_CHART }).then(current((power) => drawPower(place("chart"), place("legend"), power))),
    ask("jobs", { node, state: jobs, limit: Math.min(1000, Math.max(JOBS_A_PAGE, state.jobs.length)) }).then(async (page) => {
      const listed = await withShown(page.jobs);
      current(() => {
        [state.jobs, state.cursor] = [listed, page.next_cursor];
        redrawJobs();
      })();
    }),
    alertsOf(node).then(current(showAlerts)),
    ask("ledger", { node, from }).then(current((ledger) => {
      const within = RANGES.find(([value]) => value === range)[1];
      // Of the ends of a range that is not whole hours, old books may be kept by the hour alone: no figure has any of it.
      const left = ledger.forgotten.reduce((sum, each) => sum + (new Date(each.to) - new Date(each.from)) / 1000, 0);
      note("energy", joules(ledger.measured_uj),
        `${kilowattHours(ledger.measured_uj)} in ${within}${left ? ` but ${duration(left)}, kept by whole hours only` : ""}`);
      const off = ledger.residual_uj !== 0;
      note("books", off ? "✕ off" : "✓ balanced", off ? `by ${joules(ledger.residual_uj)}` : "to the µJ", off);
    })),
  ];
  const failed = (await Promise.allSettled(parts)).find(({ status }) => status === "rejected");
  if (turn === asked) complain(failed?.reason);
}

function complain(error) {
  place("trouble").hidden = !error;
  place("trouble").textContent = error ? `Not all of this is new: ${error.message}` : "";
}

function show() {
  const { range, node, jobs } = choice();
  choices(place("ranges"), RANGES, range, (value) => choose({ range: value }));
  choices(place("states"), STATES, jobs, (value) => choose({ jobs: value }));
  place("scope").replaceChildren(...(node
    ? [`node ${node} `, el("button", { onclick: () => choose({ node: "" }) }, "show all nodes")] : ["all nodes"]));
  state.jobs = [];
  state.job = "";
  wantAlert(new URLSearchParams(location.hash.slice(1)).get("alert"));
  refresh();
}

async function more() {
  const { node, jobs } = choice();
  try {
    const page = await ask("jobs", { node, state: jobs, limit: JOBS_A_PAGE, cursor: state.cursor });
    state.jobs.push(...page.jobs);
    state.cursor = page.next_cursor;
    redrawJobs();
  } catch (error) {
    complain(error);
  }
}

addEventListener("hashchange", show);
addEventListener("resize", () => resize(place("chart")));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { forget(); refresh(); });
place("find").addEventListener("input", redrawNodes);
place("more").addEventListener("click", more);
setInterval(() => { if (!document.hidden) refresh(); }, EVERY_MS);
show();
