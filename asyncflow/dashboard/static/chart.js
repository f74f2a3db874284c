// The request budget over time: a bar for each step, what was refused with 429 on top.

import { clock, count, number } from "./words.js";

const SPACE = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 72;

function bar(kind, x, y, width, height) {
  const node = document.createElementNS(SPACE, "rect");
  for (const [name, value] of Object.entries({ class: kind, x, y, width, height, rx: Math.min(1.2, width / 2) })) {
    node.setAttribute(name, typeof value === "number" ? value.toFixed(2) : value);
  }
  return node;
}

// As many columns as can be told apart, each the sum of its steps.
function columns(series, most) {
  const share = Math.max(1, Math.ceil(series.length / most));
  const sums = [];
  for (let start = 0; start < series.length; start += share) sums.push(series.slice(start, start + share).reduce((sum, value) => sum + value, 0));
  return [sums, share];
}

export function drawChart(box, axis, gauges, budget) {
  const [requests, share] = columns(budget.requests, 60);
  const [refused] = columns(budget.throttled, 60);
  const seconds = budget.step * share;
  const top = Math.max(1, ...requests);
  const slots = Math.max(requests.length, 24);
  const width = WIDTH / slots;
  const svg = document.createElementNS(SPACE, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.append(bar("ground", 0, HEIGHT - 1, WIDTH, 1));
  requests.forEach((value, place) => {
    const x = (slots - requests.length + place) * width + width * 0.14;
    const all = (value / top) * (HEIGHT - 4);
    const bad = (Math.min(refused[place], value) / top) * (HEIGHT - 4);
    if (value) svg.append(bar("good", x, HEIGHT - 1 - all, width * 0.72, all));
    if (refused[place]) svg.append(bar("bad", x, HEIGHT - 1 - Math.max(all, 3), width * 0.72, Math.max(bad, 3)));
  });
  box.replaceChildren(svg);
  const length = budget.step * budget.requests.length;
  axis.textContent = length ? `${clock(Math.max(length, (slots - requests.length) * seconds + length))} ago` : "";
  const peak = top / seconds;
  const text = `${count(budget.total, "request")} in all, ${number(budget.refused)} refused with 429, at most ${peak.toFixed(1)} a second.`;
  box.setAttribute("aria-label", text);
  const recent = budget.requests.slice(-3);
  const rate = recent.length ? recent.reduce((sum, value) => sum + value, 0) / (recent.length * budget.step) : 0;
  const facts = [["Now", `${rate.toFixed(1)} / s`], ["In all", number(budget.total)], ["429", number(budget.refused)]];
  if (budget.paused > 0) facts.push(["Paused", clock(budget.paused)]);
  else if (budget.circuit === "open") facts.push(["Service", "not answering"]);
  gauges.replaceChildren(
    ...facts.map(([name, value]) => {
      const group = document.createElement("div");
      const term = document.createElement("dt");
      const fact = document.createElement("dd");
      term.textContent = name;
      fact.textContent = value;
      if ((name === "429" && budget.refused) || name === "Paused" || name === "Service") group.className = "warns";
      group.append(term, fact);
      return group;
    }),
  );
}
