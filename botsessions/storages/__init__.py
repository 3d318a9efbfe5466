"""Where sessions are stored."""

from ..database.storage import DatabaseStorage
from ..records import ANY, About, Address, BatchStorage, Move, MovingStorage, Record, Storage
from .cache import CacheStorage
from .enhanced import EnhancedStorage, enhance_storage
from .file import FileStorage
from .free import FreeStorage
from .hearing import ExpiryContext
from .layers import WrappedStorage
from .memory import MemoryStorage
from .value import ValueStorage

__all__ = [
    "ANY",
    "About",
    "Address",
    "BatchStorage",
    "CacheStorage",
    "DatabaseStorage",
    "EnhancedStorage",
    "ExpiryContext",
    "FileStorage",
    "FreeStorage",
    "MemoryStorage",
    "Move",
    "MovingStorage",
    "Record",
    "Storage",
    "ValueStorage",
    "WrappedStorage",
    "enhance_storage",
]
