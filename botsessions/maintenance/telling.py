"""Telling of sessions that have expired and that no bot has read since."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Q

from ..exceptions import SessionExpiryError
from ..models import AbstractBotSession
from ..signals import session_expired
from ..storages import Address, DatabaseStorage
from ..storages.expiry import is_heard
from ..storages.layers import place_of, tell_all
from .batches import Batch, Failure
from .causes import told
from .declared import fragments_in


class Telling:
    """Tells of the expired sessions of a table, like a bot that reads them: then it deletes them.

    Whether a session is still there and expired is looked up right before it is told. In the
    moment until it is deleted another process may tell of it, too.
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
            # Two sweeps at once would otherwise tell of the same one at the same moment, each time.
            random.shuffle(addresses)
            for address in addresses:
                if limit is not None and limit <= 0:
                    return
                batch = self._told(address)
                limit = None if limit is None else limit - batch.done
                yield batch

    def _told(self, address: Address) -> Batch:
        fragment = self._fragments.get((address.bot, address.name))
        storage = self._table if fragment is None else fragment.storage
        try:
            return Batch(async_to_sync(tell_all)([place_of(storage, address)]))
        except SessionExpiryError as exc:
            cause = exc.__cause__ or exc
            why = f": {cause}" if isinstance(cause, ImproperlyConfigured) else "."
            reason = f"Who was told that it has expired raised {type(cause).__name__}{why}"
            return Batch(0, (Failure(address, reason, told(cause)),))


def pages(expired: Any, size: int) -> Iterator[list[Address]]:
    """Yield addresses, going through ``expired`` once, by the index on the expiry."""
    rows = expired.order_by("expires_at", "pk").values_list(
        "expires_at", "pk", "bot", "name", "key"
    )
    page = list(rows[:size])
    while page:
        yield [Address(*parts) for _, _, *parts in page]
        expires_at, pk, *_ = page[-1]
        later = Q(expires_at__gt=expires_at) | Q(expires_at=expires_at, pk__gt=pk)
        page = list(rows.filter(later, expires_at__gte=expires_at)[:size])
