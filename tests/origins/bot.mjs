// A grammY bot that remembers what it is told, in one of grammY's storages, without Telegram. Its
// argument is JSON: where it keeps sessions, and messages, each a chat, a user and a text.
import { FileAdapter } from "@grammyjs/storage-file";
import { freeStorage } from "@grammyjs/storage-free";
import { PsqlAdapter } from "@grammyjs/storage-psql";
import { Bot, enhanceStorage, session } from "grammy";
import pg from "pg";

const { kind, options, messages } = JSON.parse(process.argv.at(-1));

let client;
let storage;
if (kind === "file") {
  storage = new FileAdapter(options);
} else if (kind === "free") {
  storage = freeStorage(options.token, { rootUrl: options.rootUrl });
} else {
  client = new pg.Client(); // Found by PGHOST and so on.
  await client.connect();
  storage = await PsqlAdapter.create({ tableName: options.tableName, client });
}

const initial = () => ({ texts: [] });
const enhanced = enhanceStorage({
  storage,
  millisecondsToLive: options.millisecondsToLive ?? 3600 * 1000,
  migrations: { 1: (old) => old, 2: (old) => old },
});
const bot = new Bot("1:x", {
  botInfo: { id: 1, is_bot: true, first_name: "Notes", username: "notes_bot" },
});
bot.use(
  session({
    type: "multi",
    chat: { initial, storage: options.enhanced ? enhanced : storage },
    user: {
      initial,
      storage,
      prefix: "user:",
      getSessionKey: (ctx) => `${ctx.from.id}`,
    },
  }),
);
bot.on("message:text", (ctx) => {
  ctx.session.chat.texts.push(ctx.message.text);
  ctx.session.user.texts.push(ctx.message.text);
});

for (const [update_id, { chat, user, text }] of messages.entries()) {
  const from = { id: user, is_bot: false, first_name: "Maria" };
  const place = { id: chat, type: "private", first_name: "Maria" };
  const message = { message_id: update_id, date: 0, chat: place, from, text };
  await bot.handleUpdate({ update_id, message });
}
await client?.end();
