"""What commands that give sessions other addresses have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from ..maintenance.readdressing import BATCH_SIZE
from .batches import BatchCommand
from .report import Words


class ReaddressCommand(BatchCommand):
    """Base of such a command. Its options say what ``bot`` and ``name`` are."""

    batch_size = BATCH_SIZE
    besides: Mapping[str, Words] = {"same": Words("stays where it is", "stay where they are")}

    def add_place(self, parser: CommandParser) -> None:
        parser.add_argument("--database", metavar="ALIAS", help="Only in this database.")

    def how(self, options: dict[str, Any]) -> dict[str, Any]:
        return {name: options[name] for name in ("batch_size", "dry_run")}
