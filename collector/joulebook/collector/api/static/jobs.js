// The table of jobs. A job that is opened shows where its energy went.

import { el, head } from "./dom.js";
import { duration, energy, joules, kilowattHours, moment, share, watts } from "./format.js";

const COLUMNS = [["Job"], ["Name"], ["User"], ["State"], ["Nodes", "number"], ["Started"], ["Duration", "number"],
  ["Mean power", "number"], ["Energy", "number"], ["Booked", "number", "Share of its time in which it received energy: else nobody watched, or it rested where that costs nothing"]];
const opened = new Set();

export const openJob = (job) => opened.add(job);

export function drawJobs(table, jobs, pick) {
  const rows = jobs.flatMap((job) => (opened.has(job.job) ? [row(job, pick), detail(job)] : [row(job, pick)]));
  if (!rows.length) rows.push(el("tr", {}, el("td", { colSpan: COLUMNS.length, className: "soft" }, "No jobs yet.")));
  table.replaceChildren(head(COLUMNS), el("tbody", {}, ...rows));
}

function row(job, redraw) {
  const open = opened.has(job.job);
  const toggle = el("button", { ariaExpanded: String(open), onclick: () => {
    if (open) opened.delete(job.job);
    else opened.add(job.job);
    redraw();
  } }, `${open ? "▾" : "▸"} ${job.job}${job.scheduler?.known_as ? ` (${job.scheduler.known_as})` : ""}`);
  const known = 1 - job.coverage.missing;
  const state = job.state === "running" ? "● running" : job.exit_status > 0 ? `○ ended, ${job.exit_status}` : "○ ended";
  const user = job.account ? `${job.user} (${job.account})` : job.user;
  return el("tr", { "data-job": job.job }, el("td", {}, toggle), el("td", {}, job.name), el("td", {}, user), el("td", {}, state),
    el("td", { className: "number", title: job.nodes.join(" ") }, String(job.nodes.length)),
    el("td", { title: job.start }, moment(job.start)),
    el("td", { className: "number" }, duration(job.duration_s)),
    el("td", { className: "number" }, watts(job.average_power_mw)),
    el("td", { className: "number", title: kilowattHours(job.energy_uj) }, energy(job.energy_uj, job.plus_minus_uj)),
    el("td", { className: known < 0.995 ? "number bad" : "number" }, share(known)));
}

function detail(job) {
  const list = el("dl");
  for (const [domain, uj] of Object.entries(job.by_domain)) {
    if (!uj) continue;
    const bar = el("span", { className: "bar" });
    bar.style.width = `${20 * uj / Math.max(1, job.energy_uj)}rem`;
    list.append(el("dt", {}, domain), el("dd", {}, bar, joules(uj)));
    if (domain !== "storage") continue;
    const tiers = Object.entries(job.storage_by_tier).filter(([, part]) => part);
    if (tiers.some(([tier]) => tier !== "other")) {
      list.append(...tiers.flatMap(([tier, part]) => [el("dt", {}, `storage, ${tier}`), el("dd", {}, joules(part))]));
    }
  }
  list.append(el("dt", {}, "used / held idle"), el("dd", {}, `${joules(job.active_uj)} / ${joules(job.idle_uj)}`),
    el("dt", {}, "measured / modelled / nothing booked"),
    el("dd", {}, ["measured", "modelled", "missing"].map((part) => share(job.coverage[part])).join(" / ")),
    el("dt", {}, "revision"), el("dd", {}, job.revised ? `${job.revision} since ${moment(job.revised)}` : String(job.revision)),
    el("dt", {}, "books"), el("dd", {}, job.settled ? "settled" : "provisional"),
    ...job.superseded.flatMap((was) => [el("dt", {}, `revision ${was.revision}`),
      el("dd", {}, `${energy(was.energy_uj, was.plus_minus_uj)} until ${moment(was.until)}`)]),
    el("dt", {}, "nodes"), el("dd", {}, job.nodes.slice(0, 40).join(" ") + (job.nodes.length > 40 ? " …" : "")));
  const told = job.scheduler;
  if (told) {
    const counts = [["node_count", "nodes"], ["cpus", "CPUs"], ["gpus", "GPUs"]].filter(([key]) => told[key] !== null);
    const times = ["submit", "start", "end"].filter((key) => told[key]).map((key) => `${key} ${moment(told[key])}`);
    const said = [told.state, told.partition && `partition ${told.partition}`, told.owner && `owner ${told.owner}`,
      ...counts.map(([key, what]) => `${told[key]} ${what}`), told.gpu_parts, ...times].filter(Boolean);
    if (said.length) list.append(el("dt", {}, "scheduler"), el("dd", {}, said.join(", ")));
  }
  return el("tr", { className: "detail" }, el("td", { colSpan: COLUMNS.length }, list));
}
