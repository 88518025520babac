"""Has simulations done for a process that has no Numba, by a child of its own.

The child is started by the first simulation that is asked for, and ended when there was none for some minutes: most
forecasts need none, and it takes as much memory as a worker's. It does one after the other.
"""

import asyncio
import logging
from collections.abc import Mapping

from service.fitting.diagnosis.simulation import Simulated, Simulation, TooLong
from service.jobs.runner import FitProcessError, FitRunner

logger = logging.getLogger(__name__)

#: A simulation takes some milliseconds. The rest is for a child that has to be started, and on a machine's first start
#: to compile its loops: what it gets done of that is there for the next one.
MOST_SECONDS = 60.0
#: After which a child that nobody needs is ended.
IDLE_SECONDS = 300.0


class Simulator:
    """Belongs to the event loop that it is made in.

    Parameters
    ----------
    environment
        The child's environment variables, all of them.
    most_seconds
        What a simulation may take, by the clock, after those before it.
    """

    def __init__(
        self, environment: Mapping[str, str], most_seconds: float = MOST_SECONDS, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self._runner = FitRunner(environment, threads=1)
        self._most_seconds = most_seconds
        self._idle_seconds = idle_seconds
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._limit: asyncio.Timeout | None = None
        self._retiring: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        return self._runner.pid

    def simulate(self, simulation: Simulation) -> Simulated:
        """A `Simulate`, for any thread but the event loop's own: it waits.

        Raises
        ------
        TooLong
            It was not done in time, or not at all: then the log says why.
        """
        return asyncio.run_coroutine_threadsafe(self.simulated(simulation), self._loop).result()

    async def simulated(self, simulation: Simulation) -> Simulated:
        """The same, in the event loop."""
        async with self._turn:
            if self._is_closed:
                raise TooLong
            self._keep()
            try:
                async with asyncio.timeout(self._most_seconds) as self._limit:
                    return await self._runner.simulate(simulation)
            except TimeoutError as error:
                if not self._is_closed:
                    logger.warning("A simulation did not come to its end in %g s.", self._most_seconds)
                raise TooLong from error
            except FitProcessError as error:
                logger.warning("A simulation came to nothing: %s", error)
                raise TooLong from error
            finally:
                self._limit = None
                self._retiring = asyncio.create_task(self._retire())

    async def aclose(self) -> None:
        """End the child, whatever it is doing, and see it gone; there is nothing simulated any more."""
        self._is_closed = True
        if self._limit is not None:
            self._limit.reschedule(self._loop.time())
        async with self._turn:
            self._keep()
            await self._runner.close()

    def _keep(self) -> None:
        if self._retiring is not None:
            self._retiring.cancel()

    async def _retire(self) -> None:
        await asyncio.sleep(self._idle_seconds)
        async with self._turn:
            await self._runner.close()
