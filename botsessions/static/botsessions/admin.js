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
