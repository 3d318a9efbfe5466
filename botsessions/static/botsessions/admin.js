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

// django-unfold hides the headings of columns by which a list cannot be sorted.
for (const heading of document.querySelectorAll("#result_list th[hidden]")) heading.hidden = false;

// It looks for the box that selects all by this class.
document.getElementById("action-toggle")?.classList.add("action-toggle");

// A page to log in is no answer.
const textOf = (answer) => (answer.ok && !answer.redirected ? answer.text() : Promise.reject());

// What takes long comes after the page.
for (const place of document.querySelectorAll("[data-fetch]")) {
  place.setAttribute("aria-busy", "true");
  fetch(place.dataset.fetch, { credentials: "same-origin" })
    .then(textOf)
    .then((html) => { place.innerHTML = html; })
    .catch(() => {}) // What stands there says that there is no answer yet.
    .finally(() => place.removeAttribute("aria-busy"));
}

// A long text stands beside the place that folds it.
const longTextOf = (place) => place.parentElement.querySelector(":scope > .bs-long");

// Copying the path and the value, text as it is, of what the pointer or the keyboard is at.
for (const tree of document.querySelectorAll(".bs-tree")) {
  const tools = document.createElement("span");
  tools.className = "bs-copy";
  const copying = (text, label) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", (event) => {
      event.preventDefault(); // Of the part that would fold.
      navigator.clipboard.writeText(text(tools.closest("[data-path]"))).then(() => {
        button.textContent = tree.dataset.copied;
        setTimeout(() => { button.textContent = label; }, 1500);
      });
    });
    return button;
  };
  const path = copying((place) => place.dataset.path, tree.dataset.copyPath);
  const value = copying((place) => {
    const long = longTextOf(place);
    if (long) return long.dataset.exact ? JSON.parse(long.dataset.exact) : long.textContent;
    const json = place.querySelector(".bs-text, .bs-number, .bs-word, .bs-empty").textContent;
    return json.startsWith('"') ? JSON.parse(json) : json;
  }, tree.dataset.copyValue);
  tools.append(path, value);
  const show = (event) => {
    const place = event.target.closest("[data-path]");
    if (!place || tools.parentElement === place) return;
    value.hidden = place.matches("summary") && !longTextOf(place);
    place.append(tools);
  };
  tree.addEventListener("pointerover", show);
  tree.addEventListener("focusin", show);

  // A single value is edited in its place; without this script on a page of its own.
  tree.addEventListener("click", (event) => {
    const link = event.target.closest("a.bs-edit-one");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    fetch(`${link.href}&part=1`, { credentials: "same-origin" })
      .then(textOf)
      .then((html) => {
        tree.querySelector(".bs-one-value")?.remove();
        link.parentElement.insertAdjacentHTML("beforeend", html);
        const form = tree.querySelector(".bs-one-value");
        guard(form);
        form.querySelector("[name=value]").focus();
        const close = (again) => { again.preventDefault(); form.remove(); link.focus(); };
        form.querySelector(`a[href="${location.pathname}"]`)?.addEventListener("click", close);
        form.addEventListener("keydown", (key) => {
          if (key.key === "Escape") close(key);
          if (key.key === "Enter" && (key.ctrlKey || key.metaKey)) form.requestSubmit();
        });
      })
      .catch(() => location.assign(link.href));
  });
}

// Finding text in names and values; Enter goes to the next place.
for (const seek of document.querySelectorAll(".bs-seek")) {
  const tree = seek.parentElement.querySelector(".bs-tree");
  const [field, count] = [seek.querySelector("input"), seek.querySelector("output")];
  let found = [];
  let at = -1;
  const go = (step) => {
    if (!found.length) return;
    found[at]?.classList.remove("bs-at");
    at = (at + step + found.length) % found.length;
    found[at].classList.add("bs-at");
    for (let node = found[at]; node !== tree; node = node.parentElement) {
      if (node.tagName === "DETAILS") node.open = true;
    }
    found[at].scrollIntoView({ block: "nearest" });
    showIn(longTextOf(found[at]));
    count.value = `${at + 1} / ${found.length}`;
  };
  const showIn = (long) => {
    CSS.highlights?.delete("bs-found");
    const start = long ? long.textContent.toLowerCase().indexOf(field.value.toLowerCase()) : -1;
    if (start < 0) return;
    const range = new Range();
    const within = (place) => Math.min(place, long.textContent.length); // Small letters may be more.
    range.setStart(long.firstChild, within(start));
    range.setEnd(long.firstChild, within(start + field.value.length));
    CSS.highlights?.set("bs-found", new Highlight(range));
    long.scrollTop += range.getBoundingClientRect().top - long.getBoundingClientRect().top - 40;
    long.scrollIntoView({ block: "nearest" });
  };
  const look = () => {
    showIn(null);
    for (const place of found) place.classList.remove("bs-found", "bs-at");
    const text = field.value.toLowerCase();
    const parts = (place) => [...place.querySelectorAll(".bs-name, .bs-text, .bs-number, .bs-word"), longTextOf(place)];
    const has = (place) => parts(place).some((part) => part?.textContent.toLowerCase().includes(text));
    found = text ? [...tree.querySelectorAll("[data-path]")].filter(has) : [];
    for (const place of found) place.classList.add("bs-found");
    at = -1;
    count.value = text ? `0 / ${found.length}` : "";
    go(1);
  };
  seek.hidden = false;
  field.addEventListener("input", look);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      go(event.shiftKey ? -1 : 1);
    }
  });
}

// A page to log in, or one that refuses an old login's form, would take the place of a text.
const isLoggedOut = (answer) =>
  answer.status === 403 || (answer.redirected && new URL(answer.url).pathname !== location.pathname);

function tellLoggedOut(form) {
  const note = form.querySelector(".bs-logged-out") ?? document.createElement("p");
  if (note.isConnected) return note;
  note.className = "errornote bs-logged-out";
  note.role = "alert";
  form.querySelector(".submit-row, .bs-one-row").after(note);
  note.textContent = form.dataset.loggedOut;
  return note;
}

// Sends a form only to who is logged in: a check, which saves nothing, tells.
function guard(form) {
  let asking = false;
  let answered = false;
  form.addEventListener("submit", (event) => {
    if (answered) return;
    event.preventDefault();
    if (asking) return;
    asking = true;
    const token = form.elements.csrfmiddlewaretoken.value;
    const body = new URLSearchParams({ csrfmiddlewaretoken: token, how: "check", part: "1" });
    fetch(form.dataset.check ?? form.action, { method: "POST", body })
      .then(isLoggedOut, () => false) // Sending says what is wrong.
      .then((isOut) => {
        asking = false;
        if (isOut) return tellLoggedOut(form).scrollIntoView({ block: "nearest" });
        answered = true;
        form.requestSubmit(event.submitter);
        answered = false;
      });
  });
}

for (const form of document.querySelectorAll(".bs-edit, .bs-one-value")) guard(form);

// Whether what is shown is still what is stored.
for (const news of document.querySelectorAll(".bs-news")) {
  const look = () => {
    if (document.hidden || !news.hidden) return;
    fetch(news.dataset.url, { credentials: "same-origin" })
      .then(textOf)
      .then((revision) => { news.hidden = revision === news.dataset.revision; })
      .catch(() => {}); // The next time, then.
  };
  setInterval(look, 5000);
  document.addEventListener("visibilitychange", look);
}

// By keyboard: / searches; in the list j and k go down and up, and Enter opens.
const searchbar = document.getElementById("searchbar");
const links = document.querySelectorAll("#result_list .field-whose a");
if (searchbar) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "/") {
      event.preventDefault();
      searchbar.select();
    } else if (links.length && (event.key === "j" || event.key === "k")) {
      const at = [...links].indexOf(document.activeElement?.closest("tr")?.querySelector(".field-whose a"));
      const next = event.key === "j" ? at + 1 : Math.max(0, at - 1);
      links[Math.min(next, links.length - 1)].focus();
    }
  });
}
