"""Setting many rows at once on MySQL and MariaDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .statements import Statement


def update_of_many(
    table: str,
    columns: Mapping[str, str],
    at: Sequence[str],
    changed: Sequence[str],
    rows: Sequence[Sequence[Any]],
) -> Statement:
    """Return what sets columns in many rows.

    MySQL's driver takes long for each parameter. So what is the same in all rows is given once, and
    numbers are part of the text.

    Args:
        columns: their names in SQL, by the names of the fields.
        at: the fields that a row is found by.
        changed: the fields that are set.
        rows: the values of each, first those it is found by.
    """
    parameters: list[Any] = []
    names = [*(f"old_{name}" for name in at), *(f"new_{name}" for name in changed)]
    found = dict(zip(names, zip(*rows, strict=True), strict=True))
    shared = {name: values[0] for name, values in found.items() if len({*values}) == 1}

    def literal(value: Any) -> str:
        if value is None:
            return "NULL"
        if type(value) is int:
            return str(value)
        parameters.append(value)
        return "%s"

    def given(name: str) -> str:
        return literal(shared[name]) if name in shared else f"n.{name}"

    def pairs(between: str, fields: Sequence[str], kind: str) -> str:
        return between.join(f"{table}.{columns[f]} = {given(f'{kind}_{f}')}" for f in fields)

    own = {name: values for name, values in found.items() if name not in shared}
    lines = [list(map(literal, row)) for row in zip(*own.values(), strict=True)]
    # The first row names the columns.
    lines[0] = [f"{value} AS {name}" for name, value in zip(own, lines[0], strict=True)]
    many = " UNION ALL ".join(f"SELECT {', '.join(line)}" for line in lines)
    where, assignments = pairs(" AND ", at, "old"), pairs(", ", changed, "new")
    # Beginning with the table, it would lock all rows of a small one.
    text = f"UPDATE ({many}) AS n STRAIGHT_JOIN {table} ON {where} SET {assignments}"  # noqa: S608
    return Statement(text, parameters, recurs=False)
