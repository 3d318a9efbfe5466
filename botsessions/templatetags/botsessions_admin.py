"""Parts of the admin, for templates: ``{% load botsessions_admin %}{% sessions_overview %}``."""

from __future__ import annotations

from typing import Any

from django import template
from django.template import Context

register = template.Library()


@register.inclusion_tag("admin/botsessions/overview_figures.html", takes_context=True)
def sessions_overview(context: Context) -> dict[str, Any]:
    """Show how the sessions are that the user may see."""
    # Django imports this module also where there is no admin.
    from ..admin.overview import overview_for  # noqa: PLC0415

    return overview_for(context["request"])
