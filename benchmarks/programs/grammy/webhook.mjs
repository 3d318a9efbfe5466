// grammY's webhook for Node's own HTTP server, with its sessions in PostgreSQL.
import { createServer } from "node:http";
import { PsqlAdapter } from "@grammyjs/storage-psql";
import { Bot, session, webhookCallback } from "grammy";
import pg from "pg";

const [port, secretToken] = process.argv.slice(2);

const pool = new pg.Pool({ max: 10 });
const storage = await PsqlAdapter.create({ tableName: "grammy_sessions", client: pool });
const bot = new Bot("1:x", { botInfo: { id: 1, is_bot: true, first_name: "b", username: "b" } });
bot.use(session({ initial: () => ({ count: 0 }), storage }));
bot.on("message", (ctx) => {
  ctx.session.count++;
});
const webhook = webhookCallback(bot, "http", { secretToken });

async function counted(response) {
  const { rows } = await pool.query("SELECT value FROM grammy_sessions");
  response.end(String(rows.reduce((sum, { value }) => sum + JSON.parse(value).count, 0)));
}

createServer((request, response) =>
  request.url === "/counted/" ? counted(response) : webhook(request, response)
).listen(Number(port), "127.0.0.1");
