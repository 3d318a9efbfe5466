"""What Hypothesis makes for the tests."""

from __future__ import annotations

from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
INTEGERS = st.integers() | st.integers(-(2**200), 2**200)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def strict_json(floats: st.SearchStrategy[float] = FLOATS) -> st.SearchStrategy[object]:
    """Data that a session may hold without a declared type."""
    return st.recursive(
        st.none() | st.booleans() | INTEGERS | floats | TEXT,
        lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
        max_leaves=20,
    )
