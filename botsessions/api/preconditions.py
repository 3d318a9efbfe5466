"""Revisions as entity tags (RFC 9110): nobody changes over HTTP what they have not seen."""

from __future__ import annotations

from django.utils.http import parse_etags, quote_etag
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from ..finding import State, state_of
from ..maintenance.changing import address_of
from ..models import AbstractBotSession
from ..records import conflict


class PreconditionRequired(APIException):
    """A change without a precondition."""

    status_code = status.HTTP_428_PRECONDITION_REQUIRED
    default_detail = _(
        "Say which state you have seen: send its ETag, from a GET of the session, as If-Match."
    )


def entity_tag(session: AbstractBotSession) -> str:
    """Return the ETag of a session."""
    return quote_etag(str(session.revision))


def is_known(request: Request, session: AbstractBotSession) -> bool:
    """Whether the client has the present state already (``If-None-Match``).

    What expires does so without a new revision.
    """
    if state_of(session) == State.EXPIRED:
        return False
    return not {"*", entity_tag(session)}.isdisjoint(tags_in(request, "If-None-Match"))


def require_seen(request: Request, session: AbstractBotSession) -> None:
    """Let a change pass if its author has seen the present state.

    ``If-Match: *`` names no state.

    Raises:
        PreconditionRequired: it names no state.
        SessionConflict: it names another one.
    """
    seen = tags_in(request, "If-Match")
    if not seen or "*" in seen:
        raise PreconditionRequired
    if entity_tag(session) not in seen:
        raise conflict(address_of(session))


def tags_in(request: Request, header: str) -> set[str]:
    """Return the tags that a client sends.

    What has compressed an answer (``GZipMiddleware``, nginx) has made its tag a weak one. It says
    the same: a revision is that of the session, not of the bytes of an answer.
    """
    return {tag.removeprefix("W/") for tag in parse_etags(request.headers.get(header, ""))}
