"""What a bot did in answer to an update."""

from __future__ import annotations

from typing import Any

from .offline import Call


class Message:
    """A message as people see it."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        """As in the Bot API; and, as ``reply_keyboard``, the buttons that replace the keyboard."""

    def __repr__(self) -> str:
        return f"<Message {self.id}: {self.text!r} {self.buttons or ''}>"

    @property
    def id(self) -> int:
        return int(self.data["message_id"])

    @property
    def chat_id(self) -> int:
        return int(self.data["chat"]["id"])

    @property
    def text(self) -> str | None:
        """The text, or the caption of a picture."""
        return self.data.get("text", self.data.get("caption"))

    @property
    def buttons(self) -> list[list[str]]:
        """The labels of the buttons below, row by row."""
        return [[button["text"] for button in row] for row in self.keyboard]

    @property
    def keyboard(self) -> list[list[dict[str, Any]]]:
        """The buttons below, row by row, as in the Bot API."""
        markup = self.data.get("reply_markup") or self.data.get("reply_keyboard") or {}
        rows = markup.get("inline_keyboard") or markup.get("keyboard") or []
        return [[b if isinstance(b, dict) else {"text": b} for b in row] for row in rows]


class Answers:
    """What a bot did in answer to one update, in order."""

    def __init__(self, calls: list[Call], errors: list[Exception]) -> None:
        self.calls = calls
        """All calls of the Bot API."""
        self.errors = errors
        """What was raised on the way; only seen here if error handlers took it."""

    def __repr__(self) -> str:
        return f"<Answers {[call.method for call in self.calls]}>"

    @property
    def messages(self) -> list[Message]:
        """The messages sent."""
        return [
            Message(message)
            for call in self.calls
            if call.method.startswith(("send", "forward"))
            for message in (call.result if isinstance(call.result, list) else [call.result])
            if isinstance(message, dict)
        ]

    @property
    def edited(self) -> list[Message]:
        """The messages edited, as they are now."""
        return [
            Message(call.result)
            for call in self.calls
            if call.method.startswith("editMessage") and isinstance(call.result, dict)
        ]

    @property
    def message(self) -> Message | None:
        """The message sent or edited last."""
        shown = [
            call.result
            for call in self.calls
            if call.method.startswith(("send", "forward", "editMessage"))
            and isinstance(call.result, (dict, list))
        ]
        if not shown:
            return None
        return Message(shown[-1][-1] if isinstance(shown[-1], list) else shown[-1])

    @property
    def text(self) -> str | None:
        """The text of the message sent or edited last, ``None`` if there was none."""
        return self.message.text if self.message else None

    @property
    def texts(self) -> list[str | None]:
        """The texts of the messages sent."""
        return [message.text for message in self.messages]

    @property
    def buttons(self) -> list[list[str]]:
        """The labels of the buttons of the message sent or edited last, row by row."""
        return self.message.buttons if self.message else []

    @property
    def notice(self) -> str | None:
        """The text shown for a pressed button (``answerCallbackQuery``)."""
        return next(
            (c.parameters.get("text") for c in self.calls if c.method == "answerCallbackQuery"),
            None,
        )

    @property
    def results(self) -> list[dict[str, Any]]:
        """The results of an inline query."""
        return [
            result
            for call in self.calls
            if call.method == "answerInlineQuery"
            for result in call.parameters["results"]
        ]
