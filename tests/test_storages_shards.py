"""Directories whose files are replaced as a whole, by one holder at a time."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from botsessions.storages import shards

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not shards.lockable, reason="Directories cannot be locked here."),
]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    directory = tmp_path / "a" / "b"
    shards.make_directory(directory)
    return directory


def test_only_its_owner_can_look_into_a_directory(shard: Path) -> None:
    for directory in (shard, shard.parent):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    shards.make_directory(shard)  # A second time is no error.


def test_a_file_is_replaced_as_a_whole_and_removed(shard: Path) -> None:
    file = shard / "file"
    with shards.held(shard) as descriptor:
        for content in (b"long content", b"short"):
            shards.replace_file(file, content, descriptor)
            assert file.read_bytes() == content
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert list(shard.iterdir()) == [file]
        shards.remove_file(file, descriptor)
    assert list(shard.iterdir()) == []


def test_what_somebody_left_who_died_while_writing_is_no_obstacle_and_is_cleared(
    shard: Path,
) -> None:
    temporary, file = shard / shards.TEMPORARY, shard / "file"
    temporary.write_bytes(b"half")
    with shards.held(shard) as descriptor:
        shards.replace_file(file, b"whole", descriptor)
    assert file.read_bytes() == b"whole"
    temporary.write_bytes(b"half")
    shards.clear(shard)
    assert list(shard.iterdir()) == [file]


def test_one_at_a_time_holds_it_also_when_the_block_raises(shard: Path) -> None:
    order, begun = [], threading.Event()

    def second() -> None:
        begun.set()
        with shards.held(shard):
            order.append("second")

    thread = threading.Thread(target=second)
    with pytest.raises(ValueError, match="broken"), shards.held(shard):
        thread.start()
        assert begun.wait(5)
        order.append("first")
        raise ValueError("broken")
    thread.join(5)
    assert order == ["first", "second"]


def test_a_process_that_was_forked_meanwhile_does_not_keep_it(shard: Path) -> None:
    go, goes_on = os.pipe()
    with shards.held(shard):
        if (child := os.fork()) == 0:
            os.close(goes_on)
            os.read(go, 1)
            os._exit(0)
    with shards.held(shard):
        os.close(goes_on)
    os.close(go)
    os.waitpid(child, 0)
