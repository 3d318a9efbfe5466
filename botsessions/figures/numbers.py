"""Numbers, as far as they are known."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils import formats
from django.utils.translation import gettext


@dataclass(frozen=True)
class Number:
    """A number of sessions: exact, or about so many, or fewer than some, if any."""

    value: int
    exact: bool = True
    below: int | None = None
    """Set where a sample found none: there are probably fewer than these."""

    def __str__(self) -> str:
        if self.below is not None:
            return gettext("< {n}").format(n=grouped(self.below))
        text = grouped(self.value)
        return text if self.exact else gettext("≈ {n}").format(n=text)

    def __add__(self, other: Number) -> Number:
        value, exact = self.value + other.value, self.exact and other.exact
        if value or exact:
            return Number(value, exact)
        return Number(0, False, max(self.below or 0, other.below or 0))

    def __bool__(self) -> bool:
        return bool(self.value)


NONE = Number(0)


def estimated(seen: int, scale: float) -> Number:
    """Return how many there are if a sample, in which each stands for ``scale``, has ``seen``."""
    if not seen:
        return Number(0, False, rounded(3 * scale))  # With 95 in 100 samples.
    return Number(rounded(seen * scale), False)


def rounded(number: float) -> int:
    """Return ``number`` with two digits that count: more a sample does not know."""
    return int(float(f"{number:.2g}"))


def grouped(number: int) -> str:
    return formats.number_format(number, force_grouping=True)
