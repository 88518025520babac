"""The directions of a descent's spectrum in plain numbers: what each does, and how far it is from the reference."""

import numpy as np

from service.fitting.arrays import FloatArray, length
from service.fitting.descent.setting import Setting
from service.fitting.diagnosis.answer import FRACTIONS, Direction, StepsTo
from service.fitting.diagnosis.foreseen import Outlook

MOST_DIRECTIONS = 20


# What leaves float64 is data here: it comes out as inf or NaN.
@np.errstate(all="ignore")
def directions(setting: Setting, outlook: Outlook, scaled: FloatArray) -> tuple[Direction, ...]:
    """Of a descent that is at `scaled` (m, q) in descent's units.

    Those of the largest gap there first, of equal ones the slowest; at most `MOST_DIRECTIONS`. None beyond
    `spectrum.MOST_PARAMETERS`.
    """
    spectrum = setting.spectrum
    at_start, at_end = spectrum.gaps(setting.gap_at_start), spectrum.gaps(scaled - setting.optimum.scaled)
    gaps = np.linalg.norm(at_end, axis=1)
    excess = spectrum.eigenvalues * (np.square(at_end) @ np.square(setting.problem.units.targets.spread))
    shares = excess / excess.sum() if excess.any() else np.zeros_like(excess)
    largest = np.lexsort((spectrum.eigenvalues, -np.nan_to_num(gaps, nan=np.inf)))[:MOST_DIRECTIONS]
    return tuple(
        Direction(
            name=spectrum.names[place],
            terms=spectrum.terms,
            coefficients=tuple(spectrum.vectors[:, place].tolist()),
            eigenvalue=float(spectrum.eigenvalues[place]),
            rate=number(outlook.rates[place]),
            half_life_steps=half_life(float(outlook.rates[place])),
            gap_at_start=length(at_start[place]),
            gap_at_end=float(gaps[place]),
            share_of_excess=float(shares[place]),
            steps_to=steps_to(outlook.steps_to_by_direction[place]),
        )
        for place in largest.tolist()
    )


def half_life(rate: float) -> float | None:
    """Steps in which what is multiplied by `rate` in each halves; None where it does not."""
    return float(np.log(2.0) / -np.log(rate)) if 0.0 < rate < 1.0 else 0.0 if rate == 0.0 else None


def steps_to(counts: FloatArray) -> tuple[StepsTo, ...]:
    """Step counts (9,) for each of `FRACTIONS`, NaN being none."""
    return tuple(
        StepsTo(fraction, None if np.isnan(count) else int(count))
        for fraction, count in zip(FRACTIONS, counts.tolist(), strict=True)
    )


def number(value: float) -> float | None:
    """None for NaN."""
    return None if np.isnan(value) else float(value)
