// Figures as people read them. Whole µJ and mW come in; SI units go out.

const PREFIXES = [[1e18, "E"], [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"]];

function scale(value) {
  const size = Math.abs(value);
  return PREFIXES.find(([factor]) => size >= factor) ?? [1, ""];
}

function digits(value) {
  const size = Math.abs(value);
  return value.toFixed(size === 0 || size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

export function si(value, unit) {
  const [factor, prefix] = scale(value);
  return `${digits(value / factor)} ${prefix}${unit}`;
}

export const watts = (mw) => (mw === null ? "–" : si(mw / 1e3, "W"));
export const joules = (uj) => si(uj / 1e6, "J");

export function energy(uj, plusMinusUj) {
  const [factor, prefix] = scale(uj / 1e6);
  return `${digits(uj / 1e6 / factor)} ± ${digits(plusMinusUj / 1e6 / factor)} ${prefix}J`;
}

export const kilowattHours = (uj) => `${(uj / 3.6e12).toPrecision(3)} kWh`;
export const share = (part) => `${(100 * part).toFixed(part > 0 && part < 0.0995 ? 1 : 0)} %`;

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [d, h, m, s] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60];
  if (d) return `${d} d ${h} h`;
  if (h) return `${h} h ${m} min`;
  return m ? `${m} min ${s} s` : `${s} s`;
}

// The unit that a figure's name ends in, and how it is written; what has none stays as it is.
const WRITTEN = [["_uj", joules], ["_mw", watts], ["_us", (us) => duration(us / 1e6)], ["_ppm", (ppm) => share(ppm / 1e6)]];

export function figure(name, value) {
  const [suffix, write] = WRITTEN.find(([unit]) => name.endsWith(unit) && typeof value === "number") ?? ["", String];
  return [name.slice(0, name.length - suffix.length).replaceAll("_", " "), write(value)];
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const DAY = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hour12: false });

export function moment(text) {
  const then = new Date(text);
  return (Date.now() - then > 86400e3 ? DAY : CLOCK).format(then);
}
