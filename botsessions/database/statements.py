"""Work on a database, written once as generators that do not know who executes it.

Work yields statements that may be sent together. It is sent what each has come to, a result or the
database's error, and goes on. In a transaction nothing is executed after an error, which the rest
has come to as well; if its end was sent along, it is rolled back. If the connection is lost, work
is not continued at all: whoever executes it raises.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, TypeVar

from django.db import DatabaseError

T = TypeVar("T")


class Statement(NamedTuple):
    """A statement with ``%s`` for each parameter."""

    text: str
    parameters: Sequence[Any] = ()
    each: bool = False
    """Whether it is to be executed once for each of ``parameters``."""
    recurs: bool = True
    """Whether its text is one of a few, so that it is worth preparing."""
    expects: int | None = None
    """How many rows it has to change or return; otherwise it has failed."""
    goes_with_next: bool = False
    """Whether it may be one transaction with the next one, so that both fail if one does."""


class Unexpected(DatabaseError):
    """A statement has changed or returned another number of rows than it has to."""


class Result(NamedTuple):
    """What the database has answered."""

    rows: Sequence[Sequence[Any]]
    changed: int
    """How many rows."""


BEGIN = Statement("BEGIN", recurs=False)
"""Begin a transaction, or a savepoint where there is one already, until one of the next two."""
COMMIT = Statement("COMMIT", recurs=False)
ROLLBACK = Statement("ROLLBACK", recurs=False)

PATIENT = Statement("SET lock_timeout = 25", recurs=False)
"""Wait for so many milliseconds for what others have locked, on PostgreSQL."""
IMPATIENT = Statement("SET lock_timeout = 1", recurs=False)

UNFLUSHED = "set_config('synchronous_commit', 'off', true)"
"""In a statement on PostgreSQL: its transaction is answered before it is on the disk. For leases
and claims only: if a crash of the server takes one back, the save that misses it is refused."""

Answer: TypeAlias = "Result | DatabaseError"
Work: TypeAlias = Generator[Sequence[Statement], Sequence[Answer], T]


def result_of(answer: Answer) -> Result:
    """Return a result.

    Raises:
        DatabaseError: the statement failed.
    """
    if isinstance(answer, Exception):
        raise answer
    return answer


def one(statement: Statement) -> Work[Result]:
    """Have one statement executed.

    Raises:
        DatabaseError: it failed.
    """
    (answer,) = yield [statement]
    if isinstance(answer, Exception):
        raise answer
    return answer


def exactly(count: int, statement: Statement, vendor: str, collecting: str = "0") -> Statement:
    """Return a statement that fails unless it changes or returns so many rows.

    On PostgreSQL it has to return something of each; then the server itself sees to it, so that a
    whole transaction can be sent at once.

    Args:
        collecting: an expression over these rows, which it returns there.
    """
    if vendor != "postgresql":
        return statement._replace(expects=count)
    text = refusing(statement.text, collecting)
    return statement._replace(text=text, parameters=[*statement.parameters, count])


@lru_cache(maxsize=128)
def refusing(text: str, collecting: str) -> str:
    return f"WITH made AS ({text}) {refusing_others(collecting)}"


def refusing_others(collecting: str = "0") -> str:
    """Return what fails unless the rows of ``made`` are as many as its parameter says."""
    # What is not constant is not evaluated before it is needed.
    refusal = f"CAST('{REFUSAL} ' || COUNT(*) || ')' AS integer)"
    return f"SELECT {collecting}, CASE WHEN COUNT(*) = %s THEN 0 ELSE {refusal} END FROM made"  # noqa: S608


REFUSAL = "botsessions: a session, key or update has gone to somebody else, nothing is written ("
"""What PostgreSQL's error says then, which stands in the server's log, too."""


def in_transaction(work: Work[T]) -> Work[T]:
    """Have all that work changes made, or nothing.

    Raises:
        Exception: what the work raised; nothing was changed.
    """
    try:
        wanted = next(work)
    except StopIteration as end:
        result: T = end.value
        return result
    _, *answers = yield [BEGIN, *wanted]
    try:
        result = yield from continued(work, answers)
    except Exception:
        yield [ROLLBACK]
        raise
    yield from one(COMMIT)
    return result


def continued(work: Work[T], answers: Sequence[Answer]) -> Work[T]:
    """Go on with work whose first statements have come to ``answers``."""
    while True:
        try:
            wanted = work.send(answers)
        except StopIteration as end:
            result: T = end.value
            return result
        answers = yield wanted


def together(works: Sequence[Work[T]], *, as_one: bool = False) -> Work[list[T]]:
    """Have works done side by side, their statements sent together as far as they go.

    None of them may leave a transaction open while it waits for answers.

    Args:
        as_one: what they want first may be one transaction: all of it fails if one fails.
    """
    if len(works) == 1:
        return [(yield from works[0])]
    outcomes: dict[int, T] = {}
    wanted: dict[int, Sequence[Statement]] = {}
    answers: dict[int, Sequence[Answer] | None] = dict.fromkeys(range(len(works)))
    while True:
        for number, given in answers.items():
            try:
                work = works[number]
                wanted[number] = next(work) if given is None else work.send(given)
            except StopIteration as end:
                outcomes[number] = end.value
        if not wanted:
            return [outcomes[number] for number in range(len(works))]
        statements = [statement for some in wanted.values() for statement in some]
        if as_one:
            statements[:-1] = [s._replace(goes_with_next=True) for s in statements[:-1]]
        found = yield statements
        if as_one:  # What was answered before an error may have been taken back.
            errors = [answer for answer in found if isinstance(answer, Exception)]
            found = errors[:1] * len(found) if errors else found
            as_one = False
        start, answers = 0, {}
        for number, some in wanted.items():
            answers[number] = found[start : start + len(some)]
            start += len(some)
        wanted = {}
