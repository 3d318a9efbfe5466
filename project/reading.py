"""The documentation, as it stands in the repository."""

from __future__ import annotations

from pathlib import Path

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

FOLDER = Path(__file__).resolve().parent.parent / "docs"


@require_GET
def contents(request: HttpRequest) -> HttpResponse:
    """List the pages."""
    pages = [(page.stem, title(page)) for page in sorted(FOLDER.glob("*.md"))]
    return render(request, "docs.html", {"pages": pages})


@require_GET
def text(request: HttpRequest, name: str) -> HttpResponse:
    """Show a page as it is written."""
    page = next((page for page in FOLDER.glob("*.md") if page.stem == name), None)
    if page is None:
        raise Http404
    return HttpResponse(page.read_text(), content_type="text/plain; charset=utf-8")


def title(page: Path) -> str:
    return page.read_text().partition("\n")[0].removeprefix("# ")
