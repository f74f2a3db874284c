// One card of the grid. Whatever a service or a prompt says is set as text, never as markup.

import { STATES, clock, count, glyph, kindName, reasonName, span } from "./words.js";

const template = document.getElementById("card");

export const nameOf = (card) => card.title || card.prompt || `Job ${card.id}`;

export function faceOf(card) {
  const file = card.files[0];
  const parts = [kindName(card.kind)];
  if (file?.duration) parts.push(clock(file.duration));
  return parts.join(" ");
}

export function timeOf(card, now) {
  if (card.isOver) return card.ended > card.born ? clock(card.ended - card.born) : "";
  const age = clock(now - card.born);
  if (!card.expected) return age;
  const left = card.expected - now;
  return left > 1 ? `${age} · ${clock(left)} left` : `${age} · any moment`;
}

export const stateOf = (card) =>
  card.isOver || card.state === "silent" ? STATES[card.state] : card.status ? reasonName(card.status) : "Not read yet";

// What a screen reader says: all that the card shows, in one sentence.
export function spokenOf(card, now) {
  const parts = [kindName(card.kind), stateOf(card)];
  if (card.isOver && card.ended > card.born) parts.push(`took ${span(card.ended - card.born)}`);
  if (!card.isOver) parts.push(`for ${span(now - card.born)}`);
  if (!card.isOver && card.expected) parts.push(card.expected > now ? `about ${span(card.expected - now)} left` : "should end any moment");
  if (card.files.length > 1) parts.push(count(card.files.length, "file"));
  if (card.isOver && card.reason) parts.push(reasonName(card.reason));
  return `${parts.join(", ")}: ${nameOf(card)}`;
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export class CardNode {
  constructor() {
    this.node = template.content.firstElementChild.cloneNode(true);
    const find = (selector) => this.node.querySelector(selector);
    this.glyph = find(".glyph use");
    this.kind = find(".kind use");
    this.image = find("img");
    this.why = find(".why");
    this.play = find(".play");
    this.playGlyph = find(".play use");
    this.many = find(".many");
    this.pulse = find(".pulse span");
    this.name = find(".name");
    this.word = find(".word");
    this.time = find(".time");
    this.card = null;
    this.picture = null;
    this.image.addEventListener("load", () => { this.image.hidden = false; });
    this.image.addEventListener("error", () => { this.image.hidden = true; });
  }

  show(card, picture, now) {
    if (this.card === card && this.picture === picture) {
      this.tick(now);
      return;
    }
    this.card = card;
    this.node.dataset.number = card.number;
    this.node.dataset.state = card.state;
    this.node.dataset.kind = card.kind;
    this.glyph.setAttribute("href", glyph(card.kind));
    this.kind.setAttribute("href", glyph(card.kind));
    this.play.hidden = !card.files.some((file) => file.state === "ok" && file.kind !== "image" && file.kind !== "gif");
    this.many.hidden = card.files.length < 2;
    put(this.many, `${card.files.filter((file) => file.state === "ok").length} / ${card.files.length}`);
    this.playGlyph.setAttribute("href", card.kind === "music" ? "#i-music" : "#i-play");
    put(this.name, nameOf(card));
    put(this.why, card.isOver && card.reason ? reasonName(card.reason) : "");
    put(this.word, stateOf(card));
    if (picture !== this.picture) {
      this.picture = picture;
      this.image.hidden = true;
      if (picture) this.image.src = picture;
      else this.image.removeAttribute("src");
    }
    this.tick(now);
  }

  tick(now) {
    const { card } = this;
    put(this.time, timeOf(card, now));
    const share = card.isOver || !card.expected ? 0 : Math.min(0.97, (now - card.born) / Math.max(1, card.expected - card.born));
    const scale = share.toFixed(3);
    if (this.scale !== scale) {
      this.scale = scale;
      this.pulse.style.transform = `scaleX(${scale})`;
    }
    const spoken = spokenOf(card, now);
    // Only what has the focus is read out: elsewhere a label that is a moment old does no harm.
    if (this.spoken !== spoken && (document.activeElement === this.node || this.spokenFor !== card)) {
      this.spoken = spoken;
      this.spokenFor = card;
      this.node.setAttribute("aria-label", spoken);
    }
  }
}
