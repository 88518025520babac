"""What to do about cancellations that get lost.

On Python 3.11 `asyncio.wait_for` drops a cancellation that arrives together with what it waits for (mended in 3.12),
and psycopg waits for the server by it. A loop around a database must therefore ask, or it may never end.
"""

import asyncio


def end_if_cancelled() -> None:
    """Raise the `asyncio.CancelledError` that got lost, if one did."""
    task = asyncio.current_task()
    if task is not None and task.cancelling() > 0:
        raise asyncio.CancelledError
