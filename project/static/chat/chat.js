"use strict";

const POLL_EVERY = 1500; // milliseconds
const NOTICE_STAYS = 2500; // milliseconds
const KEPT_MESSAGES = 200;

const page = document.body.dataset;
const byId = (id) => document.getElementById(id);
const log = byId("log");
const list = byId("messages");
const input = byId("text");
const panels = document.querySelectorAll(".panel");

// Messages. The browser keeps them, as a Telegram app does.

const shelf = browserStorage();
const slot = `botsessions-chat-${page.bot}-${page.chat}`;
let messages = [];

function browserStorage() {
  try {
    return window.localStorage;
  } catch {
    return null; // Not allowed here: messages last as long as the page.
  }
}

function load() {
  messages = JSON.parse(shelf?.getItem(slot) ?? "[]");
  list.replaceChildren(...messages.map(draw));
  scrollDown();
}

function keep() {
  messages = messages.slice(-KEPT_MESSAGES);
  shelf?.setItem(slot, JSON.stringify(messages));
}

function add(message) {
  message.key = `${Date.now()}-${Math.random()}`;
  messages.push(message);
  keep();
  list.append(draw(message));
  scrollDown();
  return message.key;
}

function find(key) {
  return messages.find((message) => message.key === key);
}

function change(key, fields) {
  const message = find(key);
  const item = byId(key);
  if (!message || !item) {
    return;
  }
  Object.assign(message, fields);
  keep();
  const focused = item.contains(document.activeElement) ? document.activeElement : null;
  const redrawn = draw(message);
  item.replaceWith(redrawn);
  if (focused) {
    const buttons = [...redrawn.querySelectorAll("button")];
    (buttons.find((b) => b.textContent === focused.textContent) ?? input).focus();
  }
}

function scrollDown() {
  log.scrollTop = log.scrollHeight;
}

// Drawing.

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

function button(className, text, act) {
  const made = element("button", className, text);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

function draw(message) {
  if (message.from === "page") {
    return element("li", "message page", element("p", "note", message.text));
  }
  const mine = message.from === "me";
  const who = element("span", "for-readers", mine ? "You: " : "Bot: ");
  const text = mine ? [message.text] : withCommands(message.text ?? "A message without text");
  const item = element("li", "message", element("p", "bubble", who, ...text));
  item.id = message.key;
  item.classList.toggle("mine", mine);
  item.classList.toggle("emoji", /^\p{Extended_Pictographic}{1,3}$/u.test(message.text));
  item.classList.toggle("failed", Boolean(message.failed));
  if (message.buttons?.length) {
    item.append(drawKeyboard(message));
  }
  if (message.failed) {
    const again = button("again", "Try again", () => deliver(message.key));
    item.append(element("p", "note", `Not delivered. ${message.failed} `, again));
  } else if (message.note) {
    item.append(element("p", "note", message.note));
  }
  return item;
}

function drawKeyboard(message) {
  const rows = message.buttons.map((row) => {
    const buttons = row.map((b) => button("", b.text, () => press(message.key, b)));
    return element("div", "", ...buttons);
  });
  return element("div", "keyboard", ...rows);
}

function withCommands(text) {
  return text
    .split(/((?<![\w/])\/[a-z]\w*)/i)
    .map((part, i) => (i % 2 ? button("command", part, () => send(part)) : part));
}

// Talking to the bot, one thing after the other.

const typing = element("li", "message typing", element("p", "bubble", ...dots()));
typing.ariaHidden = "true";
let talk = Promise.resolve();
let talks = 0;
let talking = 0;

function dots() {
  return [1, 2, 3].map(() => element("i", ""));
}

function inTurn(task) {
  talks += 1;
  talking += 1;
  talk = talk.then(async () => {
    list.append(typing);
    scrollDown();
    try {
      await task();
    } finally {
      talking -= 1;
      typing.remove();
    }
  });
}

function send(text) {
  deliver(add({ from: "me", text }));
}

function deliver(key) {
  change(key, { failed: "" });
  inTurn(async () => {
    try {
      const answer = await ask(page.send, { text: find(key).text });
      change(key, { note: noteFor(answer) });
      receive(answer);
    } catch (error) {
      change(key, { failed: error.message });
    }
  });
}

function greet() {
  inTurn(async () => {
    try {
      receive(await ask(page.send, { text: "/start" }), false);
    } catch (error) {
      complain(error.message);
    }
  });
}

function press(key, { text: label, callback_data: button }) {
  if (button === undefined) {
    send(label);
    return;
  }
  inTurn(async () => {
    const { id, text } = find(key);
    try {
      receive(await ask(page.press, { message_id: id, text, label, button }));
    } catch (error) {
      complain(error.message);
    }
  });
}

function receive(answer, isAsked = true) {
  complain("");
  if (isAsked) {
    showRan(answer.ran);
  }
  for (const { id, text, buttons } of answer.edited) {
    const edited = messages.findLast((message) => message.id === id);
    change(edited?.key, { text, buttons });
  }
  for (const { id, text, buttons } of answer.messages) {
    add({ from: "bot", id, text, buttons });
  }
  notice(answer.notice ?? "");
  show(answer.session);
}

function noteFor({ messages: sent, session }) {
  if (session?.revision !== shown?.revision) {
    return session ? "Session saved" : "Session deleted";
  }
  return sent.length ? "" : "No answer";
}

async function ask(url, fields) {
  const post = fields && {
    method: "POST",
    headers: { "X-CSRFToken": cookie("csrftoken") },
    body: new URLSearchParams({ bot: page.bot, ...fields }),
  };
  const response = await fetch(url, post).catch(() => {
    throw new Error("The server does not answer.");
  });
  if (response.ok) {
    return response.json();
  }
  const { error } = await response.json().catch(() => ({}));
  if (error) {
    throw new Error(error);
  }
  if (response.status === 403) {
    throw new Error("The server refuses it: reload the page, with cookies allowed.");
  }
  throw new Error(`The bot failed (error ${response.status}): see the server’s log.`);
}

function cookie(name) {
  const found = document.cookie.split("; ").find((pair) => pair.startsWith(`${name}=`));
  return found?.slice(name.length + 1) ?? "";
}

function complain(text) {
  const alert = byId("alert");
  if (alert.textContent !== text) {
    alert.textContent = text;
    alert.hidden = !text;
  }
}

let noticeTimer;

function notice(text) {
  clearTimeout(noticeTimer);
  byId("notice").textContent = text;
  noticeTimer = setTimeout(() => (byId("notice").textContent = ""), NOTICE_STAYS);
}

// The handler that ran.

function showRan({ code, updates, statements, before, after }) {
  const from = `revision ${short(before)} → ${short(after)}`;
  const many = updates > 1 ? `${updates} updates, ` : "";
  const cost = statements.length ? `${counted(statements.length, "SQL statement")}, ` : "";
  byId("cost").textContent = before === after ? `${many}${cost}nothing to save` : `${many}${cost}${from}`;
  byId("code").hidden = !code;
  byId("code").textContent = code;
  const made = byId("statements");
  made.hidden = !statements.length || updates > 1;
  made.replaceChildren(...statements.slice(0, 8).map((sql) => element("li", "", sql)));
}

function counted(count, what) {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

function short(revision) {
  return revision ? `…${revision.slice(-4)}` : "none";
}

// Trying to break it.

function sendMany() {
  const key = add({ from: "me", text: byId("many").textContent });
  inTurn(async () => {
    try {
      const answer = await ask(page.many, {});
      receive(answer);
      add({ from: "page", text: inOrder(answer) });
    } catch (error) {
      change(key, { note: error.message });
    }
  });
}

function inOrder({ messages: sent }) {
  const numbers = sent.map(({ text }) => Number(/\d+/.exec(text)));
  const ordered = numbers.every((number, i) => !i || number === numbers[i - 1] + 1);
  return ordered
    ? `${numbers.length} arrived at the same moment: all counted, in order, none lost`
    : "Out of order";
}

function editMeanwhile() {
  inTurn(async () => {
    try {
      const { url, fields } = await ask(page.conflict, {});
      const form = element("form", "");
      form.method = "post";
      form.action = url;
      form.enctype = "multipart/form-data";
      for (const [name, value] of Object.entries({ ...fields, csrfmiddlewaretoken: cookie("csrftoken") })) {
        const field = document.createElement("input");
        Object.assign(field, { type: "hidden", name, value });
        form.append(field);
      }
      document.body.append(form);
      form.submit();
    } catch (error) {
      complain(error.message);
    }
  });
}

let restarting = false;

function restart() {
  inTurn(async () => {
    try {
      await ask(page.restart, {});
      restarting = true;
      add({ from: "page", text: "The process ends …" });
    } catch (error) {
      complain(error.message);
    }
  });
}

function noteRestart(now) {
  if (restarting && page.process !== now) {
    add({ from: "page", text: "… another one has taken its place. Your session is still there." });
    restarting = false;
  }
  page.process = now;
}

// The stored session.

let shown; // undefined: not looked at yet; null: nothing is stored.
let pollTimer;
let isLost = false;

function show(session) {
  if (shown !== undefined && session?.revision === shown?.revision) {
    return;
  }
  const json = byId("json");
  json.classList.toggle("empty", !session);
  json.replaceChildren(...(session ? coloured(session.json) : ["Nothing is stored for this chat."]));
  byId("glance").textContent = session ? session.json.replaceAll(/\s*\n\s*/g, " ") : "empty";
  if (shown !== undefined) {
    flash(json);
  }
  byId("facts").hidden = !session;
  byId("key").textContent = session?.key ?? "";
  const changed = byId("changed");
  changed.dateTime = session?.changed ?? "";
  changed.textContent = session ? new Date(session.changed).toLocaleString() : "";
  const admin = byId("admin");
  admin.dataset.list ??= admin.href;
  admin.href = session?.admin ?? admin.dataset.list;
  admin.textContent = session ? "Open this row in the admin" : "Sessions in the admin";
  shown = session;
}

function coloured(json) {
  const token = /("(?:\\.|[^"\\])*"(?!\s*:)|\b(?:true|false|null)\b|-?\d[\d.eE+-]*)|("(?:\\.|[^"\\])*")/g;
  const parts = [];
  let end = 0;
  for (const match of json.matchAll(token)) {
    parts.push(json.slice(end, match.index));
    const [text, value] = match;
    const kind = value?.startsWith('"') ? "string" : "literal";
    parts.push(value ? element("span", kind, text) : text);
    end = match.index + text.length;
  }
  return [...parts, json.slice(end)];
}

function flash(target) {
  target.classList.remove("changed");
  void target.offsetWidth; // Lets the animation start again.
  target.classList.add("changed");
}

async function poll() {
  clearTimeout(pollTimer);
  if (!document.hidden && !talking) {
    const before = talks;
    try {
      const { session, process: now } = await ask(`${page.session}?bot=${page.bot}`);
      if (talks === before) {
        show(session);
      }
      noteRestart(now);
      if (isLost) {
        complain("");
      }
      isLost = false;
    } catch (error) {
      isLost = true;
      complain(`${error.message} Trying again…`);
    }
  }
  pollTimer = setTimeout(poll, POLL_EVERY);
}

// Start.

const wide = matchMedia("(min-width: 60rem)");

function unfold() {
  panels.forEach((panel) => (panel.open = wide.matches));
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = input.value.trim();
  if (text) {
    send(text);
    input.value = "";
  }
});
for (const suggestion of byId("suggestions").children) {
  suggestion.addEventListener("click", () => send(suggestion.value));
}
byId("many")?.addEventListener("click", sendMany);
byId("conflict")?.addEventListener("click", editMeanwhile);
byId("restart")?.addEventListener("click", restart);
document.addEventListener("visibilitychange", poll);
window.addEventListener("storage", (event) => event.key === slot && load());
wide.addEventListener("change", unfold);

unfold();
load();
log.ariaLive = "polite"; // What was said before is not read out.
new ResizeObserver(scrollDown).observe(log);
if (!messages.length) {
  greet();
}
poll();
if (matchMedia("(pointer: fine)").matches) {
  input.focus();
}
