"""Editing a single value of a session's data, where it stands on the session's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..exceptions import SessionConflict, SessionError
from ..masking import mask, masked_fields
from ..parsing import NotJson, parsed
from ..reading import UNREADABLE
from . import columns
from .contents import Contents
from .edit import answered, contents_of
from .editing import pretty
from .merging import same
from .paths import value_at, whole_path, with_value
from .plain import visible
from .saving import save

if TYPE_CHECKING:
    from .pages import SessionPages

TEXT, JSON, TRUTH = "text", "json", "truth"


class ValueForm(forms.Form):
    """A value as people write it: text without quotes, or any JSON.

    Args:
        value: what stands there now.
    """

    value = forms.CharField(label=_("Value"), required=False, strip=False)
    kind = forms.CharField(widget=forms.HiddenInput)
    opened = forms.CharField(widget=forms.HiddenInput)
    path = forms.CharField(widget=forms.HiddenInput, strip=False)

    def __init__(self, value: Any, path: str, kind: str, data: Any = None) -> None:
        text = value if kind == TEXT and isinstance(value, str) else pretty(value)
        initial = {"value": text, "kind": kind, "opened": pretty(value), "path": path}
        super().__init__(data, initial=initial)
        widget = forms.Textarea(attrs={"rows": min(20, text.count("\n") + 1), "class": "bs-one"})
        if kind == TRUTH:
            choices = [("true", "true"), ("false", "false")]
            widget = forms.Select(choices=choices)  # type: ignore[assignment]
        self.fields["value"].widget = widget

    def chosen(self) -> Any:
        """Return the value.

        Raises:
            NotJson: the text is no JSON, and is to be some.
        """
        text: str = self.cleaned_data["value"].replace("\r\n", "\n")
        return text if self.cleaned_data["kind"] == TEXT else parsed(text)


def value_page(model_admin: SessionPages, request: HttpRequest, object_id: str) -> HttpResponse:
    return answered(answer, model_admin, request, object_id)


def answer(
    request: HttpRequest, model_admin: SessionPages, object_id: str, contents: Contents | None
) -> HttpResponse:
    sent = request.POST if request.method == "POST" else None
    asked = sent or request.GET
    path = asked.get("path", "")
    steps = whole_path(path)
    if contents is None or steps is None:
        return gone(model_admin, request, object_id, contents, path)
    try:
        data, value = found(contents, steps)
    except LookupError:
        return gone(model_admin, request, object_id, contents, path)
    kind, error, stored = asked.get("kind") or kind_of(value), "", ""
    form = ValueForm(value, path, kind, sent)
    if sent and form.is_valid():
        try:
            new = form.chosen()
            if not same(parsed(form.cleaned_data["opened"]), value):
                stored = pretty(value)
                form = ValueForm(value, path, kind, {**sent.dict(), "opened": stored})
                raise NotJson(gettext("It was changed meanwhile: this is what is stored now."))
            return save(model_admin, request, contents, with_value(data, steps, new))
        except SessionConflict:
            now = contents_of(model_admin, request, object_id)
            return answer(request, model_admin, object_id, now)
        except (NotJson, SessionError) as exc:
            error = str(exc)
    return shown(model_admin, request, object_id, contents, form, error, stored)


def found(contents: Contents, steps: list[str | int]) -> tuple[Any, Any]:
    """Return the data, with masks, and the value in it.

    Raises:
        LookupError: there is none.
    """
    if contents.expired or contents.data is UNREADABLE:
        raise LookupError
    data = mask(contents.data, masked_fields())
    return data, value_at(data, steps)


def gone(
    model_admin: SessionPages,
    request: HttpRequest,
    object_id: str,
    contents: Contents | None,
    path: str,
) -> HttpResponse:
    """Say that there is no such value. What was sent stays to be copied."""
    text = gettext("There is no value at {path} (any more).").format(path=visible(path))
    if request.method == "POST":
        if contents is None:
            text = gettext("The session was deleted meanwhile. Nothing was saved.")
        elif contents.expired:
            text = gettext("The session has expired meanwhile. Nothing was saved.")
        form = ValueForm("", path, request.POST.get("kind", JSON), request.POST)
        return shown(model_admin, request, object_id, contents, form, text)
    if contents is None:
        return model_admin.missing(request, object_id)
    model_admin.message_user(request, text, messages.WARNING)
    return redirect(model_admin.url("change", object_id))


def shown(
    model_admin: SessionPages,
    request: HttpRequest,
    object_id: str,
    contents: Contents | None,
    form: ValueForm,
    error: str,
    stored: str = "",
) -> HttpResponse:
    path = visible(form["path"].value() or "")
    context = {
        "form": form,
        "error": error,
        "stored": visible(stored),
        "path": path,
        "action": model_admin.url("value", object_id),
        "check": model_admin.url("edit", object_id),
    }
    if contents is not None:
        context["session"] = contents.session
        context["session_url"] = model_admin.url("change", object_id)
        context["subtitle"] = columns.title_in_full(contents.session)
    if "part" in request.GET:
        return TemplateResponse(request, "admin/botsessions/one_value_form.html", context)
    title = gettext("Edit {path}").format(path=path)
    return model_admin.render(request, "one_value.html", title, context)


def kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return TRUTH
    # What nobody sees has escapes in JSON only, and a form knows one kind of line's end.
    return TEXT if isinstance(value, str) and visible(value) == value else JSON
