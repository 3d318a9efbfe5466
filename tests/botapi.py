"""A Bot API server on this computer, for bots that run in processes of their own."""

from __future__ import annotations

import itertools
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

Json = dict[str, Any]

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
SEND_SECONDS, SEND_AGAIN_SECONDS = 60.0, 0.2
"""How long a webhook may take, and when it gets again what it has not answered by 200."""
LIMIT = 100
"""So many updates getUpdates returns at most."""


@dataclass(frozen=True)
class Answer:
    """What the server says to a call; without a body it closes the connection instead."""

    status: int
    body: Json | None = None


def refusal(status: int, description: str, **parameters: Any) -> Answer:
    body = {"ok": False, "error_code": status, "description": description}
    return Answer(status, body | {"parameters": parameters} if parameters else body)


FLOOD = refusal(429, "Too Many Requests: retry after 1", retry_after=1)
CRASH = refusal(500, "Internal Server Error")
BROKEN = Answer(0)
"""The connection breaks before the call is carried out."""
LOST = Answer(1)
"""The connection breaks after the call was carried out."""


class Refused(Exception):
    def __init__(self, status: int, description: str) -> None:
        self.answer = refusal(status, description)


class Hold:
    """Calls that wait for their answers, as do the handlers that made them."""

    def __init__(self, method: str, parameters: Json) -> None:
        self.calls = 0
        """How many have come so far."""
        self.released = False
        self._method = method
        self._parameters = parameters

    def concerns(self, method: str, parameters: Json) -> bool:
        return method == self._method and self._parameters.items() <= parameters.items()


class Account:
    """A bot as Telegram knows it: what people send it, and what it does."""

    def __init__(self, token: str, changed: threading.Condition) -> None:
        self.token = token
        self.changed = changed
        """Notified of everything; its lock is to be held for looking at what changes together."""
        self.revoked = False
        """Whether the token has been revoked."""
        self.pending: list[Json] = []
        """Updates that the bot has not confirmed."""
        self.fetched: set[int] = set()
        """The ids of updates that the bot has got at least once."""
        self.confirmed: list[int] = []
        self.calls: list[tuple[str, Json]] = []
        self.sent: list[Json] = []
        """The bot's messages, as they were sent."""
        self.messages: dict[int, Json] = {}
        """All messages by id, as they were edited."""
        self.closing = False
        self.webhook: Json = {"url": ""}
        """The parameters that it was set with."""
        self.deliveries: list[tuple[int, int]] = []
        """Updates that were sent to the webhook, each with the status of the answer, 0 for none."""
        self._being_sent: set[int] = set()
        self.last_error: Json = {}
        self._faults: list[tuple[str, Answer]] = []
        self._holds: list[Hold] = []
        self._polls = 0
        self._update_ids = itertools.count(1001)
        self._message_ids = itertools.count(1)

    # What people do.

    def say(self, text: str, chat: int = 5) -> int:
        """Write to the bot in a private chat; return the update's id."""
        message = self._message({"id": chat, "is_bot": False, "first_name": "Maria"}, chat, text)
        if text.startswith("/"):
            length = len(text.split()[0])
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": length}]
        return self.deliver(message=message)

    def press(self, message_id: int, data: str) -> int:
        """Press a button below one of the bot's messages; return the update's id."""
        message = self.messages[message_id]
        user = {"id": message["chat"]["id"], "is_bot": False, "first_name": "Maria"}
        query = {"id": "1", "from": user, "message": message, "chat_instance": "1", "data": data}
        return self.deliver(callback_query=query)

    def deliver(self, **content: Json) -> int:
        """Deliver an update; return its id."""
        with self.changed:
            number = next(self._update_ids)
            self.pending.append({"update_id": number, **content})
            self.changed.notify_all()
            self._send_pending()
        return number

    def repeat(self, update: Json) -> None:
        """Send an update to the webhook as if no answer had ever come."""
        threading.Thread(target=self._post, args=[update], daemon=True).start()

    def answers(self, update_id: int) -> list[int]:
        """Return what the webhook has answered to an update."""
        return [status for number, status in self.deliveries if number == update_id]

    @property
    def polls(self) -> list[Json]:
        """The parameters of the bot's calls for updates."""
        return [parameters for method, parameters in self.calls if method == "getUpdates"]

    @property
    def texts(self) -> list[str]:
        """What the bot has sent."""
        return [message["text"] for message in self.sent]

    # What goes wrong.

    def fail(self, method: str, answer: Answer) -> None:
        """Answer so to the next call of the method; several queue up."""
        with self.changed:
            self._faults.append((method, answer))

    @property
    def failed(self) -> bool:
        """Whether all that was to fail has failed."""
        return not self._faults

    @contextmanager
    def hold(self, method: str, **parameters: str) -> Iterator[Hold]:
        """Keep calls of the method with these parameters waiting for their answers."""
        hold = Hold(method, parameters)
        with self.changed:
            self._holds.append(hold)
        try:
            yield hold
        finally:
            self.release(hold)

    def release(self, hold: Hold) -> None:
        """Answer the calls, and those that still come."""
        with self.changed:
            hold.released = True
            self.changed.notify_all()

    # What the bot does.

    def answer(self, method: str, parameters: Json) -> Answer:
        """Carry out a call."""
        with self.changed:
            self.calls.append((method, parameters))
            self.changed.notify_all()
            fault = self._fault(method)
            if fault not in (None, LOST):
                return fault
            try:
                result = self._carry_out(method, parameters)
            except Refused as exc:
                return exc.answer
            finally:
                self.changed.notify_all()
            holds = [hold for hold in self._holds if hold.concerns(method, parameters)]
            for hold in holds:
                hold.calls += 1
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.closing or all(hold.released for hold in holds))
            return fault or Answer(200, {"ok": True, "result": result})

    def _fault(self, method: str) -> Answer | None:
        for fault in self._faults:
            if fault[0] == method:
                self._faults.remove(fault)
                return fault[1]
        return None

    def _carry_out(self, method: str, parameters: Json) -> Any:
        if self.revoked:
            raise Refused(401, "Unauthorized")
        methods: dict[str, Callable[..., Any]] = {
            "getMe": self._get_me,
            "getUpdates": self._get_updates,
            "sendMessage": self._send_message,
            "editMessageText": self._edit_message_text,
            "answerCallbackQuery": lambda **_: True,
            "deleteWebhook": lambda **other: self._set_webhook("", **other),
            "setWebhook": self._set_webhook,
            "getWebhookInfo": self._get_webhook_info,
        }
        if method not in methods:
            raise Refused(404, "Not Found: method not found")
        return methods[method](**parameters)

    @property
    def user(self) -> Json:
        number = self.token.partition(":")[0]
        return {
            "id": int(number),
            "is_bot": True,
            "first_name": "Bot",
            "username": f"bot_{number}",
        }

    def _get_me(self) -> Json:
        return self.user

    def _get_updates(
        self, offset: str = "0", timeout: str = "0", limit: str = str(LIMIT), **_: str
    ) -> list[Json]:
        if self.webhook["url"]:
            raise Refused(409, "Conflict: can't use getUpdates method while webhook is active")
        self.confirmed += [u["update_id"] for u in self.pending if u["update_id"] < int(offset)]
        self.pending = [u for u in self.pending if u["update_id"] >= int(offset)]
        self._polls = poll = self._polls + 1
        self.changed.notify_all()
        self.changed.wait_for(
            lambda: self.pending or self._polls != poll or self.closing, float(timeout)
        )
        if self._polls != poll:
            raise Refused(409, "Conflict: terminated by other getUpdates request")
        updates = self.pending[: int(limit)]
        self.fetched.update(update["update_id"] for update in updates)
        return updates

    def _send_message(self, chat_id: str, text: str, reply_markup: str = "", **_: str) -> Json:
        message = self._message(self.user, int(chat_id), text)
        if reply_markup:
            message["reply_markup"] = json.loads(reply_markup)
        self.sent.append(dict(message))
        return message

    def _edit_message_text(self, chat_id: str, message_id: str, text: str, **_: str) -> Json:
        message = self.messages.get(int(message_id))
        if message is None or message["chat"]["id"] != int(chat_id):
            raise Refused(400, "Bad Request: message to edit not found")
        message["text"] = text
        return message

    def _set_webhook(self, url: str, drop_pending_updates: str = "", **other: str) -> bool:
        self.webhook = {"url": url, **other}
        if drop_pending_updates == "true":
            self.pending.clear()
        self._send_pending()
        return True

    def _get_webhook_info(self) -> Json:
        info = {"has_custom_certificate": False, "pending_update_count": len(self.pending)}
        if allowed := self.webhook.get("allowed_updates"):
            info["allowed_updates"] = json.loads(allowed)
        return {"url": self.webhook["url"], **info, **self.last_error}

    def _send_pending(self) -> None:
        """Send to the webhook what waits, each update until it is answered by 200."""
        if self.webhook["url"]:
            for update in self.pending:
                if update["update_id"] not in self._being_sent:
                    self._being_sent.add(update["update_id"])
                    threading.Thread(target=self._send, args=[update], daemon=True).start()

    def _send(self, update: Json) -> None:
        number = update["update_id"]
        status = 0
        while self.webhook["url"] and not self.closing:
            status = self._post(update)
            with self.changed:
                if status == HTTPStatus.OK:
                    break
                self.changed.wait_for(lambda: self.closing, SEND_AGAIN_SECONDS)
        with self.changed:
            self._being_sent.discard(number)
            if status != HTTPStatus.OK:
                return
            self.confirmed.append(number)
            self.pending = [other for other in self.pending if other["update_id"] != number]
            self.changed.notify_all()

    def _post(self, update: Json) -> int:
        secret = {SECRET_HEADER: self.webhook.get("secret_token", "")}
        status = post(self.webhook["url"], json.dumps(update).encode(), secret)
        with self.changed:
            self.deliveries.append((update["update_id"], status))
            if status != HTTPStatus.OK:
                said = f"Wrong response from the webhook: {status}" if status else "Connection lost"
                now = int(time.time())
                self.last_error = {"last_error_message": said, "last_error_date": now}
            self.changed.notify_all()
        return status

    def _message(self, sender: Json, chat: int, text: str) -> Json:
        message: Json = {
            "message_id": next(self._message_ids),
            "date": int(time.time()),
            "from": sender,
            "chat": {"id": chat, "type": "private", "first_name": "Maria"},
            "text": text,
        }
        self.messages[message["message_id"]] = message
        return message


def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """Send JSON to a webhook; return the status of the answer, 0 if there was none."""
    host, path = url.removeprefix("http://").split("/", 1)
    with closing(HTTPConnection(host, timeout=SEND_SECONDS)) as connection:
        try:
            connection.request(
                "POST", f"/{path}", body, {"Content-Type": "application/json", **headers}
            )
            return connection.getresponse().status
        except (OSError, HTTPException):
            return 0


@contextmanager
def serving() -> Iterator[BotApi]:
    """Serve on 127.0.0.1, on a port that the system chooses."""
    with BotApi() as api:
        thread = threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield api
        finally:
            api.close_accounts()
            api.shutdown()
            thread.join()


class BotApi(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    """With five, connections break while the machine is busy."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.changed = threading.Condition()
        self.accounts: dict[str, Account] = {}

    def account(self, token: str) -> Account:
        """Return the account of a token, made when first asked for."""
        return self.accounts.setdefault(token, Account(token, self.changed))

    def close_accounts(self) -> None:
        """Let calls wait no longer."""
        with self.changed:
            for account in self.accounts.values():
                account.closing = True
            self.changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that were killed."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    server: BotApi
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionError("The client was killed in the middle of its call.")
        parameters = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        token, _, method = self.path.removeprefix("/bot").partition("/")
        account = self.server.accounts.get(token)
        if account is None:
            self._reply(refusal(401, "Unauthorized"))
        else:
            self._reply(account.answer(method, parameters))

    def _reply(self, answer: Answer) -> None:
        if answer.body is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = json.dumps(answer.body).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""
