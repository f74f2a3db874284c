// What things are called, and how times and numbers are written.

export const STATES = {
  running: "Running",
  silent: "No answer",
  succeeded: "Succeeded",
  partial: "Partial",
  no_output: "No output",
  failed: "Failed",
  abandoned: "Given up",
};

export const OVER = new Set(["succeeded", "partial", "no_output", "failed", "abandoned"]);
export const BAD = new Set(["partial", "no_output", "failed", "abandoned"]);

const KINDS = { video: "Video", image: "Image", music: "Song", gif: "GIF" };
const PLURALS = { video: "Videos", image: "Images", music: "Songs", gif: "GIFs" };

// The families of causes: what they are called, and what to do.
export const FAMILIES = {
  policy: ["Content policy", "The same prompt will be refused again."],
  captcha: ["Captcha", "It was not accepted. Later, or with another captcha service, it may be."],
  account_cooldown: ["Account", "It has to rest for a while."],
  capacity: ["Capacity", "The service had too much to do. It may work later."],
};

export const kindName = (kind) => KINDS[kind] ?? (kind ? kind[0].toUpperCase() + kind.slice(1) : "Job");
export const kindPlural = (kind) => PLURALS[kind] ?? (kind ? kindName(kind) : "Others");
export const glyph = (kind) => `#i-${kind in KINDS && kind !== "gif" ? kind : kind === "gif" ? "image" : "other"}`;

const numbers = new Intl.NumberFormat("en");
export const number = (value) => numbers.format(value);
export const count = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;

// 1:05, 12:40, 1:02:07
export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [Math.floor(whole / 60) % 60, whole % 60];
  const hours = Math.floor(whole / 3600);
  const rest = `${hours ? String(parts[0]).padStart(2, "0") : parts[0]}:${String(parts[1]).padStart(2, "0")}`;
  return hours >= 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : hours ? `${hours}:${rest}` : rest;
}

// for listeners and sentences: 45 seconds, 3 minutes
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 100) return count(whole, "second");
  if (whole < 5400) return count(Math.round(whole / 60), "minute");
  if (whole < 129600) return count(Math.round(whole / 3600), "hour");
  return count(Math.round(whole / 86400), "day");
}

const sameDay = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const otherDay = new Intl.DateTimeFormat([], { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
export function moment(epoch) {
  const date = new Date(epoch * 1000);
  return (Date.now() - date.getTime() < 43200000 ? sameDay : otherDay).format(date);
}

// PUBLIC_ERROR_UNSAFE_GENERATION -> Unsafe generation
export function reasonName(reason) {
  if (!/^[A-Z0-9_]{4,}$/.test(reason)) return reason ? reason[0].toUpperCase() + reason.slice(1) : reason;
  const words = reason.replace(/^PUBLIC_ERROR_/, "").replaceAll("_", " ").trim().toLowerCase();
  const named = words.replace(/\b(ip|ai|api|nsfw)\b/g, (word) => word.toUpperCase());
  return named ? named[0].toUpperCase() + named.slice(1) : reason;
}
