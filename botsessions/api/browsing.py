"""The API in a browser, by Django REST framework's own pages."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.http import Http404
from rest_framework.exceptions import APIException
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer

from .preconditions import entity_tag


def renderers(classes: Iterable[Any]) -> list[type[Any]]:
    """Return renderers that work here: pages only where their templates are installed."""
    installed = apps.is_installed("rest_framework")
    found = [
        page_of(renderer) if issubclass(renderer, BrowsableAPIRenderer) else renderer
        for renderer in classes
        if installed or not issubclass(renderer, BrowsableAPIRenderer)
    ]
    return found or [JSONRenderer]


@lru_cache
def page_of(renderer: Any) -> Any:
    """Return a renderer whose pages send the ETag of what they show with each change."""
    if issubclass(renderer, ShowsState):
        return renderer
    attributes = {"template": "botsessions/browsing.html", "extended": renderer.template}
    return type(renderer.__name__, (ShowsState, renderer), attributes)


class ShowsState:
    """Base of pages that know which state of a session they show."""

    extended: str
    """The template of the page without that."""

    def get_context(self, data: Any, accepted_media_type: Any, renderer_context: Any) -> Any:
        context = super().get_context(data, accepted_media_type, renderer_context)  # type: ignore[misc]
        state = state_shown(renderer_context["view"], renderer_context["response"])
        return context | {"extended": self.extended, "entity_tag": state}


def state_shown(view: Any, response: Any) -> str:
    """Return the ETag of the session that a page is about; empty if there is none."""
    if "ETag" in response:
        return str(response["ETag"])
    if "pk" not in view.kwargs:
        return ""
    try:
        view.check_permissions(view.request)
        return entity_tag(view.get_object())
    except (APIException, Http404):
        return ""
