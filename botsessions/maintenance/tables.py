"""Where the bots of the settings keep their sessions."""

from __future__ import annotations

from ..bots import all_bots
from ..callbacks import fragments_of_jobs, storage_of_jobs
from ..database.model import check_database
from ..models import AbstractBotSession
from ..storages import DatabaseStorage


def tables(using: str | None = None) -> list[tuple[type[AbstractBotSession], str]]:
    """Return the models that sessions are stored in, with the alias of the database of each.

    They are those of the bots of the settings; without any, :class:`BotSession`'s.

    Args:
        using: only this database.

    Raises:
        ImproperlyConfigured: there is no such database.
    """
    if using is not None:
        check_database(using)
    storages = {
        storage
        for bot in all_bots().values()
        for fragment in bot.fragments.values()
        if isinstance(storage := fragment.innermost, DatabaseStorage)
    }
    if fragments_of_jobs():
        storages |= {
            storage_of_jobs(b.fragments) for b in all_bots().values() if not b.is_elsewhere
        }
    found = {(storage.model, storage.using) for storage in storages or {DatabaseStorage()}}
    return sorted(
        ((model, alias) for model, alias in found if using in (None, alias)),
        key=lambda table: (table[0]._meta.label, table[1]),
    )
