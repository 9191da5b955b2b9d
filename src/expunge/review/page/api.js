// Questions to the server, and faults as one sentence.

// now: the dialogue as it stands, where what was to be overruled was not in sight.
export class Fault extends Error {
  constructor(message, now) {
    super(message);
    this.now = now;
  }
}

async function answer(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch {
    throw new Fault("The server does not answer. Is `expunge review` still running? Start it again and open its new link; what was decided is saved.");
  }
  if (response.status === 403) throw new Fault("This page is closed: open the link that `expunge review` printed last.");
  const value = await response.json();
  if (!response.ok) throw new Fault([value.error, value.remedy].filter(Boolean).join(". "), value.now);
  return value;
}

export const get = (path, query) => answer(query ? `${path}?${new URLSearchParams(query)}` : path);

export const post = (path, row) =>
  answer(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Expunge": "review" },
    body: JSON.stringify(row ?? {}),
  });
