// One job at a time, large: its files to look at or to play, and all that is known of it.

import { faceOf, nameOf, stateOf } from "./card.js";
import { FAMILIES, clock, count, glyph, kindName, moment, reasonName } from "./words.js";

const SPACE = "http://www.w3.org/2000/svg";
const find = (name) => document.getElementById(name);

function icon(name) {
  const svg = document.createElementNS(SPACE, "svg");
  const use = document.createElementNS(SPACE, "use");
  use.setAttribute("href", name);
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

function fact(name, value) {
  const group = document.createElement("div");
  const term = document.createElement("dt");
  const text = document.createElement("dd");
  term.textContent = name;
  text.textContent = value;
  group.append(term, text);
  return group;
}

export class Detail {
  constructor(store, grid, token) {
    this.store = store;
    this.grid = grid;
    this.token = token;
    this.box = find("detail");
    this.number = null;
    this.drawn = null;
    this.place = 0;
    find("detail-close").addEventListener("click", () => this.box.close());
    find("detail-before").addEventListener("click", () => this.step(-1));
    find("detail-after").addEventListener("click", () => this.step(1));
    this.box.addEventListener("click", (event) => event.target === this.box && this.box.close());
    this.box.addEventListener("close", () => this.closed());
    this.box.addEventListener("keydown", (event) => this.pressed(event));
  }

  get isOpen() {
    return this.box.open;
  }

  open(card, { plays = true } = {}) {
    this.number = card.number;
    this.id = card.id;
    this.place = Math.max(0, card.files.findIndex((file) => file.state === "ok"));
    this.drawn = null;
    this.plays = plays;
    find("act-said").textContent = "";
    this.draw();
    if (!this.box.open) this.box.showModal();
    find("detail-title").focus({ preventScroll: true });
    this.box.querySelector(".detail-body").scrollTop = 0;
  }

  closed() {
    find("stage").replaceChildren();
    const place = this.store.shown().findIndex((card) => card.number === this.number);
    this.number = null;
    if (place >= 0) this.grid.focus(place);
  }

  step(by) {
    const view = this.store.shown();
    const place = view.findIndex((card) => card.number === this.number);
    const next = view[place + by];
    const player = find("stage").querySelector("video, audio");
    // Whoever has paused one is not to be sung at by the next.
    if (place >= 0 && next) this.open(next, { plays: !player || !player.paused || player.ended });
  }

  pressed(event) {
    if (event.target.closest("video, audio, input") || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowLeft") this.step(-1);
    else if (event.key === "ArrowRight") this.step(1);
    else return;
    event.preventDefault();
  }

  // Called whenever something has changed; what plays goes on playing.
  draw() {
    if (this.number === null) return;
    let card = this.store.cards.get(this.number);
    if (card?.id !== this.id) {
      // After a restart of the server its numbers are other ones.
      card = [...this.store.cards.values()].find((other) => other.id === this.id);
      if (!card) return;
      this.number = card.number;
      this.drawn = null;
    }
    if (this.drawn === card) {
      this.tick(card);
      return;
    }
    const isSame = this.drawn && this.drawn.files.length === card.files.length && this.drawn.state === card.state;
    this.drawn = card;
    find("detail-badge").dataset.state = card.state;
    const dot = document.createElement("span");
    dot.className = "dot";
    find("detail-badge").replaceChildren(dot, `${faceOf(card)} · ${stateOf(card)}`);
    find("detail-title").textContent = card.title || `Job ${card.id}`;
    const view = this.store.shown();
    const place = view.findIndex((other) => other.number === card.number);
    find("detail-before").disabled = place <= 0;
    find("detail-after").disabled = place < 0 || place >= view.length - 1;
    if (!isSame) this.stage(card);
    this.strip(card);
    const { reason, detail, category } = card;
    const blame = [reason && card.isOver ? reasonName(reason) : "", detail, FAMILIES[category]?.join(": ")].filter(Boolean);
    find("blame").hidden = !blame.length;
    find("blame").textContent = [...new Set(blame)].map((text) => (/[.!?…]$/.test(text) ? text : `${text}.`)).join(" ");
    find("prompt").hidden = !card.prompt;
    find("prompt").textContent = card.prompt;
    this.acts(card);
    this.tick(card);
  }

  stage(card) {
    const file = card.files[this.place];
    const box = find("stage");
    const link = this.store.fileOf(card, this.place);
    const makers = {
      video: () => Object.assign(document.createElement("video"), { controls: true, loop: true, playsInline: true, src: link }),
      music: () => this.song(card, link),
      image: () => Object.assign(document.createElement("img"), { src: link, alt: card.prompt || "Generated image" }),
    };
    const make = makers[file?.kind === "gif" ? "image" : file?.kind];
    if (file?.state === "ok" && make && this.store.greeting.has_files) {
      const node = make();
      const player = node.matches("video, audio") ? node : node.querySelector("audio");
      node.addEventListener("error", () => this.stub(card, "The file cannot be shown: its link may have run out."), { once: true });
      player?.addEventListener("error", () => this.stub(card, "The file cannot be played: its link may have run out."), { once: true });
      box.replaceChildren(node);
      // The click that opened this is the browser's leave to play.
      if (player && this.plays) player.play().catch(() => {});
    } else {
      this.stub(card, file ? this.lack(file) : card.isOver ? "There is no file." : "");
    }
    box.dataset.kind = card.kind;
  }

  lack(file) {
    if (file.state === "ok") return "Files are not shown here.";
    return file.state === "failed" ? `There is no file: ${reasonName(file.reason || "refused").toLowerCase()}.` : "There is no file, and no reason was given.";
  }

  song(card, link) {
    const node = document.createElement("div");
    node.className = "song";
    const picture = this.store.pictureOf(card);
    const art = picture ? Object.assign(document.createElement("img"), { src: picture, alt: "" }) : icon("#i-music");
    node.append(art, Object.assign(document.createElement("audio"), { controls: true, src: link }));
    return node;
  }

  stub(card, text) {
    const node = document.createElement("div");
    node.className = "stub";
    const line = document.createElement("p");
    line.textContent = text;
    node.append(icon(glyph(card.kind)), line);
    find("stage").replaceChildren(node);
  }

  strip(card) {
    const box = find("strip");
    box.hidden = card.files.length < 2;
    box.replaceChildren(
      ...card.files.map((file, place) => {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "plain";
        button.textContent = `${kindName(file.kind)} ${place + 1}${file.state === "ok" ? "" : " (missing)"}`;
        button.setAttribute("aria-pressed", place === this.place);
        button.addEventListener("click", () => {
          this.place = place;
          this.plays = true;
          this.stage(card);
          for (const [other, node] of [...box.children].entries()) node.setAttribute("aria-pressed", other === place);
          this.acts(card);
        });
        return button;
      }),
    );
  }

  acts(card) {
    const { actions, has_files: hasFiles } = this.store.greeting;
    const nodes = [];
    if (hasFiles && card.files[this.place]?.state === "ok") {
      const link = document.createElement("a");
      link.className = "plain";
      link.href = `${this.store.fileOf(card, this.place)}?save`;
      link.download = "";
      link.append(icon("#i-save"), "Save this file");
      nodes.push(link);
    }
    const act = (name, label) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "plain";
      button.textContent = label;
      button.addEventListener("click", () => this.act(name, card, button));
      nodes.push(button);
    };
    if (actions.includes("download") && card.files.some((file) => file.state === "ok")) act("download", "Save all on the watching machine");
    if (actions.includes("cancel") && !card.isOver && card.service === "flowmusic") act("cancel", "Cancel this job");
    find("acts").replaceChildren(...nodes);
  }

  async act(name, card, button) {
    const said = find("act-said");
    button.disabled = true;
    said.textContent = "…";
    const headers = { "Content-Type": "application/json" };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    const body = JSON.stringify({ action: name, number: card.number, boot: this.store.greeting.boot });
    try {
      const response = await fetch("act", { method: "POST", headers, body });
      said.textContent = (await response.json()).text;
    } catch {
      said.textContent = "The server did not answer.";
    }
    button.disabled = false;
  }

  tick(card) {
    const { now } = this.store;
    const rows = [["Job", card.id], ["Service", card.service || "unknown"]];
    if (card.model) rows.push(["Model", card.model]);
    rows.push(["Status", card.status || "not read yet"]);
    rows.push(["Created", moment(card.born)]);
    if (card.isOver) {
      rows.push(["Ended", moment(card.ended)]);
      if (card.ended > card.born) rows.push(["Took", clock(card.ended - card.born)]);
    } else {
      rows.push(["Running for", clock(now - card.born)]);
      if (card.expected) rows.push(["Expected end", card.expected > now ? `${moment(card.expected)}, in ${clock(card.expected - now)}` : "any moment"]);
    }
    if (card.files.length) rows.push(["Files", `${card.files.filter((file) => file.state === "ok").length} of ${count(card.files.length, "file")}`]);
    if (card.expires) rows.push([card.expires > now ? "Links good until" : "Links ran out", moment(card.expires)]);
    const text = rows.flat().join("\n");
    if (this.factsText !== text) {
      this.factsText = text;
      find("facts").replaceChildren(...rows.map(([name, value]) => fact(name, value)));
    }
  }
}
