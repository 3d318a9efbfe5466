"use strict";

// Folding all of a session's data at once. Each part folds by itself without this script.
for (const button of document.querySelectorAll(".bs-unfold")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    for (const node of document.querySelectorAll(".bs-tree details")) {
      node.open = Boolean(button.dataset.open);
    }
  });
}

// What takes long comes after the page.
for (const place of document.querySelectorAll("[data-fetch]")) {
  place.setAttribute("aria-busy", "true");
  fetch(place.dataset.fetch, { credentials: "same-origin" })
    .then((answer) => (answer.ok ? answer.text() : Promise.reject(answer.status)))
    .then((html) => { place.innerHTML = html; })
    .catch(() => {}) // What stands there says that there is no answer yet.
    .finally(() => place.removeAttribute("aria-busy"));
}
