"""Which sessions are meant: the admin's filters and search, as query parameters."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _
from rest_framework import serializers

from ..finding import Age, State, in_state, of_age, of_bot, search
from ..records import MAX_KEY_LENGTH, MAX_NAME_LENGTH


def text(longest: int, *, help_text: str, allow_blank: bool = False) -> serializers.RegexField:
    """Return a parameter of text. No database takes a NUL."""
    return serializers.RegexField(
        r"^[^\x00]*$",
        required=False,
        max_length=longest,
        help_text=help_text,
        allow_blank=allow_blank,
        trim_whitespace=False,
    )


def identifier() -> serializers.IntegerField:
    return serializers.IntegerField(required=False, min_value=-(2**63), max_value=2**63 - 1)


class FilterSerializer(serializers.Serializer[Any]):
    """Query parameters. Those that are given all have to fit."""

    bot = text(MAX_NAME_LENGTH, help_text="An alias.")
    name = text(
        MAX_NAME_LENGTH,
        help_text="A fragment's name; empty for single sessions.",
        allow_blank=True,
    )
    key = text(MAX_KEY_LENGTH, help_text="A session key.")
    chat_id = identifier()
    user_id = identifier()
    state = serializers.ChoiceField(State.choices, required=False)
    version = serializers.ChoiceField(
        Age.choices,
        required=False,
        help_text="How the data's version compares with the newest that its bot declares.",
    )
    search = text(
        MAX_KEY_LENGTH,
        help_text="The exact id of a chat or user, the beginning of a key, or words of a title. "
        "4242* finds what begins with these digits.",
    )


def refuse_unknown(given: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse what a client has sent in vain: it would take a list of everything for its own.

    Args:
        given: query parameters, or the fields of a body.

    Raises:
        ValidationError: something is not known, or stands there twice.
    """
    names = ", ".join(sorted(known))
    unknown = _("This is not known here. Known are: {names}.").format(names=names)
    problems = {name: [unknown] for name in given if name not in known}
    for name, values in given.lists() if isinstance(given, QueryDict) else ():
        if len(values) > 1:
            problems[name] = [_("It stands there twice.")]
    if problems:
        raise serializers.ValidationError(problems)


def filtered(sessions: Any, parameters: QueryDict, *, searched: bool = True) -> Any:
    """Return those of ``sessions`` that fit the query parameters.

    Args:
        searched: whether they are to fit the search as well.

    Raises:
        ValidationError: a parameter is wrong.
    """
    serializer = FilterSerializer(data=parameters.dict())  # As a form, it would drop empty ones.
    serializer.is_valid(raise_exception=True)
    wanted = dict(serializer.validated_data)
    if state := wanted.pop("state", None):
        sessions = in_state(sessions, state)
    if version := wanted.pop("version", None):
        sessions = of_age(sessions, version)
    text = wanted.pop("search", None)
    if text and searched:
        sessions = search(sessions, text)
    if bot := wanted.pop("bot", None):
        sessions = of_bot(sessions, bot)
    return sessions.filter(**wanted)
