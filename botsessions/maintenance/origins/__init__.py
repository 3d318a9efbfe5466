"""Where sessions are kept that are to move in: other libraries' files and tables, and exports."""

from .found import Found, Origin, OriginError, Place
from .grammy import GrammyFiles, GrammyFree, GrammyTable, Keys
from .json_lines import JsonLines
from .ptb import KINDS, DjangoPersistence, Pickle, Way

__all__ = [
    "KINDS",
    "DjangoPersistence",
    "Found",
    "GrammyFiles",
    "GrammyFree",
    "GrammyTable",
    "JsonLines",
    "Keys",
    "Origin",
    "OriginError",
    "Pickle",
    "Place",
    "Way",
]
