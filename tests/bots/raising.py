"""A module that cannot be imported because its author has made a mistake."""

bot = no_such_name  # type: ignore[name-defined]  # noqa: F821
