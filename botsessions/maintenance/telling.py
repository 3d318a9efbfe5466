"""Telling of sessions that have expired and that no bot has read since."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Q

from ..busy import busy, left
from ..causes import told
from ..codec import Codec
from ..declaration import Fragment
from ..editing import Edit
from ..exceptions import SessionExpiryError, SessionKeyError, SessionLockError
from ..keys import per_chat
from ..models import AbstractBotSession
from ..signals import session_expired
from ..sources import FromKey
from ..storages import Address, DatabaseStorage
from ..storages.expiry import is_heard
from ..storages.layers import place_of, tell_all
from .batches import Batch, Failure, next_rows
from .declared import fragments_in

UNREAD: dict[str, Any] = {"read": False, "patience": 0.1}
"""How a session is edited that is only to be held, and left if somebody else holds it."""


class Telling:
    """Tells of the expired sessions of a table, like a bot that reads them: then it deletes them.

    The key of each is held meanwhile, and whether it is still there and expired is looked up then.
    One that somebody else holds is left.
    """

    def __init__(self, model: type[AbstractBotSession], using: str) -> None:
        self._table = DatabaseStorage(model=model, using=using)
        self._fragments = fragments_in(model, using)

    @property
    def heard(self) -> Q | None:
        """Those that somebody wants to hear of when they expire; ``None`` if there are none."""
        if session_expired.has_listeners(DatabaseStorage):
            return Q()
        heard = Q()
        for (bot, name), fragment in self._fragments.items():
            if is_heard(place_of(fragment.storage, Address(bot, name, ""))):
                heard |= Q(bot=bot, name=name)
        return heard or None

    def run(self, expired: Any, page_size: int, limit: int | None) -> Iterator[Batch]:
        """Tell of ``expired``, a query set; yield a batch for each."""
        for addresses in pages(expired, page_size):
            held = busy(addresses, expired.db)
            # Two sweeps at once would otherwise tell of the same one at the same moment, each time.
            random.shuffle(addresses)
            for address in addresses:
                if limit is not None and limit <= 0:
                    return
                batch = Batch(0, besides=left(1)) if address in held else self._told(address)
                limit = None if limit is None else limit - batch.done
                yield batch

    def _told(self, address: Address) -> Batch:
        """Tell of one, and delete it, with its key held as by ``edit()``."""
        fragment = self._fragments.get((address.bot, address.name)) or self._unknown(address.name)
        edit = Edit(fragment, address.bot, FromKey(address.key), "database", **UNREAD)
        try:
            with edit:
                return Batch(async_to_sync(tell_all)([fragment.place(address)]))
        except SessionLockError:
            return Batch(0, besides=left(1))
        except SessionKeyError as exc:
            return Batch(0, (Failure(address, str(exc)),))
        except SessionExpiryError as exc:
            cause = exc.__cause__ or exc
            why = f": {cause}" if isinstance(cause, ImproperlyConfigured) else "."
            reason = f"Who was told that it has expired raised {type(cause).__name__}{why}"
            return Batch(0, (Failure(address, reason, told(cause)),))

    def _unknown(self, name: str) -> Fragment[Any]:
        """Return a fragment for the sessions of a bot that the settings do not know."""
        return Fragment(name, None, per_chat, self._table, Codec(), lazy=True)


def pages(expired: Any, size: int) -> Iterator[list[Address]]:
    """Yield addresses, going through ``expired`` once."""
    rows = next_rows(expired, size, None)
    while rows:
        yield [row.address for row in rows]
        rows = next_rows(expired, size, rows[-1])
