// grammY's session plugin with its PostgreSQL storage, on a pool of 10 connections.
// Options: kib, of text beside the count; memory, keep sessions there.
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { PsqlAdapter } from "@grammyjs/storage-psql";
import { Bot, MemorySessionStorage, session } from "grammy";
import pg from "pg";

const POOL = 10;
const options = JSON.parse(process.argv[2] ?? "{}");
const text = "x".repeat(1024 * (options.kib ?? 0));

const pool = new pg.Pool({ max: POOL });
const storage = options.memory
  ? new MemorySessionStorage()
  : await PsqlAdapter.create({ tableName: "grammy_sessions", client: pool });
const initial = () => (text ? { count: 0, text } : { count: 0 });
const bot = new Bot("1:x", { botInfo: { id: 1, is_bot: true, first_name: "b", username: "b" } });
bot.use(session({ initial, storage }));
bot.on("message", (ctx) => {
  ctx.session.count++;
});

function update(chat) {
  const who = { id: chat, first_name: "Maria" };
  return {
    update_id: chat,
    message: {
      message_id: chat,
      date: 1700000000,
      text: "hello 🍕",
      chat: { ...who, type: "private" },
      from: { ...who, is_bot: false },
    },
  };
}

async function run(updates, inFlight) {
  let next = 0;
  const begin = process.hrtime.bigint();
  const cpu = process.cpuUsage();
  await Promise.all(Array.from({ length: inFlight }, async () => {
    while (next < updates.length) await bot.handleUpdate(updates[next++]);
  }));
  const { user, system } = process.cpuUsage(cpu);
  return {
    seconds: Number(process.hrtime.bigint() - begin) / 1e9,
    cpu: (user + system) / 1e6,
    memory: process.memoryUsage.rss() / 1e6,
  };
}

async function counted() {
  if (options.memory) {
    return storage.readAllValues().reduce((sum, { count }) => sum + count, 0);
  }
  const { rows } = await pool.query("SELECT value FROM grammy_sessions");
  return rows.reduce((sum, { value }) => sum + JSON.parse(value).count, 0);
}

function answer(message) {
  console.log(JSON.stringify(message));
}

function version(name) {
  return JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version;
}

answer({
  versions: {
    "Node.js": process.versions.node,
    grammY: version("grammy"),
    "@grammyjs/storage-psql": version("@grammyjs/storage-psql"),
  },
});
let prepared = [];
for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  if ("prepare" in asked) {
    prepared = asked.prepare.map(update);
    answer({ prepared: prepared.length });
  } else if ("run" in asked) {
    answer(await run(prepared, asked.run));
  } else {
    answer({ counted: await counted() });
  }
}
await pool.end();
