"""Measure the rows, show them, and write docs/performance.md if none was left out."""

from __future__ import annotations

import argparse
import sys

from .comparing import Compared
from .environments import Missing
from .page import Result, Row, rendered, write
from .rows import ROWS
from .sides import Failed


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("words", nargs="*", help="only rows with one of these in their text")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each side in a round")
    options = parser.parse_args()
    rows = [row for row in ROWS if chosen(row, options.words)]
    results = [(row, result(row, options.rounds, options.seconds)) for row in rows]
    text = rendered(results)
    print(text)
    if rows == ROWS:
        write(text)
    if any(is_wrong(found) for _, found in results):
        sys.exit("Something failed or was lost: see above.")


def chosen(row: Row, words: list[str]) -> bool:
    return not words or any(word.lower() in row.work.lower() for word in words)


def result(row: Row, rounds: int, seconds: float) -> Result | str:
    """Return what was found, or why there is nothing."""
    say(row.work)
    try:
        return row.measure(rounds, seconds, lambda text: say(f"    {text}"))
    except Missing as exc:
        return noted(f"not measured here: {exc}")
    except Failed as exc:
        return noted(f"failed: {exc}")


def noted(problem: str) -> str:
    say(f"    {problem}")
    return problem


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def is_wrong(found: Result | str) -> bool:
    if isinstance(found, str):
        return found.startswith("failed")
    return isinstance(found, Compared) and found.lost[0] != 0


if __name__ == "__main__":
    main()
