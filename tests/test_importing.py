"""``manage.py import_sessions``: what it does to sessions, wherever they come from."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from itertools import groupby
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from botsessions import MemoryStorage, enhance_storage, multi_session, session
from botsessions.keys import per_user_chat
from botsessions.maintenance import Failure, storing
from botsessions.maintenance.importing import Import
from botsessions.maintenance.origins import Found, JsonLines, Place
from botsessions.management.commands import import_sessions
from botsessions.models import BotSession
from botsessions.storages import FileStorage

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
SHOP = Place("shop", "cart")


@dataclass
class Cart:
    count: int = 0
    pizzas: list[str] = field(default_factory=list)


@pytest.fixture(autouse=True)
def bots(settings: Any, tmp_path: Path) -> None:
    shop = multi_session(
        cart=session(initial=dict),
        typed=session(initial=Cart),
        member=session(initial=dict, get_session_key=per_user_chat),
        old=session(initial=Cart, storage=enhance_storage(migrations={1: dict, 2: dict})),
        brief=session(initial=dict, storage=enhance_storage(time_to_live=DAY)),
        file=session(initial=dict, storage=FileStorage(tmp_path / "files")),
        memory=session(initial=dict, storage=MemoryStorage()),
    )
    settings.BOTSESSIONS = {"BOTS": {"shop": {"SESSION": shop, "APPLICATION": print}}}


class Lines:
    """A file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, *sessions: dict[str, Any] | str) -> None:
        text = [s if isinstance(s, str) else json.dumps(line(**s)) for s in sessions]
        self.path.write_text("".join(f"{line}\n" for line in text))

    def imported(self, *arguments: str, **options: Any) -> str:
        out, err = StringIO(), StringIO()
        try:
            call_command(
                "import_sessions",
                "jsonl",
                str(self.path),
                *arguments,
                stdout=out,
                stderr=err,
                **options,
            )
        except CommandError as exc:
            err.write(str(exc))
        return out.getvalue() + err.getvalue()


@pytest.fixture
def lines(tmp_path: Path) -> Lines:
    return Lines(tmp_path / "sessions.jsonl")


def line(key: str = "5", data: Any = None, **others: Any) -> dict[str, Any]:
    data = {"n": 1} if data is None else data
    return {"bot": "shop", "fragment": "cart", "key": key, "data": data, **others}


def deep(levels: int) -> str:
    return json.dumps(line()).replace('{"n": 1}', "[" * levels + "]" * levels)


def make(key: str = "5", *, name: str = "cart", data: Any = None, **fields: Any) -> BotSession:
    data = {"n": 1} if data is None else data
    return BotSession.objects.create(bot="shop", name=name, key=key, data=data, **fields)


def stored() -> dict[str, Any]:
    return dict(BotSession.objects.values_list("key", "data"))


# What an export holds comes back.


def test_what_was_exported_comes_back_as_it_was(lines: Lines) -> None:
    now = timezone.now()
    make("5", chat_id=5, chat_type="private", title="María 🍕", created_at=now - 2 * DAY)
    make("6", name="old", version=Decimal("1"), updated_at=now - DAY, expires_at=now + DAY)
    make("7/-9", name="member", user_id=7, chat_id=-9, data=[1.5, None, "é", {"a": []}])
    names = [f.name for f in BotSession._meta.concrete_fields if f.name not in ("id", "revision")]
    before = list(BotSession.objects.order_by("key").values(*names))
    call_command("export_sessions", output=lines.path, stdout=StringIO(), stderr=StringIO())
    BotSession.objects.all().delete()
    assert lines.imported().startswith("3 sessions imported in ")
    after = list(BotSession.objects.order_by("key").values(*names))
    for row in [*before, *after]:
        del row["size"]  # Of rows that were made by hand.
    assert after == before
    assert BotSession.objects.get(key="5").size == len('{"n":1}')


def test_the_bot_reads_what_was_imported(lines: Lines, settings: Any) -> None:
    lines.write({"fragment": "typed", "data": {"count": 3, "pizzas": ["Rex"], "later": 1}})
    assert lines.imported().startswith("1 session imported in")
    shop = settings.BOTSESSIONS["BOTS"]["shop"]["SESSION"]
    assert shop.typed.get(chat=5) == Cart(3, ["Rex"])
    with shop.typed.edit(chat=5) as cart:
        cart.count += 1
    assert BotSession.objects.get().data == {"count": 4, "pizzas": ["Rex"], "later": 1}


def test_a_dry_run_says_what_would_become_of_them_and_writes_nothing(lines: Lines) -> None:
    make("there")
    make("other", data={"n": 2})
    lines.write({"key": "new"}, {"key": "there"}, {"key": "other"}, {"key": "bad", "data": "\0"})
    said = lines.imported("--dry-run")
    assert said.startswith(
        "1 session would be imported, 1 there already, 1 left out because another is stored."
    )
    assert "Session in line 4: $ is text that holds a NUL" in said
    assert set(stored()) == {"there", "other"}
    assert lines.imported().startswith("1 session imported, 1 there already, 1 left out")
    assert set(stored()) == {"there", "other", "new"}


def test_run_again_it_changes_nothing(lines: Lines) -> None:
    lines.write(*({"key": str(n)} for n in range(5)))
    assert lines.imported("--batch-size", "2").startswith("5 sessions imported in")
    before = list(BotSession.objects.values())
    assert lines.imported().startswith("0 sessions imported, 5 there already, in")
    assert list(BotSession.objects.values()) == before


def test_json_for_machines(lines: Lines) -> None:
    make("there")
    lines.write({"key": "new"}, {"key": "there"}, {"data": None, "key": "none"} | {"data": {}})
    result = json.loads(lines.imported("--json"))
    assert {result[name] for name in ("replaced", "kept", "expired", "empty", "failed")} == {0}
    assert (result["imported"], result["same"], result["complete"]) == (2, 1, True)
    assert result["tables"] == {str(lines.path): 2}
    assert json.loads(lines.imported("--json", "--dry-run"))["importable"] == 0


# Never over what may be newer.


def test_what_was_changed_here_later_stays_and_what_is_older_is_replaced(lines: Lines) -> None:
    now = timezone.now()
    for key in ("older", "newer", "same moment"):
        make(key, data={"n": 0}, updated_at=now, title="Maria")
    moments = {"older": now + DAY, "newer": now - DAY, "same moment": now}
    lines.write(*({"key": k, "changed": m.isoformat()} for k, m in moments.items()))
    revisions = dict(BotSession.objects.values_list("key", "revision"))
    said = lines.imported()
    assert said.startswith(
        "0 sessions imported, 1 put in the place of an older one, "
        "2 left out because another is stored, in"
    )
    assert stored() == {"older": {"n": 1}, "newer": {"n": 0}, "same moment": {"n": 0}}
    row = BotSession.objects.get(key="older")
    assert (row.updated_at, row.title) == (now + DAY, "Maria")
    assert row.revision != revisions["older"]


def test_without_a_time_nothing_is_replaced(lines: Lines) -> None:
    make("5", data={"n": 0}, updated_at=timezone.now() - 1000 * DAY)
    lines.write({"changed": None})
    assert "1 left out because another is stored" in lines.imported()
    assert stored() == {"5": {"n": 0}}


def test_of_two_lines_of_one_session_the_newer_stays(lines: Lines) -> None:
    now = timezone.now()
    for moments, expected in (((0, 1), 1), ((1, 0), 0)):
        BotSession.objects.all().delete()
        lines.write(
            *(
                {"data": {"n": n}, "changed": (now + moment * DAY).isoformat()}
                for n, moment in enumerate(moments)
            )
        )
        lines.imported()
        assert stored() == {"5": {"n": expected}}


def test_one_that_the_bot_makes_meanwhile_stays(lines: Lines) -> None:
    lines.write({"key": "5"}, {"key": "6"})
    real = storing.insert

    def late(*arguments: Any) -> int:
        make("5", data={"n": 0})
        return real(*arguments)

    with mock.patch.object(storing, "insert", late):
        assert "1 session imported, 1 left out because another" in lines.imported()
    assert stored() == {"5": {"n": 0}, "6": {"n": 1}}


@pytest.mark.parametrize("lock", ["process", "database"])
@pytest.mark.django_db(transaction=True)
def test_e12_one_that_a_handler_holds_is_left_for_the_next_run(
    lock: str, lines: Lines, settings: Any
) -> None:
    """Otherwise the handler would get a SessionConflict although it has the key."""
    shop = settings.BOTSESSIONS["BOTS"]["shop"]
    shop["LOCK"] = lock
    make("5", data={"n": 0})
    later = (timezone.now() + DAY).isoformat()
    lines.write({"key": "5", "changed": later}, {"key": "6"}, {"key": "7"})
    cart: Any = shop["SESSION"].cart
    with cart.edit("5"), cart.edit("6") as data:
        said = lines.imported()
        data["n"] = 2
    assert said.startswith("1 session imported, 2 left for the next run because handlers hold them")
    assert stored() == {"5": {"n": 0}, "6": {"n": 2}, "7": {"n": 1}}
    assert "1 put in the place of an older one" in lines.imported()
    assert stored() == {"5": {"n": 1}, "6": {"n": 2}, "7": {"n": 1}}


def test_a_row_that_has_expired_gives_way(lines: Lines) -> None:
    make("5", data={"n": 0}, expires_at=timezone.now() - DAY)
    lines.write({})
    assert "1 put in the place of an older one" in lines.imported()
    row = BotSession.objects.get()
    assert (row.data, row.expires_at) == ({"n": 1}, None)


# What is not imported.


def test_what_has_expired_is_left_out(lines: Lines) -> None:
    moment = (timezone.now() - DAY).isoformat()
    lines.write({"expires": moment, "expired": True})
    assert lines.imported().startswith("0 sessions imported, 1 left out because it has expired")
    assert stored() == {}


@pytest.mark.parametrize(
    ("session", "reason"),
    [
        ('{"bot": "shop"', "It is no JSON that Python can read."),
        (deep(600), "[0] is nested deeper than 30 levels"),
        (deep(5000), "It is no JSON that Python can read."),
        ('{"bot": "shop", "key": 5, "secret": 1}', "It is no session as export_sessions writes"),
        ({"changed": "2026-01-02T03:04:05"}, "It is no session as export_sessions writes"),
        ({"bot": "other"}, "The settings declare no fragment 'cart' of a bot 'other'."),
        ({"fragment": ""}, "The settings declare no single session of a bot 'shop'."),
        ({"key": " 5"}, "The session key begins or ends with a blank."),
        ({"key": "x" * 256}, "The session key has 256 characters; it may have 255."),
        ({"data": {"a": [1, {"b": "secret\0"}]}}, "$.a[1].b is text that holds a NUL"),
        ({"data": "x" * 3_200_000}, "bytes; a session may have 3145728"),
        ({"fragment": "typed", "data": {"count": "secret"}}, "$.count does not fit Cart"),
        ({"version": 1}, "It has version 1, and this code knows none: declare migrations up to"),
        (
            {"fragment": "old", "version": 2.5},
            "and this code knows none after 2",
        ),
        ({"version": 1e30}, "A version must be a number"),
        ({"fragment": "memory"}, "It would be kept in a MemoryStorage, until the import ends."),
    ],
)
def test_what_cannot_be_stored_is_named_by_its_line_and_place_and_never_shown(
    lines: Lines, session: Any, reason: str
) -> None:
    lines.write({"key": "good"}, session)
    said = lines.imported()
    assert said.startswith("1 session imported in")
    assert "Session in line 2: " in said
    assert reason in said
    assert "secret" not in said
    assert "1 session could not be handled" in said
    assert set(stored()) == {"good"}


def test_a_masked_export_is_refused(lines: Lines, settings: Any) -> None:
    settings.BOTSESSIONS = {**settings.BOTSESSIONS, "MASKED_FIELDS": ["password"]}
    lines.write({"data": {"password": "[masked: $.password]"}})
    assert "Import what export_sessions writes: it masks nothing." in lines.imported()
    assert stored() == {}


def test_very_deep_data_are_refused_where_fields_are_masked(lines: Lines, settings: Any) -> None:
    settings.BOTSESSIONS = {**settings.BOTSESSIONS, "MASKED_FIELDS": ["password"]}
    lines.write(deep(600), {"key": "good"})
    assert "Session in line 1: $ is nested deeper than 30 levels." in lines.imported()
    assert set(stored()) == {"good"}


def test_a_hundred_are_named_and_the_others_counted(lines: Lines) -> None:
    lines.write(*({"key": " "} for _ in range(120)))
    said = lines.imported()
    assert said.count("begins or ends with a blank") == 100
    assert "And 20 others, which --verbosity 2 names." in said
    assert lines.imported(verbosity=2).count("begins or ends with a blank") == 120


# Versions and expiry.


def test_older_data_is_stored_with_its_version_for_the_migrations(lines: Lines) -> None:
    lines.write({"fragment": "old", "key": "1", "data": {"any": "shape"}, "version": 1})
    lines.imported()
    row = BotSession.objects.get()
    assert (row.version, row.data) == (1, {"any": "shape"})


def test_versions_are_dropped_if_this_code_counts_anew(lines: Lines) -> None:
    lines.write({"version": 7})
    assert "1 session imported" in lines.imported("--drop-versions")
    assert BotSession.objects.get().version is None


def test_data_gets_the_expiry_that_the_session_declares_and_keeps_one_that_it_has(
    lines: Lines,
) -> None:
    now = timezone.now()
    ends = now + 3 * DAY
    lines.write(
        {"fragment": "brief", "key": "1"},
        {"fragment": "brief", "key": "2", "expires": ends.isoformat()},
    )
    lines.imported()
    given, kept = BotSession.objects.order_by("key").values_list("expires_at", flat=True)
    assert given is not None
    assert timedelta(0) <= given - now - DAY < DAY / 10
    assert kept == ends
    assert "2 there already" in lines.imported()


# Other storages.


def test_sessions_go_into_files_once_too(lines: Lines, settings: Any) -> None:
    shop = settings.BOTSESSIONS["BOTS"]["shop"]["SESSION"]
    with shop.file.edit("7") as data:
        data["n"] = 0
    lines.write(*({"fragment": "file", "key": str(key)} for key in range(45)))
    assert lines.imported("--dry-run").startswith("44 sessions would be imported, 1 left out")
    assert shop.file.get("8") is None
    assert lines.imported().startswith("44 sessions imported, 1 left out because another")
    assert lines.imported().startswith("0 sessions imported, 44 there already, 1 left out")
    assert shop.file.get("8") == {"n": 1}
    assert shop.file.get("7") == {"n": 0}
    assert stored() == {}


# Which ones, and how many.


def test_only_of_a_bot_or_a_fragment(lines: Lines) -> None:
    lines.write({"key": "1"}, {"key": "2", "fragment": "typed", "data": {}}, {"bot": "other"})
    assert lines.imported("--bot", "shop", "--fragment", "typed").startswith(
        "1 session imported in"
    )
    assert set(stored()) == {"2"}


def test_a_limit_is_kept(lines: Lines) -> None:
    lines.write(*({"key": str(n)} for n in range(9)))
    assert lines.imported("--limit", "5", "--batch-size", "2").startswith("5 sessions imported in")
    assert len(stored()) == 5
    assert lines.imported("--limit", "5").startswith("4 sessions imported, 5 there already")


def test_progress_counts_lines(lines: Lines) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    lines.write(*({"key": str(n)} for n in range(4)))
    err = Terminal()
    call_command("import_sessions", "jsonl", str(lines.path), stdout=StringIO(), stderr=err)
    assert "4 of 4 imported (100%)" in err.getvalue()


def test_what_ends_early_says_so_and_the_next_run_does_the_rest(lines: Lines) -> None:
    lines.write(*({"key": str(n)} for n in range(9)))
    command, out = import_sessions.Command(), StringIO()
    real = Import.run

    def one_batch_then_a_signal(work: Import, **options: Any) -> Iterator[Any]:
        for batch in real(work, **options):
            command.stop()
            yield batch

    with (
        mock.patch.object(Import, "run", one_batch_then_a_signal),
        pytest.raises(SystemExit) as end,
    ):
        call_command(command, "jsonl", str(lines.path), "--batch-size", "4", stdout=out)
    assert end.value.code == 75
    assert out.getvalue().startswith("4 sessions imported in")
    assert lines.imported().startswith("5 sessions imported, 4 there already")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nowhere.jsonl"], "nowhere.jsonl cannot be read: No such file or directory."),
        ([], "Name the source after jsonl: a file of JSON lines, or - for stdin."),
        (["-", "--data", "chat_data"], "--data is of no use with jsonl."),
        (["-", "--prefix", "x"], "--prefix is of no use with jsonl."),
        (["-", "--database", "other"], "no database 'other'"),
        (["-", "--fragment", "crat"], "There is no fragment 'crat', and no session of such"),
    ],
)
def test_wrong_usage_is_explained(arguments: list[str], problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        call_command("import_sessions", "jsonl", *arguments)


def test_from_the_standard_input(lines: Lines) -> None:
    lines.write({})
    with mock.patch("sys.stdin") as stdin, lines.path.open("rb") as file:
        stdin.buffer = file
        call_command("import_sessions", "jsonl", "-", stdout=StringIO())
    assert stored() == {"5": {"n": 1}}


# Batches.


def found(count: int, size: int) -> Iterator[Found]:
    for number in range(count):
        yield Found(f"in line {number}", SHOP, {"x": "x" * size}, str(number), about=None)


class Many:
    """An origin that makes its sessions."""

    def __init__(self, count: int, size: int = 20) -> None:
        self._count, self._size = count, size

    def count(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Found | Failure]:
        return found(self._count, self._size)

    def left_out(self) -> list[str]:
        return []


def test_a_batch_takes_few_statements() -> None:
    list(Import(Many(1)).run())
    with CaptureQueriesContext(connection) as queries:
        assert [batch.done for batch in Import(Many(200), batch_size=100).run()] == [99, 100]
    table = connection.ops.quote_name(BotSession._meta.db_table)
    words = [query["sql"].split()[0] for query in queries if table in query["sql"]]
    if connection.vendor == "postgresql":
        assert words == ["SELECT", "INSERT"] * 2
        return
    # SQLite takes few parameters at a time.
    assert [word for word, _ in groupby(words)] == [
        "SELECT",
        "INSERT",
        "SELECT",
        "INSERT",
        "SELECT",
    ]


def test_large_sessions_go_in_smaller_batches() -> None:
    batches = [batch.done for batch in Import(Many(12, 1024 * 1024 - 100)).run()]
    assert batches == [3, 3, 3, 3]


def test_many_sessions_are_never_in_memory_as_a_whole(lines: Lines) -> None:
    size, count = 20_000, 1000
    lines.write(*({"key": str(n), "data": {"x": "x" * size}} for n in range(count)))
    tracemalloc.start()
    assert sum(batch.done for batch in Import(JsonLines(str(lines.path))).run()) == count
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size * count
