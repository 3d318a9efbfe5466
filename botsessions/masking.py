"""Hiding parts of sessions from people who may see the rest: ``MASKED_FIELDS``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from .bots import app_settings
from .exceptions import SessionDataError
from .storages.base import Json

MASK = re.compile(r"\[masked: (\$.*)\]", re.DOTALL)


def masked_fields() -> frozenset[str]:
    """Return the names of the fields that nobody is shown."""
    return frozenset(app_settings().get("MASKED_FIELDS") or ())


def mask(value: Json, names: Collection[str]) -> Json:
    """Return ``value`` with a mask in the place of every field of these names, at any depth."""
    return masked(value, names, "$") if names else value


def unmask(edited: Json, stored: Json, names: Collection[str]) -> Json:
    """Return ``edited`` with what is stored in the place of masks that were left in it.

    A mask says where the value is that it stands for, so it may be moved to another field of a
    masked name.

    Raises:
        SessionDataError: a mask stands for nothing that is stored, or where it would be shown.
    """
    return unmasked(edited, dict(hidden(stored, names, "$")), names, "$") if names else edited


def masked(value: Any, names: Collection[str], path: str) -> Any:
    if isinstance(value, dict):
        return {
            name: mask_of(f"{path}.{name}") if name in names else masked(v, names, f"{path}.{name}")
            for name, v in value.items()
        }
    if isinstance(value, list):
        return [masked(item, names, f"{path}[{i}]") for i, item in enumerate(value)]
    return value


def mask_of(path: str) -> str:
    return f"[masked: {path}]"


def hidden(value: Any, names: Collection[str], path: str) -> Iterator[tuple[str, Json]]:
    """Yield the path and value of every masked field."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name in names:
                yield f"{path}.{name}", item
            else:
                yield from hidden(item, names, f"{path}.{name}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from hidden(item, names, f"{path}[{i}]")


def unmasked(
    value: Any, stored: dict[str, Json], names: Collection[str], path: str, inside: bool = False
) -> Any:
    if isinstance(value, dict):
        return {
            name: unmasked(item, stored, names, f"{path}.{name}", inside or name in names)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [unmasked(v, stored, names, f"{path}[{i}]", inside) for i, v in enumerate(value)]
    if not isinstance(value, str) or (mask := MASK.fullmatch(value)) is None:
        return value
    if not inside:
        raise SessionDataError(
            f"{path} is the mask of a hidden value, which would be shown there.", path=path
        )
    if mask[1] not in stored:
        raise SessionDataError(
            f"{path} is the mask of {mask[1]}, where nothing is stored (any more).", path=path
        )
    return stored[mask[1]]
