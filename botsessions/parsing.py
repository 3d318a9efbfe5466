"""Reading JSON that people and programs send, without losing anything that they have written."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from django.utils.translation import gettext


class NotJson(ValueError):
    """The text is no JSON, or says something twice; the message is for whoever wrote it."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line
        """Where the text ends to be JSON, if that is known."""


def parsed(text: str | bytes) -> Any:
    """Return the JSON of a text.

    Raises:
        NotJson: it is none, or says something twice.
    """
    try:
        return json.loads(text, parse_constant=no_constant, object_pairs_hook=without_duplicates)
    except json.JSONDecodeError as exc:
        raise NotJson(
            gettext("Line {line}, column {column}: this is no JSON. {problem}.").format(
                line=exc.lineno, column=exc.colno, problem=exc.msg
            ),
            exc.lineno,
        ) from None
    except RecursionError:
        raise NotJson(gettext("This is nested too deeply.")) from None
    except UnicodeDecodeError:
        raise NotJson(gettext("This is no JSON: it is no text in UTF-8.")) from None
    except NotJson:
        raise
    except ValueError:  # Python does not read integers of thousands of digits.
        raise NotJson(gettext("A number has too many digits.")) from None


def no_constant(name: str) -> NoReturn:
    raise NotJson(gettext("{name} is no JSON.").format(name=name))


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen = set[str]()
    for name, _value in pairs:
        if name in seen:
            raise NotJson(gettext("The field “{name}” stands there twice.").format(name=name))
        seen.add(name)
    return found
