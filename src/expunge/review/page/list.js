// The list: only the rows in sight exist, whatever its length.

import { get } from "./api.js";
import { make } from "./text.js";

const HEIGHT = 56; // as in style.css
const CHUNK = 50;
const KEPT = 3000;

export class List {
  constructor(box, rows, { choose, fault }) {
    Object.assign(this, { box, rows, choose, fault, positions: [], decided: [], known: new Map(), waiting: new Set(), current: -1 });
    box.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(box);
  }

  fill({ positions, decided }) {
    this.positions = positions;
    this.decided = Array.from(decided, (digit) => digit === "1");
    this.rows.style.height = `${positions.length * HEIGHT}px`;
    this.box.scrollTop = 0;
    this.draw();
  }

  // The place in the list of a dialogue; if it is not in it, where it would stand.
  placeOf(position) {
    let low = 0;
    let high = this.positions.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.positions[middle] < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // The dialogue `step` places on; undefined at the ends.
  beside(position, step) {
    const place = this.placeOf(position);
    const here = this.positions[place] === position;
    return this.positions[step > 0 ? place + (here ? 1 : 0) : place - 1];
  }

  // The next undecided dialogue after this one, beginning again at the top; undefined if there is none.
  undecided(position) {
    const first = this.placeOf(position + 1);
    const total = this.positions.length;
    for (let i = 0; i < total; i++) {
      const place = (first + i) % total;
      if (!this.decided[place]) return this.positions[place];
    }
    return undefined;
  }

  update(position, person) {
    const place = this.placeOf(position);
    if (this.positions[place] === position) this.decided[place] = person !== null;
    const row = this.known.get(position);
    if (row) row.person = person;
    this.draw();
  }

  select(position) {
    this.current = position;
    const place = this.placeOf(position);
    if (this.positions[place] === position) {
      const top = place * HEIGHT;
      if (top < this.box.scrollTop) this.box.scrollTop = top;
      else if (top + HEIGHT > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + HEIGHT - this.box.clientHeight;
    }
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / HEIGHT) - 5);
    const last = Math.min(this.positions.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / HEIGHT) + 5);
    const shown = [];
    for (let place = first; place < last; place++) shown.push(this.row(place));
    this.rows.replaceChildren(...shown);
    const selected = `row-${this.current}`;
    if (shown.some((row) => row.id === selected)) this.box.setAttribute("aria-activedescendant", selected);
    else this.box.removeAttribute("aria-activedescendant");
  }

  row(place) {
    const position = this.positions[place];
    const known = this.known.get(position);
    if (!known) this.ask(Math.floor(place / CHUNK));
    const element = make("div", {
      id: `row-${position}`,
      role: "option",
      class: this.decided[place] ? "row done" : "row",
      "aria-selected": String(position === this.current),
      "aria-setsize": this.positions.length,
      "aria-posinset": place + 1,
    });
    element.style.top = `${place * HEIGHT}px`;
    element.addEventListener("click", () => this.choose(position));
    element.append(make("div", { text: known ? known.question : "…", dir: "auto" }), make("div", { class: "sub" }, ...this.sub(position, known)));
    return element;
  }

  sub(position, known) {
    const place = make("span", { text: `${position + 1} · ` });
    if (!known) return [place];
    if (known.person === null) return [place, make("span", { class: `label ${known.label}`, text: known.label }), ` ${known.score.toFixed(2)} · undecided`];
    const person = make("span", { class: `label ${known.person}`, text: known.person });
    return known.person === known.label ? [place, person, " · confirmed"] : [place, make("s", { text: known.label }), " ", person];
  }

  async ask(chunk) {
    const positions = this.positions;
    const key = `${positions[chunk * CHUNK]}`;
    if (this.waiting.has(key)) return;
    this.waiting.add(key);
    try {
      const rows = await get("/api/rows", { at: positions.slice(chunk * CHUNK, (chunk + 1) * CHUNK).join(",") });
      if (this.known.size > KEPT) this.known.clear();
      for (const row of rows) this.known.set(row.position, row);
      this.draw();
    } catch (error) {
      this.fault(error);
    } finally {
      this.waiting.delete(key);
    }
  }
}
