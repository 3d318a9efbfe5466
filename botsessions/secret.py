"""Text that does not show itself: bots' tokens and what proves that a request is Telegram's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.crypto import constant_time_compare

SECRETS = frozenset({"TOKEN", "WEBHOOK_SECRET", "METRICS_TOKEN"})
"""Names of settings."""


class Secret:
    """Text that logs, tracebacks and DEBUG pages do not show. It equals the text itself."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text, for those whom it is meant for."""
        return self._text

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Secret):
            other = other.reveal()
        if not isinstance(other, (str, bytes)):
            return NotImplemented
        return constant_time_compare(self._text, other)  # The time tells nothing.

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "<secret>"


class HidingSettings(Mapping[str, Any]):
    """Settings as they are, but for secrets in them."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings

    def __getitem__(self, name: str) -> Any:
        value = hiding(self._settings[name])
        is_secret = name in SECRETS and isinstance(value, str) and value
        return Secret(value) if is_secret else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings)

    def __len__(self) -> int:
        return len(self._settings)

    def __repr__(self) -> str:
        return repr(dict(self))


def hiding(settings: Any) -> Any:
    """Return settings that hide the secrets in them; what is no dict stays as it is."""
    if isinstance(settings, Mapping) and not isinstance(settings, HidingSettings):
        return HidingSettings(settings)
    return settings
