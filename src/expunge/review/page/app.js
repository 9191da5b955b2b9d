// The page: keys and buttons to decisions.

import { Fault, get, post } from "./api.js";
import { Card } from "./card.js";
import { List } from "./list.js";
import { byId, make, selectedSpan } from "./text.js";

const FAULTS = { 1: "harmful", 2: "hallucination", 3: "privacy" };
const ARROWS = { ArrowDown: "j", ArrowRight: "j", ArrowUp: "k", ArrowLeft: "k" };

let total = 0;
let busy = false;
let journal = 0; // its length after the last decision that this page knows of

const card = new Card(() => {
  byId("confirm").textContent = `${card.dirty ? "Save" : "Confirm"}${card.label === "unknown" ? "" : ` ${card.label}`}`;
});
const list = new List(byId("list"), byId("rows"), { choose: (position) => once(() => go(position)), fault: complain });

function say(text, ask = false) {
  byId("said").textContent = text;
  byId("said").classList.toggle("ask", ask);
  byId("fault").textContent = "";
}

function complain(error) {
  byId("said").textContent = "";
  byId("fault").textContent = error instanceof Fault ? error.message : `The page failed (${error.name}). Load it again; what was decided is saved.`;
}

// One thing at a time: a key pressed meanwhile would be about a dialogue that is not shown yet.
async function once(action) {
  if (busy) return;
  busy = true;
  try {
    await action();
  } catch (error) {
    complain(error);
  } finally {
    busy = false;
  }
}

// What stands of a dialogue, decided here or elsewhere.
function stands({ position, person, decided }) {
  list.update(position, person);
  progress(decided);
}

function progress(decided) {
  byId("bar").max = total;
  byId("bar").value = decided;
  byId("done").textContent = `${decided} of ${total} decided`;
}

async function open(position) {
  show(await get(`/api/dialogue/${position}`));
}

function show(dialogue) {
  const { position } = dialogue;
  byId("card").hidden = false;
  byId("empty").hidden = true;
  card.open(dialogue, total);
  stands(dialogue);
  list.select(position);
  document.body.classList.remove("listing");
  byId("open-list").setAttribute("aria-expanded", "false");
  // Out of the fields of the last dialogue, and so that Space scrolls.
  if (document.activeElement === document.body || byId("card").contains(document.activeElement)) byId("card").focus({ preventScroll: true });
  history.replaceState(null, "", `#${position + 1}`);
}

async function go(position, otherwise) {
  if (position === undefined) return say(otherwise);
  if (card.dialogue && card.dirty) return say("Not saved: c saves your changes, Esc discards them.", true);
  await open(position);
  say("");
}

const next = () => go(list.beside(card.dialogue.position, 1), "This is the last one.");
const previous = () => go(list.beside(card.dialogue.position, -1), "This is the first one.");
const nextUndecided = () => go(list.undecided(card.dialogue.position), "All dialogues in this list are decided.");

async function decide(label) {
  if (label === "unknown") return say("The judges cannot tell: choose 1, 2, 3, or x for clean.", true);
  if (label === "clean" && card.label === "clean" && card.spans.length) return say("Text is marked: choose its fault, 1, 2 or 3; or x for clean.", true);
  await save(label);
}

// What was decided elsewhere, and would have been overruled unseen, is shown instead.
async function change(path, row) {
  try {
    const state = await post(path, row);
    journal = state.journal;
    stands(state);
    return state;
  } catch (fault) {
    if (fault.now) {
      journal = fault.now.journal ?? journal;
      if (fault.now.position === card.dialogue.position) card.meet(fault.now);
      else show(fault.now);
      stands(fault.now);
    }
    throw fault;
  }
}

async function save(label) {
  const { position } = card.dialogue;
  const state = await change("/api/decide", card.decision(label));
  const following = list.undecided(position);
  await open(following ?? position);
  say(`Saved: ${label}. ${state.decided} of ${total} decided.${following === undefined ? " All dialogues in this list are decided." : ""}`);
}

async function undo() {
  if (card.dirty) return say("Not saved yet: Esc discards your changes.", true);
  const state = await change("/api/undo", { journal });
  await open(state.position);
  say(`Undone: dialogue ${state.position + 1} is ${state.person ?? "undecided"} again.`);
}

function mark() {
  if (card.markSelected()) return;
  card.startWords();
  say("Choosing words: ← → move, Shift widens, Enter marks, Esc leaves.");
}

function discard() {
  const dirty = card.dirty;
  card.discard();
  if (dirty) say("Changes discarded.");
}

const KEYS = {
  j: next, k: previous, n: nextUndecided, u: undo, m: mark,
  c: () => decide(card.label),
  x: () => save("clean"),
  w: () => card.whole(),
  e: () => (byId("known").querySelector("input") ?? byId("own")).focus(),
  t: () => byId("note").focus(),
  "?": () => byId("help").showModal(),
  f: () => {
    document.body.classList.add("listing");
    byId("filters").elements.label.focus();
  },
  Escape: discard,
};
for (const [key, label] of Object.entries(FAULTS)) KEYS[key] = () => save(label);
const WITHOUT_DIALOGUE = ["?", "f"];

function act(key) {
  if (!card.dialogue || byId("card").offsetParent === null) { // nothing is decided that is not in sight
    if (WITHOUT_DIALOGUE.includes(key)) KEYS[key]();
    return;
  }
  once(() => KEYS[key]());
}

function chooseWords(event) {
  if (event.key.startsWith("Arrow")) card.moveWord(event.key, event.shiftKey);
  else if (event.key === "Enter") card.mark(card.wordSpan);
  else if (event.key === "Escape") leaveWords();
  else return;
  event.preventDefault();
}

function leaveWords() {
  card.word = null;
  card.show();
}

document.addEventListener("keydown", (event) => {
  if (byId("help").open || event.altKey || event.isComposing) return;
  const { target, key } = event;
  if ((event.ctrlKey || event.metaKey) && key === "Enter" && target.closest("main")) return act("c");
  if (event.ctrlKey || event.metaKey) return;
  const writing = target.matches("textarea, select, input:not([type=checkbox])");
  if (writing) {
    if (key === "Escape") byId("card").focus();
    return;
  }
  if (card.word) return chooseWords(event);
  const meant = ARROWS[key] ?? key;
  if (!Object.hasOwn(KEYS, meant) || (event.shiftKey && meant !== "?")) return;
  event.preventDefault();
  act(meant);
});

for (const button of document.querySelectorAll("[data-key]")) {
  button.addEventListener("pointerdown", (event) => event.preventDefault()); // keeps the selection
  button.addEventListener("click", () => act(button.dataset.key));
}

// A selection ends wherever the pointer is let go.
document.addEventListener("pointerup", (event) => {
  if (event.pointerType === "mouse") setTimeout(() => card.dialogue && !busy && selectedSpan(byId("response")) && card.markSelected());
});

byId("open-list").addEventListener("click", () => {
  const open = document.body.classList.toggle("listing");
  byId("open-list").setAttribute("aria-expanded", String(open));
  list.draw();
});

function filtered() {
  return Object.fromEntries([...new FormData(byId("filters"))].filter(([, value]) => value !== ""));
}

async function find() {
  if (card.dialogue && card.dirty) say("Not saved: c saves your changes, Esc discards them.", true);
  const found = await get("/api/find", filtered());
  list.fill(found);
  const count = found.positions.length;
  byId("count").textContent = count === total ? `${total} dialogues` : `${count} of ${total} dialogues`;
  return found;
}

async function refilter() {
  const { positions } = await find();
  if (card.dialogue && card.dirty) return;
  byId("card").hidden = !positions.length;
  byId("empty").hidden = positions.length > 0;
  if (!positions.length) return;
  const listing = document.body.classList.contains("listing");
  const here = card.dialogue && positions[list.placeOf(card.dialogue.position)] === card.dialogue.position;
  await open(here ? card.dialogue.position : (list.undecided(-1) ?? positions[0]));
  document.body.classList.toggle("listing", listing);
}

// Unlike a key, a filter chosen meanwhile still counts.
function refilterSoon() {
  if (busy) setTimeout(refilterSoon, 30);
  else once(refilter);
}

byId("filters").addEventListener("change", refilterSoon);
byId("filters").addEventListener("reset", () => setTimeout(refilterSoon));
byId("filters").addEventListener("submit", (event) => event.preventDefault());
addEventListener("beforeunload", (event) => {
  if (card.dialogue && card.dirty) event.preventDefault();
});

await once(async () => {
  const review = await get("/api/review");
  total = review.total;
  journal = review.journal;
  byId("file").textContent = review.file;
  const { label, judge } = byId("filters").elements;
  for (const [name, count] of Object.entries(review.labels)) label.append(make("option", { value: name, text: `${name} (${count})` }));
  for (const name of review.judges) judge.append(make("option", { value: name, text: name }));
  progress(review.decided);
  await find();
  const asked = Number(location.hash.slice(1)) - 1;
  await open(Number.isInteger(asked) && asked >= 0 && asked < total ? asked : (list.undecided(-1) ?? 0));
});
