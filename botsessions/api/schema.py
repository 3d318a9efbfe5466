"""What OpenAPI cannot see in the views."""

from __future__ import annotations

from typing import Any

from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
)
from drf_spectacular.views import SpectacularAPIView

from .export import JsonLines
from .filters import FilterSerializer
from .permissions import MaySee
from .serializers import (
    ChangedMeanwhileSerializer,
    DataSerializer,
    ErrorSerializer,
    ExtensionSerializer,
    SessionDetailSerializer,
    SessionSerializer,
)

IF_MATCH = OpenApiParameter(
    "If-Match",
    {"type": "string", "pattern": r'^"\d+"$'},
    location=OpenApiParameter.HEADER,
    required=True,
    description="The ETag of the state that the client has seen.",
)
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match",
    location=OpenApiParameter.HEADER,
    description="The ETag of a state that the client has already.",
)
ETAG = OpenApiParameter(
    "ETag",
    location=OpenApiParameter.HEADER,
    response=[200],
    description="Of the state in the answer.",
)
REFUSED = {
    401: OpenApiResponse(ErrorSerializer, "Who asks is not known."),
    403: OpenApiResponse(ErrorSerializer, "Who asks may not."),
}
MISSING = {404: OpenApiResponse(ErrorSerializer, "There is no such session.")}
WRONG = {400: OpenApiResponse(OpenApiTypes.OBJECT, "What is wrong, by field.")}
EXPIRED = {409: OpenApiResponse(ErrorSerializer, "It has expired: there is no data any more.")}
UNSEEN = {
    412: OpenApiResponse(ChangedMeanwhileSerializer, "It was changed meanwhile."),
    428: OpenApiResponse(ErrorSerializer, "If-Match is missing."),
    503: OpenApiResponse(ErrorSerializer, "The bot keeps it busy, or its settings are wrong."),
}
UNREADABLE = {
    413: OpenApiResponse(ErrorSerializer, "It is larger than any session may be."),
    415: OpenApiResponse(ErrorSerializer, "It is no JSON."),
}
SESSION = {200: SessionDetailSerializer}
NOT_MODIFIED = {304: OpenApiResponse(description="The client has it already.")}
DELETED = {204: OpenApiResponse(description="It is deleted.")}
LINES = {(200, JsonLines.media_type): OpenApiTypes.STR}
LIST = {200: SessionSerializer(many=True)}

PARAMETERS: dict[str, list[Any]] = {
    "list": [FilterSerializer],
    "export": [FilterSerializer],
    "retrieve": [IF_NONE_MATCH, ETAG],
    "partial_update": [IF_MATCH, ETAG],
    "expire": [IF_MATCH, ETAG],
    "extend": [IF_MATCH, ETAG],
    "destroy": [IF_MATCH],
}
REQUESTS = {"partial_update": DataSerializer, "extend": ExtensionSerializer}
RESPONSES: dict[str, dict[Any, Any]] = {
    "list": LIST | WRONG | REFUSED | MISSING,
    "export": LINES | WRONG | REFUSED,
    "retrieve": SESSION | NOT_MODIFIED | REFUSED | MISSING,
    "partial_update": SESSION | WRONG | REFUSED | MISSING | EXPIRED | UNSEEN | UNREADABLE,
    "expire": SESSION | REFUSED | MISSING | UNSEEN,
    "extend": SESSION | WRONG | REFUSED | MISSING | UNSEEN | UNREADABLE,
    "destroy": DELETED | REFUSED | MISSING | UNSEEN,
}


class SessionSchema(AutoSchema):
    """Describes the actions of the sessions' view."""

    view: Any

    def get_tags(self) -> list[str]:
        return ["sessions"]

    def get_summary(self) -> str:
        return self.get_description()

    def get_override_parameters(self) -> Any:
        return PARAMETERS[self.view.action]

    def map_renderers(self, attribute: str) -> Any:
        """Return what errors are made by, too: no lines."""
        return [kind for kind in super().map_renderers(attribute) if kind != JsonLines.media_type]

    def get_request_serializer(self) -> Any:
        return REQUESTS.get(self.view.action)

    def get_response_serializers(self) -> Any:
        return RESPONSES[self.view.action]


def only_ours(endpoints: list[Any]) -> list[Any]:
    """Leave out a project's other views."""
    return [e for e in endpoints if isinstance(e[3].cls.schema, SessionSchema)]


@method_decorator(never_cache, name="dispatch")
class SchemaView(SpectacularAPIView):
    """The OpenAPI description of this API, wherever the project has included it."""

    permission_classes = (MaySee,)
    custom_settings = {  # noqa: RUF012
        "TITLE": "Bot sessions",
        "DESCRIPTION": "What Telegram bots remember of chats and users.",
        "VERSION": "1",
        "COMPONENT_SPLIT_PATCH": False,
        "PREPROCESSING_HOOKS": ["botsessions.api.schema.only_ours"],
    }
