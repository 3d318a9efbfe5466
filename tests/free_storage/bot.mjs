// A grammY bot with the unmodified free storage, without Telegram. The last argument is its
// configuration as JSON. Each line of its standard input is an array of chat ids, each of which says
// something at the same time; the answer is a line with what each of them was told, or what failed.

import { createInterface } from "node:readline";
import { Bot, enhanceStorage, lazySession, session } from "grammy";
import { freeStorage } from "@grammyjs/storage-free";

const { token, rootUrl, kind } = JSON.parse(process.argv.at(-1));
const storage = freeStorage(token, { rootUrl });

const kinds = {
  strict: {
    session: () => session({ initial: () => ({ count: 0 }), storage }),
    count: (ctx) => ++ctx.session.count,
  },
  lazy: {
    session: () => lazySession({ initial: () => ({ count: 0 }), storage }),
    count: async (ctx) => ++(await ctx.session).count,
  },
  multi: {
    session: () =>
      session({
        type: "multi",
        chat: { initial: () => ({ count: 0 }), storage },
        topic: {
          initial: () => ({ count: 0 }),
          storage,
          getSessionKey: (ctx) => `${ctx.from.id}/${ctx.chat.id}`,
        },
      }),
    count: (ctx) => [++ctx.session.chat.count, ++ctx.session.topic.count],
  },
  enhanced: {
    session: () =>
      session({
        initial: () => ({ count: 0 }),
        storage: enhanceStorage({
          storage,
          millisecondsToLive: 3600 * 1000,
          migrations: { 1: (old) => ({ count: old.count + 100 }) },
        }),
      }),
    count: (ctx) => ++ctx.session.count,
  },
};

const bot = new Bot(token, {
  botInfo: { id: 1, is_bot: true, first_name: "Pizza", username: "pizza_bot" },
});
bot.use(kinds[kind].session());
const told = new Map();
bot.on("message", async (ctx) => {
  told.set(ctx.chat.id, await kinds[kind].count(ctx));
});

let updateId = 0;
async function say(chat) {
  const person = { id: Math.abs(chat), is_bot: false, first_name: "Maria" };
  const place = { id: chat, type: "private", first_name: "Maria" };
  const message = { message_id: ++updateId, date: 0, chat: place, from: person, text: "🍕" };
  try {
    await bot.handleUpdate({ update_id: updateId, message });
    return told.get(chat);
  } catch (error) {
    return `${(error.error ?? error).message}`;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const chats = JSON.parse(line);
  const answer = chats === null ? await storage.readAllKeys() : await Promise.all(chats.map(say));
  console.log(JSON.stringify(answer));
}
