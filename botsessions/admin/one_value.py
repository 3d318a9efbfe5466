"""Editing a single value of a session's data, where it stands on the session's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import quote
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


def value_page(
    model_admin: SessionPages, request: HttpRequest, object_id: str, contents: Contents
) -> HttpResponse:
    session, sent = contents.session, request.POST if request.method == "POST" else None
    page = redirect(model_admin.url("change", quote(session.pk)))
    asked = sent or request.GET
    path = asked.get("path", "")
    steps = whole_path(path)
    try:
        if contents.expired or contents.data is UNREADABLE or steps is None:
            raise LookupError
        data = mask(contents.data, masked_fields())
        value = value_at(data, steps)
    except LookupError:
        text = gettext("There is no value at {path} (any more).").format(path=visible(path))
        model_admin.message_user(request, text, messages.WARNING)
        return page
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
            now = model_admin.stored(request, object_id, contents=True)
            if now is None:
                return model_admin.missing(request, object_id)
            return value_page(model_admin, request, object_id, Contents(now))
        except (NotJson, SessionError) as exc:
            error = str(exc)
    context = {
        "form": form,
        "error": error,
        "stored": visible(stored),
        "path": visible(path),
        "session": session,
        "session_url": page.url,
        "action": model_admin.url("value", quote(session.pk)),
        "check": model_admin.url("edit", quote(session.pk)),
        "subtitle": columns.title_in_full(session),
    }
    if "part" in asked:
        return TemplateResponse(request, "admin/botsessions/one_value_form.html", context)
    title = gettext("Edit {path}").format(path=visible(path))
    return model_admin.render(request, "one_value.html", title, context)


def kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return TRUTH
    # What nobody sees has escapes in JSON only, and a form knows one kind of line's end.
    return TEXT if isinstance(value, str) and visible(value) == value else JSON
