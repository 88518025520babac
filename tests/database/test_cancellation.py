import asyncio

import pytest

from service.database.cancellation import end_if_cancelled


def test_a_lost_cancellation_is_raised_after_all() -> None:
    async def loses() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            end_if_cancelled()

    async def main() -> None:
        task = asyncio.create_task(loses())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_nothing_is_raised_without_one() -> None:
    async def main() -> None:
        end_if_cancelled()

    asyncio.run(main())
