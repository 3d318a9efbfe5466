"""Text that can be sent to a browser and seen by people, whatever somebody stored."""

from __future__ import annotations

import re

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb]"
)
"""What has no shape of its own, or turns the direction of what stands beside it."""


def plain(text: str) -> str:
    """Return ``text`` with lone surrogates, which no page can hold, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def visible(text: str) -> str:
    """Return ``text`` with all that nobody would see written as escapes."""
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", plain(text))
