// Puts the page together: what comes in from the stream, what the filters want, and what is said aloud.

import { drawChart } from "./chart.js";
import { Detail } from "./detail.js";
import { Grid } from "./grid.js";
import { Store } from "./store.js";
import { Stream } from "./stream.js";
import { BAD, FAMILIES, OVER, STATES, clock, count, kindPlural, number, reasonName, span } from "./words.js";

const find = (name) => document.getElementById(name);
const RARE = new Set(["silent", "abandoned", "partial", "no_output"]);
const SPEAK = 15000;

// The token comes in the fragment, which browsers send to nobody; from the address bar it goes at once.
function takeToken() {
  const given = location.hash.slice(1);
  const isToken = /^[A-Za-z0-9._~-]{16,}$/.test(given);
  try {
    if (isToken) sessionStorage.setItem("asyncflow-token", given);
    if (isToken) history.replaceState(null, "", location.pathname + location.search);
    return isToken ? given : sessionStorage.getItem("asyncflow-token");
  } catch {
    return isToken ? given : null;
  }
}

const store = new Store();
const token = takeToken();
const grid = new Grid(find("jobs"), store, (card) => detail.open(card));
const detail = new Detail(store, grid, token);
let line = "waiting";
let spokenAt = 0;
let spokenText = "";
let pending = 0;

// -- the connection

const LINES = { waiting: "Connecting", live: "Live", lost: "Reconnecting", over: "Ended", refused: "Not connected", strange: "Not connected" };

function setLine(state) {
  if (line === state) return;
  line = state;
  find("line").dataset.state = state;
  find("line-text").textContent = LINES[state];
  if (state === "lost") speak("Connection lost. Trying again.");
  if (state === "over") speak("The watch has ended.");
  if (state === "refused") notice("This page needs its link", "Open the link that asyncflow printed. It ends with # and a long word: the key to this page. A new watch has a new one.");
  if (state === "strange") notice("This name is not known here", "Open the page by the address that asyncflow printed, or name this host where the dashboard is made.");
  draw();
}

function notice(title, text) {
  find("notice-title").textContent = title;
  find("notice-text").textContent = text;
  find("notice").hidden = false;
  find("board").hidden = true;
}

function speak(text) {
  find("spoken").textContent = text;
}

// -- numbers

const sum = (counts, of = () => true) => Object.entries(counts).reduce((total, [name, value]) => total + (of(name) ? value : 0), 0);

function drawHeadline() {
  const { states, unread = 0, expected_end: end } = store.totals;
  const all = sum(states) + unread;
  const done = sum(states, (state) => OVER.has(state));
  const bad = sum(states, (state) => BAD.has(state));
  find("done").textContent = number(done);
  find("all").textContent = number(all);
  find("all-noun").textContent = all === 1 ? "job" : "jobs";
  const title = store.greeting.title || "asyncflow";
  find("title").textContent = title;
  document.title = all ? `${done === all ? "✓ " : ""}${done}/${all}${bad ? `, ${bad} not good` : ""} · ${title}` : title;
  const left = end ? end - store.now : 0;
  const words = [];
  if (store.totals.trouble) words.push(store.totals.trouble);
  else if (done < all && line === "live" && left > 1) words.push(`about ${span(left)} left`);
  if (unread) words.push(`${number(unread)} not read yet`);
  if (store.totals.dropped) words.push(`the oldest ${number(store.totals.dropped)} are counted, not shown`);
  find("when").textContent = words.join(" · ");
  const text = `${number(done)} of ${count(all, "job")} done${bad ? `, ${number(bad)} not good` : ""}.`;
  if (all && text !== spokenText && Date.now() - spokenAt > SPEAK && line === "live") {
    spokenAt = Date.now();
    spokenText = text;
    speak(text);
  }
}

function drawBar() {
  const { states, unread = 0 } = store.totals;
  const all = Math.max(1, sum(states) + unread);
  const box = find("bar");
  for (const state of ["succeeded", "partial", "no_output", "failed", "abandoned", "silent", "running"]) {
    let part = box.querySelector(`[data-state="${state}"]`);
    if (!part) {
      part = document.createElement("span");
      part.dataset.state = state;
      box.append(part);
    }
    part.style.flexGrow = (states[state] ?? 0) / all;
    part.hidden = !states[state];
  }
}

function toggle(box, key, label, value, isOn, act) {
  let button = box.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (!button) {
    button = document.createElement("button");
    button.type = "button";
    button.dataset.key = key;
    const parts = ["count", "label"].map((name) => Object.assign(document.createElement("span"), { className: name }));
    button.append(...parts);
    button.addEventListener("click", act);
    box.append(button);
  }
  const [counted, named] = button.children;
  if (counted.textContent !== value) counted.textContent = value;
  if (named.textContent !== label) named.textContent = label;
  button.setAttribute("aria-pressed", isOn);
  return button;
}

function drawTiles() {
  const box = find("tiles");
  for (const [state, label] of Object.entries(STATES)) {
    const value = store.totals.states[state] ?? 0;
    const isOn = store.filter.states.has(state);
    const tile = toggle(box, state, label, number(value), isOn, () => {
      const states = new Set(store.filter.states);
      if (!states.delete(state)) states.add(state);
      store.setFilter({ states });
      changed();
    });
    tile.dataset.state = state;
    tile.dataset.empty = value === 0;
    tile.hidden = RARE.has(state) && value === 0 && !isOn;
  }
}

function drawKinds() {
  const box = find("kinds");
  const kinds = Object.keys(store.totals.kinds).sort();
  box.hidden = kinds.length < 2;
  const choose = (kind) => () => {
    store.setFilter({ kind });
    changed();
  };
  toggle(box, "all", "All", "", store.filter.kind === null, choose(null));
  for (const kind of kinds) toggle(box, `kind ${kind}`, kindPlural(kind), number(store.totals.kinds[kind]), store.filter.kind === kind, choose(kind));
  for (const button of [...box.children]) {
    const { key } = button.dataset;
    if (key !== "all" && !kinds.includes(key.slice(5))) button.remove();
  }
}

function drawReasons() {
  const { reasons } = store.totals;
  find("failures").hidden = !reasons.length;
  const top = Math.max(1, ...reasons.map(([, value]) => value));
  const box = find("reasons");
  const items = reasons.slice(0, 12).map(([reason, value, category], place) => {
    let item = box.children[place];
    if (!item) {
      item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.append(...["reason", "count", "gauge", "family"].map((name) => Object.assign(document.createElement("span"), { className: name })));
      button.addEventListener("click", () => {
        const chosen = button.dataset.reason;
        store.setFilter({ reason: store.filter.reason === chosen ? null : chosen });
        changed();
      });
      item.append(button);
    }
    const button = item.firstElementChild;
    const [name, counted, gauge, family] = button.children;
    button.dataset.reason = reason;
    button.setAttribute("aria-pressed", store.filter.reason === reason);
    if (name.textContent !== reasonName(reason)) name.textContent = reasonName(reason);
    counted.textContent = number(value);
    gauge.style.transform = `scaleX(${(value / top).toFixed(3)})`;
    family.textContent = FAMILIES[category]?.[0] ?? "";
    family.hidden = !family.textContent;
    return item;
  });
  const families = Object.keys(FAMILIES).filter((family) => reasons.some(([, , category]) => category === family));
  if (find("hints").dataset.families !== families.join()) {
    find("hints").dataset.families = families.join();
    find("hints").replaceChildren(...families.flatMap((family) => FAMILIES[family].map((text, place) => Object.assign(document.createElement(place ? "dd" : "dt"), { textContent: text }))));
  }
  if (items.length !== box.children.length || items.some((item) => item.parentNode !== box)) box.replaceChildren(...items);
}

function drawRequests() {
  const { budget } = store;
  find("requests").hidden = !budget;
  if (budget && find("requests").open && budget !== drawRequests.drawn) {
    drawRequests.drawn = budget;
    drawChart(find("chart"), find("axis-start"), find("gauges"), budget);
  }
}

function drawJobs() {
  const view = store.shown();
  grid.show(view);
  const isEmpty = view.length === 0;
  find("empty").hidden = !isEmpty;
  find("clear").hidden = !store.isFiltered;
  if (isEmpty) {
    const [title, text] = store.isFiltered
      ? ["No job is like that", "Other filters, or other words, may find some."]
      : line === "over" ? ["Nothing was watched", "There was no job to show."] : ["No jobs yet", "As soon as the first one is read, it appears here."];
    find("empty-title").textContent = title;
    find("empty-text").textContent = text;
  }
  const hasNothing = store.cards.size === 0 && !store.totals.unread && !store.totals.dropped;
  find("progress").hidden = find("tools").hidden = hasNothing;
  document.querySelector(".side").hidden = hasNothing;
  find("empty").dataset.waits = line === "live";
  const found = store.isFiltered ? `${count(view.length, "job")} of ${number(store.cards.size)}` : "";
  if (find("found").textContent !== found) find("found").textContent = found;
  find("found").hidden = !found;
}

function draw() {
  if (line === "refused" || line === "strange") return;
  find("notice").hidden = true;
  find("board").hidden = !store.greeting.boot;
  if (!store.greeting.boot) return;
  drawHeadline();
  drawBar();
  drawTiles();
  drawKinds();
  drawReasons();
  drawRequests();
  drawJobs();
  detail.draw();
}

// Many messages make one picture.
function soon() {
  if (!pending) {
    pending = requestAnimationFrame(() => {
      pending = 0;
      draw();
    });
  }
}

function changed() {
  draw();
  if (store.isFiltered) speak(`${count(store.shown().length, "job")} shown.`);
}

// -- what the user does

let typing = 0;
find("search").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    store.setFilter({ text: event.target.value.trim() });
    changed();
  }, 120);
});
find("order").addEventListener("change", (event) => {
  store.setOrder(event.target.value);
  draw();
});
find("clear").addEventListener("click", () => {
  find("search").value = "";
  store.setFilter({ states: new Set(), kind: null, reason: null, text: "" });
  changed();
  find("search").focus();
});
find("requests").addEventListener("toggle", () => drawRequests());
addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input, select, textarea, dialog");
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    find("search").focus();
  }
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  grid.focus(Math.max(0, grid.placeOfActive()));
});
if (matchMedia("(max-width: 899px)").matches) for (const panel of document.querySelectorAll(".panel")) panel.open = false;

setInterval(() => {
  if (document.visibilityState !== "visible") return;
  grid.tick();
  if (line === "live") drawHeadline();
  if (detail.isOpen && detail.drawn) detail.tick(detail.drawn);
}, 1000);

const stream = new Stream(token, {
  onMessage(name, value) {
    store.take(name, value);
    if (name === "over") return;
    if (name === "whole" || (name === "hello" && value.resumes)) setLine("live");
    // Until the picture is whole there is nothing new to be seen.
    if (!store.coming) soon();
  },
  onState: setLine,
});
stream.start();
