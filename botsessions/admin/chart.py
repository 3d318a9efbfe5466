"""Bars for days, as an image that screen readers read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from django.utils import formats
from django.utils.translation import gettext

from ..figures.numbers import Number

HEIGHT = 100
WIDTH = 10
GAP = 2


@dataclass(frozen=True)
class Bar:
    """A day."""

    day: date
    number: Number
    x: int
    height: int

    @property
    def y(self) -> int:
        return HEIGHT - self.height

    @property
    def text(self) -> str:
        return f"{formats.date_format(self.day, 'MONTH_DAY_FORMAT')}: {self.number}"


@dataclass(frozen=True)
class Chart:
    """A number for each of some days."""

    name: str
    title: str
    values: Sequence[tuple[date, Number]]

    bar_width = WIDTH - GAP
    height = HEIGHT

    @property
    def width(self) -> int:
        return WIDTH * len(self.values)

    @cached_property
    def most(self) -> Number:
        return max((number for _, number in self.values), key=lambda number: number.value)

    @property
    def bars(self) -> list[Bar]:
        most = self.most.value or 1
        return [
            Bar(day, number, WIDTH * n + GAP // 2, round(HEIGHT * number.value / most))
            for n, (day, number) in enumerate(self.values)
        ]

    @property
    def description(self) -> str:
        """What a screen reader says of it."""
        (first, _), (last, number) = self.values[0], self.values[-1]
        text = gettext("From {first} to {last}. Most on one day: {most}; today: {today}.")
        return text.format(
            first=formats.date_format(first, "MONTH_DAY_FORMAT"),
            last=formats.date_format(last, "MONTH_DAY_FORMAT"),
            most=self.most,
            today=number,
        )
