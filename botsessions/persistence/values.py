"""Encoding and decoding the data of a bot such that it comes back as it was."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property
from typing import Any

import telegram

from ..codec import (
    SORTED,
    Codec,
    Decoded,
    Encoded,
    refuse_longer,
    strict,
    too_deep,
    type_name,
    unstorable,
)
from ..datapath import ROOT, path_of
from ..exceptions import SessionDataError
from ..records import ENCODER, Json
from ..tags import TYPE
from .attributes import attributes
from .comparing import declared_parts, difference
from .packing import REMEDY, WITH_CONTENTS, packed, unpacked

TYPE_TEXT = f'"{TYPE}"'.encode()


class TypedCodec(Codec[Any]):
    """Encodes and decodes the data of a bot that declares its type: no change is silent.

    What an object has besides the fields of its class is not stored.
    """

    def encode_stored(self, value: Json, max_bytes: int) -> Json:
        """Return what was stored elsewhere, to be stored here.

        Raises:
            SessionDataError: it does not fit the type.
        """
        value = strict(self._builtins(value))
        self._convert(value)
        refuse_longer(ENCODER.encode(value), max_bytes)
        return value

    def _refuse_loss(self, data: Any, back: Any) -> None:
        if type(data) is dict and type(back) is not dict:
            return  # It is not of the type yet.
        if (place := difference(data, back, parts_of=declared_parts)) is not None:
            raise unstorable(
                path_of(place),
                "would not come back as it was: say in "
                f"{type_name(self.data_type)} of which type it is, like list[tuple[int, str]]",
            )


class ValueCodec(Codec[Any]):
    """Encodes and decodes the data of a bot that does not declare types.

    Args:
        root: the class that the data is of. Of one that is no dict, its attributes are stored.
        bot: returns the bot that Telegram's objects among the values are to have.
    """

    def __init__(
        self, root: type[Any] = dict, bot: Callable[[], telegram.Bot | None] = lambda: None
    ) -> None:
        super().__init__(None)
        self._root, self._bot = root, bot

    def encode(self, data: Any, unknown: dict[str, Json], max_bytes: int) -> Json:
        """Return ``data`` as JSON that shares nothing with it.

        Raises:
            SessionDataError: it holds something that would not come back as it was, or too much.
        """
        encoded = self.encode_changed(data, None, unknown, max_bytes)
        assert encoded is not None
        return encoded.value

    def encode_stored(self, value: Json, max_bytes: int) -> Json:
        """Return what was stored elsewhere, to be stored here.

        Raises:
            SessionDataError: it is not what this codec has encoded.
        """
        self.decode(value)
        return Codec[Any]().encode(value, {}, max_bytes)

    def encode_changed(
        self, data: Any, stored: bytes | None, unknown: dict[str, Json], max_bytes: int
    ) -> Encoded | None:
        """Do the same, unless the fingerprint is that of what is ``stored``."""
        contents = self._contents(data)
        try:
            value: Json = strict(packed(contents))
        except RecursionError:
            raise too_deep("$") from None
        fingerprint = SORTED.encode(value)
        if fingerprint == stored:
            return None
        self._refuse_changed(contents, value, fingerprint)
        refuse_longer(fingerprint, max_bytes)
        return Encoded(value, fingerprint)

    def decode(self, value: Json) -> Decoded:
        """Return stored JSON as what it was.

        Raises:
            SessionDataError: the code no longer has the class of something in it.
        """
        value = strict(value)
        fingerprint = SORTED.encode(value)
        data = unpacked(value, self._bot()) if TYPE_TEXT in fingerprint else value
        return Decoded(self._rooted(data), {}, fingerprint)

    def _contents(self, data: Any) -> Any:
        """Return what is stored of the root: what a dict holds, or the attributes of an object."""
        if type(data) is dict:
            return data
        if isinstance(data, dict):
            self._refuse_attributes(data)
            return dict(data)
        is_object = hasattr(data, "__dict__") and not isinstance(data, WITH_CONTENTS)
        return vars(data) if is_object and type(data) is self._root else data

    @cached_property
    def _own_attributes(self) -> Collection[str]:
        """The attributes of a new object of the root, which it makes itself."""
        return attributes(self._root(), ()).keys()

    def _refuse_attributes(self, data: Any) -> None:
        """Raise SessionDataError if a dict has an attribute that a new one has not."""
        own = self._own_attributes if type(data) is self._root else ()
        for name in attributes(data, ()):
            if name not in own:
                raise unstorable(
                    path_of((ROOT, name)),
                    f"is an attribute of {type(data).__name__}, which is not stored: only what a "
                    "dict holds is. Keep it there",
                )

    def _refuse_changed(self, contents: Any, value: Json, fingerprint: bytes) -> None:
        """Raise SessionDataError if something would not come back as it was."""
        if TYPE_TEXT not in fingerprint:
            return
        try:
            place = difference(contents, unpacked(value, self._bot()))
            path = None if place is None else path_of(place)
        except SessionDataError as exc:
            path = exc.path
        if path is not None:
            raise unstorable(path, f"would not come back as it was. {REMEDY}")

    def _rooted(self, data: Any) -> Any:
        root: Any = self._root
        if root is dict or not isinstance(data, dict) or isinstance(data, root):
            return data
        if issubclass(root, dict):
            made = root()
            made.update(data)
            return made
        made = root.__new__(root)
        vars(made).update(data)
        return made
