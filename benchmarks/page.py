"""The result as Markdown, and its place in the documentation."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from .comparing import Compared, Comparison, median_cpu, median_rate
from .environments import ROOT
from .growing import Grown, Growth
from .serving import Served, Serving

PAGE = ROOT / "docs" / "performance.md"
PLACE = re.compile(r"(?<=<!-- make bench -->\n).*?(?=<!-- end -->)", re.DOTALL)

HEADINGS = [
    *("work", "against", "updates/s", "theirs", "ratio", "wanted"),
    *("lost", "theirs", "CPU µs", "theirs", ""),
]

Result = Compared | Grown
Row = Comparison | Serving | Growth


def write(text: str) -> None:
    """Put ``text`` in its place in the documentation."""
    PAGE.write_text(PLACE.sub(lambda _: f"\n{text}\n\n", PAGE.read_text()))


def rendered(results: Sequence[tuple[Row, Result | str]]) -> str:
    """Return date, machine and what was found; a text in its place says why there is nothing."""
    compared = [line(row, found) for row, found in results if not isinstance(row, Growth)]
    waits = [wait(row, found) for row, found in results if isinstance(found, Served)]
    grown = [growth(row, found) for row, found in results if isinstance(row, Growth)]
    versions = [found.versions for _, found in results if not isinstance(found, str)]
    parts = [machine(versions)]
    if compared:
        parts.append(table(HEADINGS, compared))
    return "\n\n".join([*parts, *waits, *grown])


def machine(versions: Iterable[dict[str, str]]) -> str:
    known = {name: version for some in versions for name, version in some.items()}
    programs = ", ".join(f"{name} {known[name]}" for name in sorted(known, key=str.lower))
    now = datetime.now(timezone.utc)
    return (
        f"{now:%-d %B %Y}, {processor()}, {os.cpu_count()} cores, {platform.system()}; {programs}."
    )


def processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for entry in information.read_text().splitlines():
            name, _, value = entry.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def line(row: Comparison | Serving, found: Result | str) -> list[str]:
    start = [row.work, row.peer.name]
    wanted = f"≥ {row.least:.2f}"
    if not isinstance(found, Compared):
        return [*start, "", "", "", wanted, "", "", "", "", str(found)]
    rates = [f"{median_rate(works):,.0f}" for works in (found.ours, found.peer)]
    cpu = [f"{median_cpu(works):,.0f}" for works in (found.ours, found.peer)]
    ratio = f"**{found.ratio:.2f}**"
    return [*start, *rates, ratio, wanted, *map(str, found.lost), *cpu, verdict(found)]


def growth(row: Growth, found: Result | str) -> str:
    text = f"{row.work[0].upper()}{row.work[1:]}: "
    if not isinstance(found, Grown):
        return f"{text}{found}."
    return (
        f"{text}{found.before:.0f} MB after {row.warm_after:,} chats, {found.after:.0f} MB after "
        f"{row.chats:,}; wanted: at most {row.most:.0f} MB more: {verdict(found)}."
    )


def wait(row: Row, found: Served) -> str:
    times = [f"{p50:.1f} ms, and {p99:.1f} at the 99th percentile" for p50, p99 in found.waits]
    wanted = "; wanted: at most {:g} and {:g} ms".format(*row.most) if row.most else ""
    return f"Until an answer to {row.work}: {times[0]}; {row.peer.name}: {times[1]}{wanted}."


def verdict(found: Result) -> str:
    return "reached" if found.reached else "missed"


def table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [headings, ["---"] * len(headings), *lines]
    return "\n".join(f"| {' | '.join(map(escaped, cells))} |" for cells in rows)


def escaped(cell: str) -> str:
    return cell.replace("|", "\\|")
