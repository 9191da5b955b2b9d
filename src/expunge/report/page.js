'use strict';
(() => {
  const form = document.getElementById('filter');
  const cards = [...document.querySelectorAll('.sample')];
  const folds = [...document.querySelectorAll('.text details')];
  if (form) startFilter();

  // Paper cannot be unfolded.
  let closed = [];
  addEventListener('beforeprint', () => {
    closed = folds.filter((fold) => !fold.open);
    closed.forEach((fold) => { fold.open = true; });
  });
  addEventListener('afterprint', () => closed.forEach((fold) => { fold.open = false; }));

  function startFilter() {
    const { kind, label, flagged, search } = form.elements;
    const texts = new Map();
    const textOf = (card) => {
      if (!texts.has(card)) {
        const parts = [...card.querySelectorAll('.text, .find')].map((part) => part.textContent);
        texts.set(card, parts.join('\n').toLowerCase());
      }
      return texts.get(card);
    };
    const apply = () => {
      const words = search.value.toLowerCase().trim();
      let shown = 0;
      for (const card of cards) {
        const fits = (!kind.value || card.dataset.kind === kind.value)
          && (!label || !label.value || card.dataset.label === label.value)
          && (!flagged.checked || 'flagged' in card.dataset)
          && (!words || textOf(card).includes(words));
        card.hidden = !fits;
        shown += fits;
      }
      const all = shown === cards.length;
      document.getElementById('count').textContent = all ? `${shown}` : `${shown} of ${cards.length}`;
      document.getElementById('nothing').hidden = shown > 0;
    };
    form.hidden = false;
    form.addEventListener('input', apply);
    form.addEventListener('submit', (event) => event.preventDefault());
    apply();
  }
})();
