// The grid of cards. However many jobs there are, only the rows in sight have nodes; the page itself scrolls.

import { CardNode } from "./card.js";

const NARROWEST = 210;
const NARROWEST_PHONE = 152;
const TEXT = 84;
const GAP = 14;
const GAP_PHONE = 10;
const SPARE = 2;
const STILL = 120;

export class Grid {
  constructor(box, store, onOpen) {
    this.box = box;
    this.store = store;
    this.onOpen = onOpen;
    this.rows = new Map();
    this.pool = [];
    this.spare = [];
    this.view = [];
    this.columns = 1;
    this.height = 1;
    this.active = null;
    this.isMoving = false;
    this.timer = 0;
    this.frame = 0;
    addEventListener("scroll", () => this.scrolled(), { passive: true });
    new ResizeObserver(() => this.measure()).observe(box);
    addEventListener("resize", () => this.later());
    box.addEventListener("click", (event) => this.clicked(event));
    box.addEventListener("keydown", (event) => this.pressed(event));
    box.addEventListener("focusin", (event) => this.focused(event));
  }

  scrolled() {
    // Pictures of rows that only fly by are not asked for.
    this.isMoving = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.isMoving = false;
      this.later();
    }, STILL);
    this.later();
  }

  later() {
    if (!this.frame) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.draw();
      });
    }
  }

  measure() {
    const width = this.box.clientWidth;
    const isPhone = width < 480;
    this.gap = isPhone ? GAP_PHONE : GAP;
    const columns = Math.max(1, Math.floor((width + this.gap) / ((isPhone ? NARROWEST_PHONE : NARROWEST) + this.gap)));
    const card = (width - this.gap * (columns - 1)) / columns;
    const height = Math.round((card * 9) / 16) + TEXT + this.gap;
    if (columns !== this.columns || height !== this.height) {
      this.columns = columns;
      this.height = height;
      this.box.style.setProperty("--columns", columns);
      this.box.style.setProperty("--card", `${height - this.gap}px`);
      this.box.setAttribute("aria-colcount", columns);
      for (const row of [...this.rows.values(), ...this.spare.splice(0)]) this.retire(row);
      this.rows.clear();
    }
    this.draw();
  }

  show(view) {
    this.view = view;
    this.draw();
  }

  tick() {
    const { now } = this.store;
    for (const row of this.rows.values()) for (const cell of row.cells) if (cell.card && !cell.card.isOver) cell.tick(now);
  }

  draw() {
    if (this.height <= 1) return;
    const count = Math.ceil(this.view.length / this.columns);
    this.box.style.height = `${Math.max(0, count * this.height - (this.gap ?? 0))}px`;
    this.box.setAttribute("aria-rowcount", count);
    const above = -this.box.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(above / this.height) - SPARE);
    const last = Math.min(count - 1, Math.ceil((above + innerHeight) / this.height) + SPARE);
    const hasFocus = this.box.contains(document.activeElement);
    const place = this.placeOfActive();
    // What has the focus keeps its node, wherever the page has been scrolled to.
    const kept = hasFocus && place >= 0 ? Math.floor(place / this.columns) : -1;
    for (const [number, row] of this.rows) {
      if ((number < first || number > last) && number !== kept) {
        this.rows.delete(number);
        this.spare.push(row);
      }
    }
    for (let number = first; number <= last; number += 1) this.fill(number);
    if (kept >= 0 && (kept < first || kept > last)) this.fill(kept);
    // While the page moves, rows only change places; to take them out and in again would cost more than all else.
    if (!this.isMoving) this.tidy();
    this.rove(hasFocus);
  }

  tidy() {
    for (const row of this.spare.splice(0)) this.retire(row);
    let before = null;
    for (const number of [...this.rows.keys()].sort((one, other) => other - one)) {
      const { node } = this.rows.get(number);
      // Screen readers read in the order of the document.
      if (node.nextSibling !== before) this.box.insertBefore(node, before);
      before = node;
    }
  }

  fill(number) {
    let row = this.rows.get(number);
    if (!row) {
      row = this.spare.pop() ?? this.pool.pop() ?? this.make();
      this.rows.set(number, row);
      row.node.style.transform = `translateY(${number * this.height}px)`;
      row.node.setAttribute("aria-rowindex", number + 1);
      if (!row.node.parentNode) this.box.append(row.node);
    }
    const { now } = this.store;
    for (let column = 0; column < this.columns; column += 1) {
      const card = this.view[number * this.columns + column];
      let cell = row.cells[column];
      if (!card) {
        if (cell) {
          cell.node.remove();
          cell.card = null;
        }
        continue;
      }
      cell ??= row.cells[column] = new CardNode();
      if (cell.node.parentNode !== row.node) {
        cell.node.setAttribute("aria-colindex", column + 1);
        row.node.append(cell.node);
      }
      const picture = this.store.pictureOf(card);
      cell.show(card, this.isMoving && picture !== cell.picture ? null : picture, now);
    }
  }

  make() {
    const node = document.createElement("div");
    node.className = "row";
    node.setAttribute("role", "row");
    return { node, cells: [] };
  }

  retire(row) {
    row.node.remove();
    if (row.cells.length <= this.columns && this.pool.length < 12) this.pool.push(row);
  }

  // -- focus: one card of the grid is a tab stop, the arrows move it

  placeOfActive() {
    if (this.active === null) return -1;
    const guess = this.activePlace ?? 0;
    if (this.view[guess]?.number !== this.active) this.activePlace = this.view.findIndex((card) => card.number === this.active);
    return this.activePlace ?? guess;
  }

  rove(hasFocus) {
    let stop = null;
    let firstCell = null;
    for (const row of this.rows.values()) {
      for (const cell of row.cells) {
        if (!cell.card) continue;
        cell.node.tabIndex = -1;
        if (cell.card.number === this.active) stop = cell;
        if (!firstCell || cell.card === this.view[0]) firstCell = cell;
      }
    }
    const cell = stop ?? firstCell;
    if (cell) cell.node.tabIndex = 0;
    // A card that has moved takes the focus along; one that has left hands it to the first.
    if (hasFocus && cell && document.activeElement !== cell.node) cell.node.focus({ preventScroll: true });
    else if (!hasFocus && this.hadFocus && cell && document.activeElement === document.body) cell.node.focus({ preventScroll: true });
    this.hadFocus = this.box.contains(document.activeElement);
  }

  focused(event) {
    const node = event.target.closest(".card");
    if (node) {
      this.active = Number(node.dataset.number);
      this.hadFocus = true;
    }
  }

  focus(place) {
    const card = this.view[place];
    if (!card) return;
    this.active = card.number;
    this.activePlace = place;
    const row = Math.floor(place / this.columns);
    const top = this.box.getBoundingClientRect().top + scrollY + row * this.height;
    const head = 72;
    if (top < scrollY + head) scrollTo({ top: top - head });
    else if (top + this.height > scrollY + innerHeight) scrollTo({ top: top + this.height + GAP - innerHeight });
    this.fill(row);
    this.node(card.number)?.focus({ preventScroll: true });
    this.later();
  }

  node(number) {
    return this.box.querySelector(`.card[data-number="${number}"]`);
  }

  pressed(event) {
    const place = this.placeOfActive();
    if (place < 0 || event.altKey || event.metaKey) return;
    const page = Math.max(1, Math.floor((innerHeight - 72) / this.height)) * this.columns;
    const last = this.view.length - 1;
    const rowStart = place - (place % this.columns);
    const targets = {
      ArrowRight: place + 1,
      ArrowLeft: place - 1,
      ArrowDown: place + this.columns,
      ArrowUp: place - this.columns,
      PageDown: Math.min(place + page, last),
      PageUp: Math.max(place - page, 0),
      Home: event.ctrlKey ? 0 : rowStart,
      End: event.ctrlKey ? last : Math.min(rowStart + this.columns - 1, last),
    };
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.onOpen(this.view[place]);
    } else if (event.key in targets) {
      event.preventDefault();
      if (targets[event.key] >= 0 && targets[event.key] <= last) this.focus(targets[event.key]);
    }
  }

  clicked(event) {
    const node = event.target.closest(".card");
    const card = node && this.store.cards.get(Number(node.dataset.number));
    if (card) {
      node.focus({ preventScroll: true });
      this.onOpen(card);
    }
  }
}
