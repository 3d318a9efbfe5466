"""The statements that a storage makes, whoever sends them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

from django.db.backends.utils import CursorWrapper

from botsessions.database.pipeline import Pipeline

EXACTLY = "WITH made AS ("
"""What PostgreSQL's statements begin with that have to change so many rows."""
TRANSACTION = ("BEGIN", "START", "COMMIT", "ROLLBACK")


@contextmanager
def noted_statements(say: Callable[[str], str]) -> Iterator[list[str]]:
    """Note what ``say`` says of the statements of all threads, and of those that loops send.

    Those around a transaction are left out.
    """
    made: list[str] = []
    execute, execute_each = CursorWrapper.execute, CursorWrapper.executemany
    piped = Pipeline.send

    def note_texts(texts: Iterable[str]) -> None:
        made.extend(
            say(text.removeprefix(EXACTLY)) for text in texts if not text.startswith(TRANSACTION)
        )

    def note(cursor: Any, sql: str, *args: Any) -> Any:
        note_texts(sql.split("; "))  # Several may be sent as one text.
        return execute(cursor, sql, *args)

    def note_each(cursor: Any, sql: str, *args: Any) -> Any:
        made.append(say(sql))
        return execute_each(cursor, sql, *args)

    def note_sent(pipeline: Pipeline, statements: Sequence[Any]) -> None:
        note_texts(statement.text for statement in statements)
        piped(pipeline, statements)

    with (
        mock.patch.object(CursorWrapper, "execute", note),
        mock.patch.object(CursorWrapper, "executemany", note_each),
        mock.patch.object(Pipeline, "send", note_sent),
    ):
        yield made
