"""Which of the rows that are written down are shown while a descent runs."""

import numpy as np

from service.fitting.descent.account import Records
from service.fitting.recording import RecordedSteps

#: Rows that are evenly spaced over all steps, and bytes of them, at most.
_MOST_ROWS = 512
_MOST_BYTES = 1 << 21
#: Each time the steps have doubled, this part of the most rows comes beside them, while they are that near the start.
_OCTAVES = 16


class Glimpses:
    """Chooses few rows of a descent that may end any time, each as soon as it is there, and none twice.

    In the end they are evenly spaced over all steps that were asked for. Of a descent that ends long before, hardly any
    would be: so at the start it is every regular row, then every 2nd, every 4th, .. as the steps double, until the
    even spacing is reached. That makes 1000 rows of 10^7, and of the first 1000 of 10^9 it makes 192.
    """

    def __init__(self, steps: RecordedSteps, row_bytes: int) -> None:
        self._steps = steps
        most = max(min(_MOST_ROWS, _MOST_BYTES // row_bytes), _OCTAVES)
        self._dense_bits = (most // _OCTAVES).bit_length()
        self._widest = ((steps.regular_rows - 1) // most).bit_length()
        self._last = -1
        self._kept: list[Records] = []

    def keep(self, records: Records) -> None:
        """Choose among these rows, ascending; those that were looked at before are passed over."""
        fresh = records[np.searchsorted(records["step"], self._last, "right") :]
        if len(fresh):
            self._last = int(fresh["step"][-1])
            places = self._steps.places_of(fresh["step"])
            _, bits = np.frexp(places.astype(np.float64))
            doublings = np.clip(bits - self._dense_bits, 0, self._widest).astype(np.int64)
            self._kept.append(fresh[places % (1 << doublings) == 0])

    def take(self) -> list[Records]:
        """What was chosen since it was last taken."""
        kept, self._kept = self._kept, []
        return kept
