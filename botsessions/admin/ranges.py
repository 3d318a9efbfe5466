"""The filter by ranges: of when sessions were made and changed, of their ends and sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timezone
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.timezone import make_aware
from django.utils.translation import gettext_lazy as _

from ..bots import all_bots
from ..finding import LISTED, NEWEST, any_of
from ..models import MAX_CLASS, MIN_CLASS
from .filters import UNKNOWN, unknown_bots
from .hints import Hint

COLUMNS = {
    "created_from": "created_at__gte",
    "created_to": "created_at__lte",
    "changed_from": "updated_at__gte",
    "changed_to": "updated_at__lte",
    "expires_from": "expires_at__gte",
    "expires_to": "expires_at__lte",
    "size_from": "size__gte",
    "size_to": "size__lte",
    "exact_version": "version",
}


NO_VERSION = "none"
"""In the address of the page, for data without a version."""


class MomentField(forms.DateTimeField):
    widget = forms.DateTimeInput(attrs={"type": "datetime-local"})

    def clean(self, value: Any) -> Any:
        try:
            moment = super().clean(value)
        except forms.ValidationError as exc:
            if exc.code != "ambiguous_timezone":
                raise
            moment = make_aware((exc.params or {})["datetime"])  # Clocks are changed at this time.
        try:
            return moment and moment.astimezone(timezone.utc) and moment
        except (OverflowError, ValueError):  # Of the first or the last year.
            raise forms.ValidationError(self.error_messages["invalid"], "invalid") from None

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Return what the widget shows: of a day, its beginning."""
        return f"{data}T00:00" if data and "T" not in data and " " not in data else data


class VersionField(forms.DecimalField):
    widget = forms.TextInput(attrs={"inputmode": "decimal"})

    def clean(self, value: Any) -> Any:
        return NO_VERSION if value == NO_VERSION else super().clean(value)


class RangeForm(forms.Form):
    created_from = MomentField(label=_("Created from"), required=False)
    created_to = MomentField(label=_("Created to"), required=False)
    changed_from = MomentField(label=_("Changed from"), required=False)
    changed_to = MomentField(label=_("Changed to"), required=False)
    expires_from = MomentField(label=_("Expires from"), required=False)
    expires_to = MomentField(label=_("Expires to"), required=False)
    size_from = forms.IntegerField(label=_("Bytes from"), required=False, min_value=0)
    size_to = forms.IntegerField(label=_("Bytes to"), required=False, min_value=0)
    exact_version = VersionField(
        label=_("Version"), required=False, max_digits=15, decimal_places=6
    )


class RangeFilter(admin.ListFilter):
    """What no index knows is looked for among the newest :data:`NEWEST` sessions."""

    title = _("ranges")
    parameter_name = "ranges"  # No parameter has it; django-unfold asks every filter.
    template = "admin/botsessions/range_filter.html"
    bound = Q()
    """What holds for the sessions among which the list looks,"""
    is_bounded = False
    """and whether these are not all."""
    _larger: Sequence[Q] = ()

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self._bot = request.GET.get("bot")
        for name in COLUMNS:
            if name in params and (value := params.pop(name)[-1]):
                self.used_parameters[name] = value
        self.form = RangeForm(self.used_parameters or None, auto_id="bs-range-%s")

    def expected_parameters(self) -> list[str | None]:
        return [*COLUMNS]

    def has_output(self) -> bool:
        return True

    @property
    def chosen(self) -> dict[str, Any]:
        """What the columns are compared with, by name; empty where that makes no sense."""
        if not self.form.is_valid():
            return {}
        chosen = {name: v for name, v in self.form.cleaned_data.items() if v is not None}
        return {name: None if v == NO_VERSION else v for name, v in chosen.items()}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.used_parameters:
            return queryset
        if not self.form.is_valid():
            return queryset.none()
        chosen = self.chosen
        if "size_from" in chosen:
            self._larger = self._from(queryset, chosen["size_from"])
            self.bound &= any_of(self._larger)
            queryset = queryset.filter(size_class__gte=class_of(chosen["size_from"]))
        if {"changed_from", "changed_to"} & chosen.keys():
            self.bound &= self._newest(queryset, NEWEST)
        if "exact_version" in chosen and self._bot not in (None, UNKNOWN):
            queryset = queryset.filter(bot=self._bot)  # The index of versions begins with the bot.
        return queryset.filter(**{COLUMNS[name]: value for name, value in chosen.items()})

    def _newest(self, sessions: QuerySet[Any], most: int) -> Q:
        """Return what holds for the newest of some sessions alone."""
        edge = list(sessions.order_by("-pk").values_list("pk", flat=True)[most : most + 1])
        self.is_bounded = self.is_bounded or bool(edge)
        return Q(pk__gt=edge[0]) if edge else Q()

    def _from(self, sessions: QuerySet[Any], size: int) -> list[Q]:
        """Return conditions of which one holds for sessions of such a size."""
        power = class_of(size)
        of_class = Q(size_class=power)
        newest = self._newest(sessions.model._default_manager.filter(of_class), LISTED)
        return [Q(size_class__gt=power), of_class & newest & Q(size__gte=size)]

    @property
    def hint(self) -> Hint | None:
        chosen = self.chosen
        if "exact_version" in chosen:
            version = Q(version=chosen["exact_version"])
            if self._bot not in (None, UNKNOWN):
                return [Q(bot=self._bot) & version], []
            known = [] if self._bot == UNKNOWN else [Q(bot=bot) for bot in all_bots()]
            return [of_bot & version for of_bot in [*known, *unknown_bots()]], []
        for column, order in (("created", "-created_at"), ("expires", "-expires_at")):
            if {f"{column}_from", f"{column}_to"} & chosen.keys():
                return [Q()], [order]
        return ([*self._larger], []) if self._larger else None

    def choices(self, changelist: Any) -> Iterator[Any]:
        others = [
            (name, value)
            for name, values in changelist.filter_params.items()
            for value in values
            if name not in {*COLUMNS, SEARCH_VAR}
        ]
        if changelist.query:
            others.append((SEARCH_VAR, changelist.query))
        yield {"form": self.form, "others": others}

    def chips(self) -> Iterator[tuple[str, str, list[str]]]:
        """Yield what is chosen: its label, its value, and the parameters that say it."""
        for name, value in self.used_parameters.items():
            yield str(self.form.fields[name].label), str(value).replace("T", " "), [name]


def class_of(size: int) -> int:
    """Return the size class of so many bytes."""
    power = size.bit_length() - 1
    return 0 if power < MIN_CLASS else min(power, MAX_CLASS)
