"""Objects that stand for data: who uses one as if it were the data is told how to get at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn


class StandsForData:
    """Base of such a class, whose ``_remedy`` says what to write."""

    __slots__ = ()

    if not TYPE_CHECKING:  # Type checkers find such mistakes because there are no such methods.

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(f"There is no {name!r} here. {self._remedy}")

        def __setattr__(self, name: str, value: object) -> None:
            if not name.startswith("_") and not hasattr(type(self), name):
                raise AttributeError(f"{name!r} cannot be set here. {self._remedy}")
            object.__setattr__(self, name, value)

    @property
    def _remedy(self) -> str:
        raise NotImplementedError


def refuse(self: StandsForData, *args: Any) -> NoReturn:
    raise TypeError(self._remedy)


USES = (
    *("getitem", "setitem", "delitem", "contains", "iter", "len", "bool"),
    *("add", "sub", "mul", "lt", "le", "gt", "ge"),
    *("await", "enter", "exit", "aenter", "aexit", "deepcopy"),
)
for use in USES:
    setattr(StandsForData, f"__{use}__", refuse)
