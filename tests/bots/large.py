"""A process that stores and reads many large sessions at once: ``python -m tests.bots.large``.

It prints by how many MiB its memory was larger meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
from typing import Any

import django
from django.conf import settings

MIB = 2**20


async def work(count: int, size: int) -> int:
    from botsessions import DatabaseStorage  # noqa: PLC0415 (once Django is set up)
    from botsessions.storages import Address, Record  # noqa: PLC0415

    async def is_as_written(address: Address) -> bool:
        record = await storage.read(address)
        return record is not None and record.value == [text]

    storage, text = DatabaseStorage(), '"' * (size // 2)  # Each is two bytes in JSON.
    addresses = [Address("large", "", str(number)) for number in range(count)]
    await storage.read(addresses[0])
    before = peak()
    revisions = await asyncio.gather(*(storage.write(a, Record(text)) for a in addresses))
    changes = [
        (a, Record([text], revision=revision))
        for a, revision in zip(addresses, revisions, strict=True)
    ]
    await asyncio.gather(*(storage.write(*change) for change in changes))
    assert all(await asyncio.gather(*map(is_as_written, addresses)))
    await storage.close()
    return (peak() - before) // MIB


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    config: dict[str, Any] = json.loads(os.environ["LARGE"])
    settings.configure(
        DATABASES={"default": config["database"]},
        INSTALLED_APPS=["botsessions"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()
    print(asyncio.run(work(config["count"], config["size"])))  # noqa: T201


if __name__ == "__main__":
    main()
