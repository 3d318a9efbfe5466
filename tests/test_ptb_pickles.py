"""The files of python-telegram-bot's ``PicklePersistence``."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from telegram.ext import PicklePersistence

from botsessions.ptb.pickles import KINDS, is_split, part, unpickled

from .limits import run

pytestmark = pytest.mark.once


async def written(path: Path, *, single_file: bool) -> None:
    """Store something of each kind as a bot would."""
    persistence: Any = PicklePersistence(path, single_file=single_file, on_flush=True)
    await persistence.update_chat_data(-9, {"count": 1})
    await persistence.update_user_data(5, {"count": 2})
    await persistence.update_bot_data({"count": 3})
    await persistence.update_conversation("order", (5, 5), "asked")
    await persistence.flush()


@pytest.mark.parametrize("single_file", [True, False])
def test_what_a_bot_has_stored_is_read_by_kind(tmp_path: Path, single_file: bool) -> None:
    path = tmp_path / "bot"
    run(written(path, single_file=single_file))
    assert is_split(path) is not single_file
    assert run(unpickled(path)) == {
        "chat_data": {-9: {"count": 1}},
        "user_data": {5: {"count": 2}},
        "bot_data": {"count": 3},
        "conversations": {"order": {(5, 5): "asked"}},
        "callback_data": {},
    }


def test_of_several_files_some_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "bot"
    part(path, "user_data").write_bytes(pickle.dumps({5: {"count": 2}}))
    assert is_split(path)
    found = run(unpickled(path))
    assert set(found) == set(KINDS)
    assert found["user_data"] == {5: {"count": 2}}
    assert found["chat_data"] == found["bot_data"] == found["callback_data"] == {}


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bot"
    with pytest.raises(FileNotFoundError, match=r"bot, nor .*bot_chat_data or others"):
        run(unpickled(path))


def test_what_is_no_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bot"
    path.write_bytes(b"no pickle")
    with pytest.raises(TypeError) as caught:
        run(unpickled(path))
    assert caught.value.__cause__ is not None
