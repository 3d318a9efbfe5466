"""A Telegram that exists in memory: it answers the bot's calls and remembers them."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from telegram.ext import ApplicationBuilder
from telegram.request import BaseRequest, RequestData

BOT = {
    "id": 1,
    "is_bot": True,
    "first_name": "Bot under test",
    "username": "test_bot",
    "can_join_groups": True,
    "can_read_all_group_messages": True,
    "supports_inline_queries": True,
}
TOKEN = f"{BOT['id']}:OFFLINE"
NOT_AVAILABLE = 400


@dataclass(frozen=True)
class Call:
    """A call of the Bot API: its method, parameters, and what it returned."""

    method: str
    parameters: dict[str, Any]
    result: Any


class OfflineTelegram(BaseRequest):
    """Answers the Bot API's methods without a network.

    Messages that the bot sends and edits are kept by chat and id. Methods that only acknowledge
    return ``True``; for others that return data, set ``answers[method]``.
    """

    def __init__(self, on_call: Callable[[Call], object] = lambda call: None) -> None:
        self.on_call = on_call
        self.calls: list[Call] = []
        self.answers: dict[str, Any] = {"getMe": BOT, "getUpdates": [], "getMyCommands": []}
        self.chats: dict[int, dict[str, Any]] = {}
        self.messages: dict[tuple[int, int], dict[str, Any]] = {}
        self._ids = itertools.count(1)

    @property
    def read_timeout(self) -> float | None:
        return None

    async def initialize(self) -> None:
        """There is nothing to connect to."""

    async def shutdown(self) -> None:
        """There is nothing to close."""

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[int, bytes]:
        name = url.rpartition("/")[2]
        parameters = dict(request_data.parameters) if request_data else {}
        try:
            result = self._result(name, parameters)
        except LookupError as exc:
            answer = {"ok": False, "error_code": NOT_AVAILABLE, "description": str(exc.args[0])}
            return NOT_AVAILABLE, json.dumps(answer).encode()
        text = json.dumps({"ok": True, "result": result})
        # As it is now: the message may be edited later.
        call = Call(name, parameters, json.loads(text)["result"])
        self.calls.append(call)
        self.on_call(call)
        return 200, text.encode()

    def new_message(self, chat: dict[str, Any], **fields: Any) -> dict[str, Any]:
        """Return a message with the next id, and keep it."""
        message = {"message_id": next(self._ids), "date": int(time.time()), "chat": chat, **fields}
        self.chats[chat["id"]] = chat
        self.messages[chat["id"], message["message_id"]] = message
        return message

    def _result(self, method: str, parameters: dict[str, Any]) -> Any:
        if method in self.answers:
            return self.answers[method]
        if method == "getChat":
            return self._chat(parameters["chat_id"]) | {
                "accent_color_id": 0,
                "max_reaction_count": 0,
            }
        if method == "sendMediaGroup":
            return [self._sent(parameters) for _ in parameters["media"]]
        if method == "copyMessage":
            return {"message_id": self._sent(parameters)["message_id"]}
        if method in ("sendChatAction", "sendMessageDraft"):
            return True
        if method.startswith("send") or method == "forwardMessage":
            return self._sent(parameters)
        if method.startswith("editMessage"):
            return self._edited(parameters)
        if method.startswith("get"):
            raise LookupError(f"offline: no answer for {method}; set telegram.answers[{method!r}]")
        if method == "deleteMessage":
            self.messages.pop((int(parameters["chat_id"]), parameters["message_id"]), None)
        return True

    def _chat(self, chat_id: int | str) -> dict[str, Any]:
        kind = "private" if int(chat_id) > 0 else "supergroup"
        return self.chats.get(int(chat_id), {"id": int(chat_id), "type": kind})

    def _sent(self, parameters: dict[str, Any]) -> dict[str, Any]:
        fields = {name: parameters[name] for name in SHOWN if name in parameters}
        if "inline_keyboard" not in fields.get("reply_markup", ["inline_keyboard"]):
            # Buttons that replace the keyboard are no part of a message in the Bot API.
            fields["reply_keyboard"] = fields.pop("reply_markup")
        if "message_thread_id" in fields:  # Only topics can be sent to.
            fields["is_topic_message"] = True
        if "direct_messages_topic_id" in parameters:
            fields["direct_messages_topic"] = {"topic_id": parameters["direct_messages_topic_id"]}
        return self.new_message(self._chat(parameters["chat_id"]), **{"from": BOT}, **fields)

    def _edited(self, parameters: dict[str, Any]) -> dict[str, Any] | bool:
        if "inline_message_id" in parameters:
            return True
        message = self.messages.get((int(parameters["chat_id"]), parameters["message_id"]))
        if message is None:
            raise LookupError("Bad Request: message to edit not found")
        message.pop("reply_markup", None)
        message.update({name: parameters[name] for name in SHOWN if name in parameters})
        message["edit_date"] = int(time.time())
        return dict(message)


SHOWN = ("text", "caption", "reply_markup", "message_thread_id", "business_connection_id")
"""Parameters that stand in the message that a call sends or edits."""


class OfflineBuilder(ApplicationBuilder[Any, Any, Any, Any, Any, Any]):
    """A builder whose applications talk to ``telegram``, whatever the bot's author sets."""

    def __init__(self, telegram: OfflineTelegram) -> None:
        super().__init__()
        self._telegram = telegram
        self.token(TOKEN)

    def build(self) -> Any:
        """Build the application."""
        self._request = self._get_updates_request = self._telegram
        return super().build()
