"""What is said of a descent beside its answer: plain numbers, made to be stored and sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Method = Literal["eigen", "companion", "epoch_map", "lyapunov", "simulated"]

#: Of the gap at the start; how many steps it takes to come down to each is forecast.
FRACTIONS = tuple(10.0**-digits for digits in range(1, 10))


@dataclass(frozen=True)
class StepsTo:
    """The first step from which on a gap stays at or below a fraction of what it was at the start.

    None where that never happens, or nobody can say.
    """

    fraction: float
    steps: int | None


@dataclass(frozen=True)
class Direction:
    """An eigenvector v of the loss's Hessian in descent's units, of length 1, or a direction along which it is flat.

    The gap along it is v'(W - W*), its length taken over all targets.

    Attributes
    ----------
    name
        In words, the largest part being 1: "x1 - x2".
    terms, coefficients
        The entries of v, all of them.
    eigenvalue
        By which a gap g along v adds eigenvalue g^2 / 2 to the loss in descent's units; 0 where the loss is flat.
    rate
        What the gap is multiplied by in a step, on the way to the descent's limit; None where it is no constant.
    half_life_steps
        log 2 / -log |rate|; None where the gap does not halve.
    gap_at_start, gap_at_end
        To the reference, not to the descent's own limit.
    share_of_excess
        The share of the final loss above the least one that the gap along v makes up; 0 where there is no such loss.
    """

    name: str
    terms: tuple[str, ...]
    coefficients: tuple[float, ...]
    eigenvalue: float
    rate: float | None
    half_life_steps: float | None
    gap_at_start: float
    gap_at_end: float
    share_of_excess: float
    steps_to: tuple[StepsTo, ...]


@dataclass(frozen=True)
class Expected:
    """A coefficient in the user's units, and its standard deviation where it hangs on chance."""

    target: str
    term: str
    expected: float
    sd: float


@dataclass(frozen=True)
class Place:
    """Where a descent is after `steps`, or in the end (None): the loss on all rows, and the coefficients."""

    steps: int | None
    loss: float
    coefficients: tuple[Expected, ...]


@dataclass(frozen=True)
class Gap:
    """A fit's Euclidean distance to its reference in the user's units, after so many steps."""

    steps: int
    gap: float


@dataclass(frozen=True)
class Remedy:
    """A change to the request that closes a gap.

    Attributes
    ----------
    number
        Its place among the remedies, from 0: smallest sufficient change first.
    causes
        The codes of the causes that it takes away.
    patch
        JSON Merge Patch (RFC 7396) to the request as it is answered, every default filled in.
    predicted
        What is computed for the patched fit.
    measured
        What the patched fit came to, which was really run; None where it was not.
    """

    number: int
    message: str
    causes: tuple[str, ...]
    patch: Mapping[str, Any]
    predicted: Gap
    measured: Gap | None

    @property
    def verified(self) -> bool:
        """Whether it was run, and came as near as predicted."""
        return self.measured is not None and self.measured.gap <= 1.001 * self.predicted.gap


@dataclass(frozen=True)
class Cause:
    """A named reason for a gap, with the numbers that make it one.

    Attributes
    ----------
    code
        One of `registry.CAUSES`.
    message
        One or two sentences with the user's column names and at most four numbers.
    terms
        The terms that it is about, or none.
    numbers
        By the names that the registry gives for the code; None is never, or not known.
    share
        Of the gap that would be gone without it, 0 to 1; 0 for what explains and costs nothing.
    remedy
        The number of the smallest remedy that takes it away; None where there is none.
    """

    code: str
    message: str
    terms: tuple[str, ...]
    numbers: Mapping[str, float | None]
    share: float
    remedy: int | None = None


@dataclass(frozen=True)
class Diagnosis:
    """What is said of the end of a descent.

    Attributes
    ----------
    directions
        Those of the largest gap at the end first, then the slowest; at most `MOST_DIRECTIONS`.
    causes
        The largest share first.
    remedies
        The smallest sufficient change first.
    """

    directions: tuple[Direction, ...] = ()
    causes: tuple[Cause, ...] = ()
    remedies: tuple[Remedy, ...] = ()


@dataclass(frozen=True)
class Forecast:
    """What a descent will do, computed without running it.

    Attributes
    ----------
    method
        eigen: powers of what each direction is multiplied by (full batches). companion: the same with momentum.
        epoch_map: powers of what an epoch does (batches in a fixed order). lyapunov: mean and covariance over all row
        orders (shuffled). simulated: steps on sufficient statistics.
    exact
        Whether `end` is where the descent ends, up to rounding.
    stable
        Whether gaps shrink; None where nobody can say.
    largest_stable_learning_rate, best_learning_rate
        Below which gaps shrink, and with which the slowest of them shrinks quickest; None where nobody can say. Of a
        schedule, the rate stands for all of its steps.
    steps_to
        Of the Euclidean gap over all coefficients in descent's units.
    end
        After the steps that are asked for; or as many as could be simulated.
    limit
        Where it leads if it goes on for ever; None where it leads nowhere, or nobody can say.
    trajectory_bytes
        What its recorded rows take in the store.
    diagnosis
        Of the expected end.
    """

    method: Method
    exact: bool
    stable: bool | None
    largest_stable_learning_rate: float | None
    best_learning_rate: float | None
    steps_to: tuple[StepsTo, ...]
    end: Place
    limit: Place | None
    trajectory_bytes: int
    diagnosis: Diagnosis
