"""Work on a database, as generators that do not know who executes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from django.db import DatabaseError

from botsessions.database.statements import (
    BEGIN,
    COMMIT,
    ROLLBACK,
    Result,
    Statement,
    Work,
    exactly,
    in_transaction,
    one,
    result_of,
    together,
)

pytestmark = pytest.mark.once

FAILED = DatabaseError("failed")


def done(work: Work[Any], answer: Any = None) -> tuple[list[Sequence[str]], Any]:
    """Execute work, which gets its statements' texts as answers; return what it sent, and gave.

    Args:
        answer: what is answered instead, by the statement's text.
    """
    sent: list[Sequence[str]] = []
    found = {} if answer is None else answer
    try:
        statements = next(work)
        while True:
            sent.append([s.text for s in statements])
            default = [Result([(s.text,)], 1) for s in statements]
            statements = work.send(
                [found.get(s.text, d) for s, d in zip(statements, default, strict=True)]
            )
    except StopIteration as end:
        return sent, end.value


def asking(*texts: str) -> Work[list[str]]:
    """Work of one statement after another, which returns what they have come to."""
    answers = []
    for text in texts:
        result = yield from one(Statement(text))
        answers.append(result.rows[0][0])
    return answers


def failing() -> Work[None]:
    yield [Statement("a")]
    raise LookupError("broken")


def idle() -> Work[str]:
    yield from ()
    return "nothing to do"


def test_a_statement_that_failed_raises_what_the_database_said() -> None:
    with pytest.raises(DatabaseError, match="failed"):
        done(asking("a"), {"a": FAILED})
    with pytest.raises(DatabaseError, match="failed"):
        result_of(FAILED)
    assert result_of(Result((), 3)).changed == 3


def test_works_side_by_side_are_sent_together_as_far_as_they_go() -> None:
    sent, given = done(together([asking("a", "b", "c"), idle(), asking("d"), asking("e", "f")]))
    assert sent == [["a", "d", "e"], ["b", "f"], ["c"]]
    assert given == [["a", "b", "c"], "nothing to do", ["d"], ["e", "f"]]
    assert done(together([])) == ([], [])


def test_of_works_as_one_what_they_want_first_may_be_one_transaction() -> None:
    work = together([asking("a", "b"), idle(), asking("c")], as_one=True)
    first = next(work)
    assert [(s.text, s.goes_with_next) for s in first] == [("a", True), ("c", False)]
    second = work.send([Result([("a",)], 1), Result([("c",)], 1)])
    assert [(s.text, s.goes_with_next) for s in second] == [("b", False)]
    assert done(together([idle(), idle()], as_one=True)) == ([], ["nothing to do"] * 2)


def test_if_one_of_works_as_one_fails_first_all_do() -> None:
    noted: list[str] = []

    def noting(text: str) -> Work[None]:
        yield from one(Statement(text))
        noted.append(text)

    work = together([noting("a"), noting("b")], as_one=True)
    next(work)
    with pytest.raises(DatabaseError, match="locked"):
        work.send([Result((), 1), DatabaseError("locked")])
    assert noted == []


def test_a_transaction_begins_with_the_first_statements_and_ends_after_the_last() -> None:
    sent, given = done(in_transaction(asking("a", "b")))
    assert sent == [[BEGIN.text, "a"], ["b"], [COMMIT.text]]
    assert given == ["a", "b"]
    assert done(in_transaction(idle())) == ([], "nothing to do")


@pytest.mark.parametrize(
    ("work", "answers", "error"),
    [
        (failing, {}, LookupError),
        (lambda: asking("a"), {"a": FAILED}, DatabaseError),
    ],
)
def test_if_the_work_raises_the_transaction_is_rolled_back(
    work: Any, answers: Any, error: type[Exception]
) -> None:
    wrapped = in_transaction(work())
    first = next(wrapped)
    assert [s.text for s in first] == [BEGIN.text, "a"]
    (last,) = wrapped.send([Result((), 0), answers.get("a", Result([("a",)], 1))])
    assert last is ROLLBACK
    with pytest.raises(error):
        wrapped.send([Result((), 0)])


def test_a_commit_that_fails_is_raised() -> None:
    with pytest.raises(DatabaseError, match="failed"):
        done(in_transaction(asking("a")), {COMMIT.text: FAILED})


def test_postgresql_itself_counts_rows_and_others_are_counted() -> None:
    statement = Statement("DELETE … RETURNING 1", ["x"])
    assert exactly(2, statement, "sqlite") == statement._replace(expects=2)
    counted = exactly(2, statement, "postgresql", "MAX(n)")
    assert counted.parameters == ["x", 2]
    assert counted.expects is None
    assert counted.text.startswith(f"WITH made AS ({statement.text}) SELECT MAX(n), CASE")
    assert statement.parameters == ["x"]
