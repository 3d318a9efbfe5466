"""The contract of storages, as tests."""

from .batches import BatchTests
from .deleting import DeletionTests
from .expiry import ExpiryTests, RenewalTests
from .failures import FailureTests
from .moving import MovingTests
from .races import RaceTests
from .reading import ReadingTests
from .revisions import RevisionTests

__all__ = ["StorageContract"]


class StorageContract(
    ReadingTests,
    FailureTests,
    ExpiryTests,
    RenewalTests,
    RevisionTests,
    DeletionTests,
    RaceTests,
    BatchTests,
    MovingTests,
):
    """What every storage has to do. Mix it into a test case that can run ``async`` tests.

    Django's test cases and ``unittest.IsolatedAsyncioTestCase`` can::

        class RedisStorageTests(StorageContract, SimpleTestCase):
            def make_storage(self):
                return RedisStorage("redis://127.0.0.1/1")

    The store may hold other data: each test has addresses of its own. What a storage says it cannot
    do (``detects_conflicts``, ``renew``, ``read_many``, ``write_many``, ``of_chat``, ``move``) is
    skipped.
    """
