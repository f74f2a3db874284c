// All jobs as the server tells them, and those of them that the filters let through.

import { OVER, STATES } from "./words.js";

// The order of a card's members on the wire: that of `Card` and `File` in model.py.
const MEMBERS = ["number", "place", "id", "state", "status", "kind", "service", "model", "born", "moved", "ended", "expected",
  "title", "prompt", "reason", "detail", "category", "files", "expires"];
const FILE = ["kind", "state", "hasPicture", "duration", "title", "reason"];

const named = (members, values) => Object.fromEntries(members.map((member, place) => [member, values[place]]));

function cardOf(values) {
  const card = named(MEMBERS, values);
  card.files = card.files.map((file) => named(FILE, file));
  card.isOver = OVER.has(card.state);
  return card;
}

function wordsOf(card) {
  card.words ??= [card.id, card.kind, card.service, card.model, card.status, STATES[card.state], card.title, card.prompt,
    card.reason, card.detail].join(" ").toLowerCase();
  return card.words;
}

const ORDERS = {
  added: null,
  newest: (one, other) => other.number - one.number,
  moved: (one, other) => other.place - one.place,
  longest: (one, other) => one.isOver - other.isOver || one.born - other.born || one.number - other.number,
};

export class Store {
  constructor() {
    this.cards = new Map();
    this.coming = null;
    this.greeting = { boot: "", key: "", title: "", actions: [], has_files: false };
    this.totals = { states: {}, kinds: {}, reasons: [], dropped: 0, trouble: "", unread: 0 };
    this.budget = null;
    this.lag = 0;
    this.filter = { states: new Set(), kind: null, reason: null, text: "" };
    this.order = "added";
    this.version = 0;
    this.seen = -1;
    this.view = [];
  }

  take(name, value) {
    this.version += 1;
    switch (name) {
      case "hello":
        this.greeting = value;
        this.lag = value.now - Date.now() / 1000;
        // The old picture stays until the new one is whole.
        this.coming = value.resumes ? null : new Map();
        break;
      case "cards":
        for (const values of value) (this.coming ?? this.cards).set(values[0], cardOf(values));
        break;
      case "whole":
        if (this.coming) [this.cards, this.coming] = [this.coming, null];
        break;
      case "gone":
        for (const number of value) this.cards.delete(number);
        break;
      case "totals":
        this.totals = value;
        break;
      case "budget":
        this.budget = value;
        break;
      default:
    }
  }

  get now() {
    return Date.now() / 1000 + this.lag;
  }

  get isFiltered() {
    const { states, kind, reason, text } = this.filter;
    return states.size > 0 || kind !== null || reason !== null || text !== "";
  }

  setFilter(changes) {
    Object.assign(this.filter, changes);
    this.version += 1;
  }

  setOrder(order) {
    this.order = order;
    this.version += 1;
  }

  // The cards to show, in their order; the same array as long as nothing has changed.
  shown() {
    if (this.seen === this.version) return this.view;
    this.seen = this.version;
    const { states, kind, reason, text } = this.filter;
    const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (card) =>
      (!states.size || states.has(card.state)) &&
      (kind === null || card.kind === kind) &&
      (reason === null || (card.reason === reason && card.isOver)) &&
      wanted.every((word) => wordsOf(card).includes(word));
    const all = [...this.cards.values()];
    const view = this.isFiltered ? all.filter(fits) : all;
    // The server tells them by their last change; they are numbered as they came.
    this.view = view.sort(ORDERS[this.order] ?? ((one, other) => one.number - other.number));
    return this.view;
  }

  pictureOf(card) {
    if (!this.greeting.has_files) return null;
    const place = card.files.findIndex((file) => file.state === "ok" && file.hasPicture);
    return place < 0 ? null : `picture/${this.greeting.key}/${card.number}/${place}`;
  }

  fileOf(card, place) {
    return `file/${this.greeting.key}/${card.number}/${place}`;
  }
}
