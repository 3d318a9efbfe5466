"""Text that can be sent to a browser, whatever somebody stored."""

from __future__ import annotations


def plain(text: str) -> str:
    """Return ``text`` with lone surrogates, which no page can hold, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
