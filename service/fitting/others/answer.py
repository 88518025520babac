"""What another program says, beside the reference: plain numbers and one sentence."""

from dataclasses import dataclass
from typing import Literal

OtherName = Literal["scikit_learn", "numpy", "statsmodels", "r"]


@dataclass(frozen=True)
class OtherCoefficient:
    """One parameter of one target as the program prints it.

    Attributes
    ----------
    estimate
        NaN where the program prints NA, or has no finite number to print.
    difference
        estimate - reference; NaN with the estimate.
    matching_digits
        `service.fitting.comparison.matching_digits` of the two; NaN with the estimate.
    """

    target: str
    term: str
    estimate: float
    difference: float
    matching_digits: float


@dataclass(frozen=True)
class OtherAnswer:
    """A program's answer.

    Attributes
    ----------
    program
        The program, with its version where it was really run.
    emulated
        Whether its documented algorithm was carried out here in its place.
    rank
        As the program sees it: of the centred features for scikit-learn, of the design for the others. None where it
        gave no answer.
    coefficients
        Target by target, in the order of terms.
    message
        One line: how far it agrees, and why no further.
    """

    name: OtherName
    program: str
    emulated: bool
    rank: int | None
    coefficients: tuple[OtherCoefficient, ...]
    message: str
