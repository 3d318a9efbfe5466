"""The sessions' REST API."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

from django.http import Http404
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.viewsets import GenericViewSet

from .. import audit
from ..exceptions import SessionConflict, SessionDataError, SessionLockError, SessionVersionError
from ..maintenance import Batch, changing
from ..masking import mask, masked_fields, unmask
from ..models import AbstractBotSession, BotSession
from ..permissions import may
from ..reading import UNREADABLE, json_of, with_text
from .browsing import renderers
from .export import JsonLines, export
from .filters import FilterSerializer, filtered, refuse_unknown
from .pagination import SessionPagination
from .parsers import LimitedJSONParser
from .permissions import SessionPermissions
from .preconditions import entity_tag, is_known, require_seen
from .schema import SessionSchema
from .serializers import (
    DataSerializer,
    ExtensionSerializer,
    SessionDetailSerializer,
    SessionSerializer,
)

SERIALIZERS: dict[str | None, type[Any]] = {
    "list": SessionSerializer,
    "partial_update": DataSerializer,
    "expire": Serializer,
    "extend": ExtensionSerializer,
}


@method_decorator(never_cache, name="dispatch")
class SessionViewSet(mixins.ListModelMixin, GenericViewSet[AbstractBotSession]):
    """Sessions of one table. For a table of your own, derive from it and set ``model``."""

    model: type[AbstractBotSession] = BotSession
    permission_classes = (SessionPermissions,)
    pagination_class = SessionPagination
    parser_classes = (LimitedJSONParser,)
    lookup_value_regex = r"\d+"
    schema = SessionSchema()
    own_parameters: Collection[str] = ()
    """Query parameters of filters of your own."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        refuse_unknown(request.query_params, self._known_parameters())

    def get_renderers(self) -> Any:
        """Return what answers are made by; of an export only errors, which are no lines."""
        lines = [JsonLines] if self.action == "export" else []
        return [renderer() for renderer in (*renderers(self.renderer_classes), *lines)]

    def get_queryset(self) -> Any:
        """Return all sessions; a list goes without their data, and its pages do the search."""
        sessions = self.model._default_manager.all()
        if self.action == "list":
            return filtered(sessions.defer("data"), self.request.query_params, searched=False)
        return sessions if self.action == "export" else with_text(sessions)

    def get_serializer_class(self) -> Any:
        """Return what an action takes, or what it answers where it takes nothing."""
        return SERIALIZERS.get(self.action, SessionDetailSerializer)

    def get_serializer_context(self) -> dict[str, Any]:
        contents = may(self.request.user, self.model, "view_contents")
        return super().get_serializer_context() | {"contents": contents}

    def list(self, request: Request) -> Response:
        """Return sessions without their data, a page at a time."""
        return super().list(request)

    def retrieve(self, request: Request, pk: str) -> Response:
        """Return a session, unless the client has its present state."""
        session = self.get_object()
        if is_known(request, session):
            return Response(
                status=status.HTTP_304_NOT_MODIFIED, headers={"ETag": entity_tag(session)}
            )
        return self._answer(session)

    def partial_update(self, request: Request, pk: str) -> Response:
        """Replace a session's data."""
        session = self._seen()
        edited = validated(DataSerializer, request)["data"]
        stored = json_of(session)
        value = unmask(edited, None if stored is UNREADABLE else stored, masked_fields())
        changing.write_data(session, value, session.revision, by=self._by)
        before = None if stored is UNREADABLE else mask(stored, masked_fields())
        self._log(session, audit.changed_data(before, edited))
        return self._answer(self.get_object())

    def destroy(self, request: Request, pk: str) -> Response:
        """Delete a session: its next update starts anew."""
        session = self._seen()
        changing.change_one(session, session.revision, changing.delete)
        self._log(session, "", audit.DELETION)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @action(["POST"], detail=True)
    def expire(self, request: Request, pk: str) -> Response:
        """Let a session expire now."""
        return self._change(self._seen(), partial(changing.expire, by=self._by))

    @action(["POST"], detail=True)
    def extend(self, request: Request, pk: str) -> Response:
        """Let a session that expires live for at least so many seconds from now."""
        session = self._seen()
        length = timedelta(seconds=validated(ExtensionSerializer, request)["seconds"])
        return self._change(session, partial(changing.extend, length=length, by=self._by))

    @action(["GET"], detail=False, pagination_class=None)
    def export(self, request: Request) -> Any:
        """Return sessions with their data, a line each."""
        sessions = filtered(self.get_queryset(), request.query_params)
        return export(request, sessions)

    def handle_exception(self, exc: Exception) -> Response:
        """Answer what went wrong; a change of what was not seen with the present state."""
        if isinstance(exc, SessionConflict):
            try:
                return self._changed_meanwhile(self.get_object())
            except Http404 as gone:
                exc = gone
        if isinstance(exc, (SessionLockError, changing.SettingsAreWrong)):
            exc = NotNow(str(exc))
        if isinstance(exc, changing.HasExpired):
            exc = Expired(str(exc))
        if isinstance(exc, (SessionDataError, SessionVersionError)):
            exc = ValidationError({"data": [str(exc)]})
        return super().handle_exception(exc)

    @property
    def _by(self) -> str:
        """Who makes changes."""
        return f"api:{self.request.user.pk}"

    def _seen(self) -> AbstractBotSession:
        """Return the session that is to be changed, if the client has seen its present state."""
        session: AbstractBotSession = self.get_object()
        require_seen(self.request, session)
        return session

    def _change(
        self, session: AbstractBotSession, change: Callable[[Any], Iterator[Batch]]
    ) -> Response:
        changing.change_one(session, session.revision, change)
        now = self.get_object()
        if now.revision != session.revision:
            self._log(session, audit.changed(self.model, ["expires_at"]))
        return self._answer(now)

    def _log(self, session: AbstractBotSession, message: Any, flag: int = audit.CHANGE) -> None:
        audit.log(self.request.user, [session], flag, message)

    def _answer(self, session: AbstractBotSession) -> Response:
        return Response(self._shown(session).data, headers={"ETag": entity_tag(session)})

    def _shown(self, session: AbstractBotSession) -> SessionDetailSerializer:
        return SessionDetailSerializer(session, context=self.get_serializer_context())

    def _known_parameters(self) -> set[str]:
        known = {str(self.settings.URL_FORMAT_OVERRIDE), *self.own_parameters}
        if self.action in ("list", "export"):
            known |= FilterSerializer().fields.keys()
        if self.action == "list":
            known |= {SessionPagination.cursor_query_param, SessionPagination.page_size_query_param}
        return known

    def _changed_meanwhile(self, session: AbstractBotSession) -> Response:
        detail = _("The session was changed since you have seen it. Nothing was written.")
        return Response(
            {"detail": detail, "session": self._shown(session).data},
            status=status.HTTP_412_PRECONDITION_FAILED,
            headers={"ETag": entity_tag(session)},
        )


class Expired(APIException):
    """The data that is to be replaced has expired."""

    status_code = status.HTTP_409_CONFLICT


class NotNow(APIException):
    """A handler holds the session's key for longer than anybody waits, or its bot is unknown."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE


def validated(serializer_class: type[Any], request: Request) -> Any:
    serializer = serializer_class(data=request.data)
    serializer.is_valid(raise_exception=True)
    refuse_unknown(request.data, serializer.fields.keys())
    return serializer.validated_data
