// One dialogue, and the draft of a decision over it.

import { byId, make, merge, selectedSpan, showMarked, words } from "./text.js";

const ROLES = { system: "System", user: "User", assistant: "Assistant", tool: "Tool", thought: "Thought" };
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

export class Card {
  constructor(changed) {
    this.changed = changed;
    this.dialogue = null;
    this.word = null; // first and last word chosen by keys, while choosing
    for (const field of [byId("own"), byId("note"), byId("known")]) field.addEventListener("input", () => this.show());
  }

  open(dialogue, total) {
    this.dialogue = dialogue;
    this.response = dialogue.messages.at(-1).content;
    byId("place").textContent = `Dialogue ${dialogue.position + 1} of ${total}`;
    byId("subject").textContent = dialogue.subject ? `about ${dialogue.subject}` : "";
    byId("identity").textContent = dialogue.id;
    const messages = dialogue.messages.slice(0, -1).map(({ role, content, tool_calls = [] }) => {
      const calls = tool_calls.map(({ function: { name, arguments: given } }) => `${name}(${given})`);
      const text = [content, ...calls].filter(Boolean).join("\n");
      return make("section", { class: `message ${role}` }, make("h2", { text: ROLES[role] }), make("p", { class: "text", dir: "auto", text }));
    });
    byId("response-name").textContent = dialogue.messages.at(-1).role === "thought" ? "Thought" : "Response";
    byId("prompt").replaceChildren(...messages);
    byId("verdicts").replaceChildren(...this.verdicts());
    byId("card").scrollTop = 0;
    this.discard();
  }

  // What was decided elsewhere meanwhile; changes of one's own stay, and are then changes of that.
  meet(dialogue) {
    const { dirty } = this;
    this.dialogue = dialogue;
    if (dirty) this.show();
    else this.discard();
  }

  // Back to what is saved, or to what the judges say.
  discard() {
    const { shown, known } = this.dialogue;
    this.spans = shown.spans;
    this.word = null;
    byId("own").value = "";
    byId("note").value = shown.reason;
    const answers = [...new Set([...known, ...shown.expected])].map((text) => {
      const box = make("input", { type: "checkbox", value: text });
      box.checked = shown.expected.includes(text);
      return make("label", { class: "answer" }, box, make("span", { text, dir: "auto" }));
    });
    const none = make("p", { class: "soft", text: "No judge knows one." });
    byId("known").replaceChildren(...(answers.length ? answers : [none]));
    this.show();
  }

  get expected() {
    const chosen = [...byId("known").querySelectorAll("input:checked")].map((box) => box.value);
    const own = byId("own").value.trim();
    return own && !chosen.includes(own) ? [...chosen, own] : chosen;
  }

  get label() {
    return this.dialogue.shown.label;
  }

  get dirty() {
    const { shown } = this.dialogue;
    return !same(this.spans, shown.spans) || !same(this.expected, this.saved) || byId("note").value.trim() !== shown.reason;
  }

  // The expected answers of `shown`, in the order in which the boxes stand.
  get saved() {
    return [...new Set([...this.dialogue.known, ...this.dialogue.shown.expected])].filter((text) => this.dialogue.shown.expected.includes(text));
  }

  decision(label) {
    const { position, id, version } = this.dialogue;
    return { position, id, version, label, spans: this.spans, expected: this.expected, reason: byId("note").value };
  }

  mark(span) {
    const replaces = this.dialogue.person === null && same(this.spans, this.dialogue.shown.spans);
    this.spans = merge([...(replaces ? [] : this.spans), span]);
    getSelection().removeAllRanges();
    this.word = null;
    this.show();
  }

  markSelected() {
    const span = selectedSpan(byId("response"));
    if (span) this.mark(span);
    return span !== null;
  }

  whole() {
    this.spans = [];
    this.show();
  }

  // Choosing words by keys: ← and → move, Shift widens, Enter marks, Esc leaves.
  startWords() {
    this.words = words(this.response);
    const marked = this.words.findIndex(([, end]) => this.spans.length && end > this.spans[0][0]);
    this.word = this.words.length ? [Math.max(0, marked), Math.max(0, marked)] : null;
    this.show();
  }

  moveWord(key, wider) {
    const step = key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1;
    const last = Math.min(this.words.length - 1, Math.max(0, this.word[1] + step));
    this.word = [wider ? this.word[0] : last, last];
    this.show();
  }

  get wordSpan() {
    const [a, b] = [Math.min(...this.word), Math.max(...this.word)];
    return [this.words[a][0], this.words[b][1]];
  }

  show() {
    const own = this.dialogue.person !== null || !same(this.spans, this.dialogue.shown.spans);
    if (this.word) showMarked(byId("response"), this.response, [this.wordSpan], "own choosing");
    else showMarked(byId("response"), this.response, this.spans, own ? "own" : "judge");
    byId("marks").textContent = this.aboutMarks(own);
    const { person, label, score } = this.dialogue;
    const now = person ? [make("span", { class: `label ${person}`, text: person }), " decided"] : [make("span", { class: `label ${label}`, text: label }), ` ${score.toFixed(2)} · undecided`];
    byId("now").replaceChildren(...now, ...(this.dirty ? [" · changed, not saved"] : []));
    this.changed();
  }

  aboutMarks(own) {
    if (this.word) return "Choosing words: ← → move, Shift widens, Enter marks, Esc leaves.";
    if (this.spans.length && !own) return "Marked by the judges. Select text to mark it yourself instead.";
    if (this.spans.length) return `${this.dialogue.person === null ? "Marked by you" : "Marked as you decided"}. More selections are added; w takes all marks away.`;
    return ["clean", "unknown"].includes(this.label) ? "" : "No marks: the whole response is at fault. Select text to mark a part.";
  }

  verdicts() {
    const { verdicts, panel } = this.dialogue;
    return [...(panel ? [panel] : []), ...verdicts].map((verdict) => {
      const bar = make("i");
      bar.style.width = `${100 * verdict.score}%`;
      const top = make("div", { class: "top" },
        make("span", { class: `label ${verdict.label}`, text: verdict.label }),
        make("span", { text: verdict === panel ? `${verdict.judge} (decides)` : verdict.judge }),
        make("span", { class: "soft", text: verdict.score.toFixed(2), "aria-label": `score ${verdict.score.toFixed(2)}` }));
      const item = make("li", {}, top, make("span", { class: `meter ${verdict.label}`, "aria-hidden": "true" }, bar));
      if (verdict.reason) item.append(make("p", { text: verdict.reason, dir: "auto" }));
      if (verdict.categories) item.append(make("p", { text: verdict.categories.join(" · ") }));
      return item;
    });
  }
}
