"""From ids to a session key, and from a key back to the ids that it was made of."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Iterator, Mapping
from itertools import chain, permutations
from typing import Any, TypeAlias
from urllib.parse import unquote

from asgiref.sync import async_to_sync

from ..keys import KeyFunction, takes_ids
from ..sources import name_of
from ..storages import About

Ids: TypeAlias = "Mapping[str, Any]"

MOST_IDS = 4
"""Keys of more are not looked into: there would be too many ways to read them."""
NUMBER = re.compile(r"-?[0-9]{1,19}")


class Keying:
    """What a key function makes of ids, and the way back."""

    def __init__(self, function: KeyFunction) -> None:
        self.function = function
        self.known = takes_ids(function)
        """The names of the ids that it takes; ``None`` if it takes updates only."""
        self._types = {
            name: str(parameter.annotation)
            for name, parameter in inspect.signature(function).parameters.items()
        }

    def __str__(self) -> str:
        return name_of(self.function)

    def key(self, ids: Ids) -> str | None:
        """Return the key that ids make."""
        taken = self.taken(ids)
        return self._made_of(taken) if taken else None

    def taken(self, ids: Ids) -> Ids:
        """Return those of the ids that the function takes.

        A private chat has the id of its user, so each stands for the other where that is missing.
        So does a topic for one in direct messages, as :func:`~botsessions.keys.per_topic` has it.
        """
        chat, user = ids.get("chat"), ids.get("user")
        if "direct_topic" not in (self.known or ()) and "direct_topic" in ids:
            ids = {"topic": ids["direct_topic"], **ids}
        if user is None and isinstance(chat, int) and chat > 0:
            ids = {**ids, "user": chat}
        elif chat is None and user is not None:
            ids = {**ids, "chat": user}
        return {name: ids[name] for name in ids if name in (self.known or ())}

    def about(self, ids: Ids) -> About:
        """Return whom the session of these ids belongs to."""
        taken = {name: i for name, i in self.taken(ids).items() if isinstance(i, int)}
        return About(chat_id=taken.get("chat"), user_id=taken.get("user"))

    def ids(self, key: str, known: Ids | None = None) -> Ids | None:
        """Return the ids that make ``key``; ``None`` if they cannot be found.

        Args:
            known: ids that are known already; if they make the key they are the ones.
        """
        found = {name: i for name, i in (known or {}).items() if name in (self.known or ())}
        ways = chain([found] if found else [], self._ways_to_read(key))
        return next((ids for ids in ways if self._makes(ids, key)), None)

    def _ways_to_read(self, key: str) -> Iterator[Ids]:
        names = sorted(self.known or ())
        for parts in (key.split("/"), re.findall(r"-?\d+", key), re.findall(r"\d+", key)):
            if 0 < len(parts) <= min(MOST_IDS, len(names)):
                for chosen in permutations(names, len(parts)):
                    ids = {n: self._id(n, part) for n, part in zip(chosen, parts, strict=True)}
                    if None not in ids.values():
                        yield ids

    def _id(self, name: str, part: str) -> int | str | None:
        is_number, types = NUMBER.fullmatch(part) is not None, self._types[name]
        if "str" in types and not ("int" in types and is_number):
            return unquote(part)
        return int(part) if is_number else None

    def _makes(self, ids: Ids, key: str) -> bool:
        try:
            return self._made_of(ids) == key
        except Exception:  # It may have been given what it does not expect.
            return False

    def _made_of(self, ids: Ids) -> str | None:
        key = self.function(**ids)
        return async_to_sync(settled)(key) if inspect.isawaitable(key) else key


async def settled(key: Awaitable[str | None]) -> str | None:
    return await key
