"""Sessions as JSON."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from ..finding import State, state_of
from ..masking import mask, masked_fields
from ..reading import UNREADABLE, json_of
from ..records import plain
from .preconditions import entity_tag

LONGEST = timedelta(days=36500)


class MomentField(serializers.DateTimeField):
    """A moment in the current time zone, if it has a date there."""

    def enforce_timezone(self, value: Any) -> Any:
        try:
            return super().enforce_timezone(value)
        except serializers.ValidationError:  # Of the first or the last year.
            return value


class SessionSerializer(serializers.Serializer[Any]):
    """A session without its data."""

    id = serializers.IntegerField(read_only=True)
    bot = serializers.CharField(read_only=True, help_text="The bot's alias.")
    name = serializers.CharField(
        read_only=True, help_text="The fragment's name; empty for single sessions."
    )
    key = serializers.CharField(read_only=True, help_text="The session key.")
    chat_id = serializers.IntegerField(read_only=True, allow_null=True)
    user_id = serializers.IntegerField(read_only=True, allow_null=True)
    chat_type = serializers.CharField(read_only=True)
    title = serializers.CharField(
        read_only=True, help_text="The chat's title or the user's name, as last seen."
    )
    state = serializers.SerializerMethodField()
    version = serializers.SerializerMethodField()
    size = serializers.IntegerField(read_only=True, help_text="In bytes.")
    created_at = MomentField(read_only=True)
    updated_at = MomentField(read_only=True)
    expires_at = MomentField(read_only=True, allow_null=True)
    etag = serializers.SerializerMethodField()

    def get_state(self, session: Any) -> State:
        """Return whether the session is live, expires soon, is due, or has expired."""
        return state_of(session)

    def get_version(self, session: Any) -> str | None:
        """Return the version of the data's shape, exactly."""
        return None if session.version is None else str(plain(session.version))

    def get_etag(self, session: Any) -> str:
        """Return what to send as ``If-Match``."""
        return entity_tag(session)


class SessionDetailSerializer(SessionSerializer):
    """A session with its data."""

    data = serializers.SerializerMethodField(  # type: ignore[assignment]
        help_text="Masked; null for those who may not see contents, where nothing readable is "
        "stored, and where it has expired."
    )
    readable = serializers.SerializerMethodField()

    @extend_schema_field(OpenApiTypes.ANY)
    def get_data(self, session: Any) -> Any:
        """Return what may be shown of the data."""
        return shown(session) if self.context["contents"] else None

    def get_readable(self, session: Any) -> bool:
        """Return whether what is stored is JSON that can be read."""
        return json_of(session) is not UNREADABLE


def shown(session: Any) -> Any:
    """Return what may be shown of a session's data."""
    data = None if state_of(session) == State.EXPIRED else json_of(session)
    return None if data is UNREADABLE else mask(data, masked_fields())


class DataField(serializers.JSONField):
    """JSON of any kind, shown as the data of a session is."""

    def get_attribute(self, session: Any) -> Any:
        return shown(session)


class DataSerializer(serializers.Serializer[Any]):
    """New data. Masked values in it stay what they are."""

    data = DataField()  # type: ignore[assignment]


class ExtensionSerializer(serializers.Serializer[Any]):
    """How long a session is to live from now, at least."""

    seconds = serializers.IntegerField(min_value=1, max_value=int(LONGEST.total_seconds()))


class ChangedMeanwhileSerializer(serializers.Serializer[Any]):
    """A refused change, with the present state."""

    detail = serializers.CharField()
    session = SessionDetailSerializer()


class ErrorSerializer(serializers.Serializer[Any]):
    """What went wrong."""

    detail = serializers.CharField()
