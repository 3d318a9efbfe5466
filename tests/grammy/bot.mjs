// grammY's pet bot, with sessions in PostgreSQL that have timeouts and versions. Each chat on the
// command line tells it the name of a pet, without a network. The server is found by PGHOST and so on.
import { PsqlAdapter } from "@grammyjs/storage-psql";
import { Bot, enhanceStorage, session } from "grammy";
import pg from "pg";

const client = new pg.Client();
await client.connect();
const storage = enhanceStorage({
  storage: await PsqlAdapter.create({ tableName: "sessions", client }),
  millisecondsToLive: 60 * 60 * 1000,
  migrations: {
    1: (old) => ({ petNames: old.names ?? old.petNames }),
    2: (old) => ({ pets: old.petNames.map((name) => ({ name })) }),
  },
});

const botInfo = { id: 1, is_bot: true, first_name: "Pets", username: "pets_bot" };
const bot = new Bot("1:x", { botInfo });
bot.use(session({ initial: () => ({ pets: [] }), storage }));
bot.on("message:text", (ctx) => {
  ctx.session.pets.push({ name: ctx.message.text });
});

for (const [update_id, chat] of process.argv.slice(2).entries()) {
  const who = { id: Number(chat), first_name: "Maria" };
  const message = { message_id: 1, date: 0, text: "Rex", chat: { ...who, type: "private" }, from: who };
  await bot.handleUpdate({ update_id, message });
}
await client.end();
