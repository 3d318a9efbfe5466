"use strict";

// The editor of a session's data. All of it works without this script, but for the line numbers.
// Of admin.js, which stands before it, it uses what reads answers and tells that somebody is logged out.
const form = document.querySelector("form[data-editor]");
const field = form.elements.text;
const gutter = form.querySelector(".bs-gutter");
const check = form.querySelector(".bs-check");
const save = form.querySelector("button.default");
const LARGE = 200_000; // Characters.

// Line numbers: those in sight.
let lines = 0;
let wrong = 0;

function count() {
  lines = field.value.split("\n").length;
  draw();
}

function draw() {
  const style = getComputedStyle(field);
  const height = parseFloat(style.lineHeight);
  const first = Math.floor(field.scrollTop / height);
  const last = Math.min(lines, first + Math.ceil(field.clientHeight / height) + 1);
  const shown = [];
  for (let number = first + 1; number <= last; number += 1) {
    const line = document.createElement("li");
    line.textContent = number;
    line.classList.toggle("bs-wrong", number === wrong);
    shown.push(line);
  }
  gutter.style.height = `${field.offsetHeight}px`;
  gutter.replaceChildren(...shown);
  const top = first * height - field.scrollTop;
  for (const line of shown) line.style.transform = `translateY(${top}px)`;
}

field.wrap = "off";
gutter.hidden = false;
field.addEventListener("scroll", draw);
new ResizeObserver(draw).observe(field);
count();

// What saving would change, and why it would be refused, as the server says it.
let timer;
let asking;

function ask() {
  asking?.abort();
  asking = new AbortController();
  const body = new FormData(form);
  body.set("how", "check");
  body.set("part", "1");
  fetch(form.action, { method: "POST", body, signal: asking.signal })
    .then((answer) => {
      if (isLoggedOut(answer)) tellLoggedOut(form);
      return textOf(answer);
    })
    .then(show)
    .catch(() => {}); // Saving says what is wrong.
}

function show(html) {
  check.innerHTML = html;
  const error = check.querySelector("[data-line]");
  wrong = error ? Number(error.dataset.line) : 0;
  field.setAttribute("aria-invalid", String(check.querySelector(".errornote") !== null));
  form.querySelector("#bs-errors")?.remove();
  draw();
}

field.addEventListener("input", () => {
  count();
  clearTimeout(timer);
  timer = setTimeout(ask, field.value.length > LARGE ? 2000 : 400);
});

form.addEventListener("click", (event) => {
  if (event.target.matches("button[value=check]")) {
    event.preventDefault();
    ask();
  } else if (event.target.closest(".bs-line") && wrong) {
    const start = field.value.split("\n", wrong - 1).join("\n").length + (wrong > 1 ? 1 : 0);
    const end = field.value.indexOf("\n", start);
    field.focus();
    field.setSelectionRange(start, end < 0 ? field.value.length : end);
    field.scrollTop = (wrong - 3) * parseFloat(getComputedStyle(field).lineHeight);
  }
});

// Nothing that was written is lost by accident.
let leaving = false;
const changed = () => field.value !== form.elements.opened.value;
if (changed()) ask(); // It was restored by the browser, or typed before this script was there.
form.addEventListener("submit", (event) => { leaving = !event.defaultPrevented; });
window.addEventListener("pageshow", () => { leaving = false; });
window.addEventListener("beforeunload", (event) => {
  if (changed() && !leaving) event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s") {
    event.preventDefault();
    form.requestSubmit(save);
  }
});
