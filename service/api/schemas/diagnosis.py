"""What is said of a descent beside its answer: directions, causes, remedies. Numbers that are not finite are null."""

from typing import Annotated, Any

from pydantic import Field

from service.api.schemas.bodies import ResponsePart


class StepsTo(ResponsePart):
    """The first step from which on a gap stays at or below a fraction of what it was at the start."""

    fraction: float
    steps: int | None = Field(description="Null where that never happens, or nobody can say.")


class Direction(ResponsePart):
    """An eigenvector v of the loss's Hessian in the units descent runs in, or a direction along which the loss is flat.

    The gap along it is v'(W - W*), its length taken over all targets; W* is the reference.
    """

    name: str = Field(description="In words, the largest part being 1: `x1 - x2`.")
    terms: dict[str, float] = Field(description="The entries of v, of length 1.")
    eigenvalue: float | None = Field(description="Of the Hessian; 0 where the loss is flat.")
    rate: float | None = Field(
        description="What the gap is multiplied by in a step, its size; null where it is no constant."
    )
    half_life_steps: float | None = Field(description="Steps in which the gap halves; null where it does not.")
    gap_at_start: float | None
    gap_at_end: float | None
    share_of_excess: float | None = Field(
        description="The share of the final loss above the least one that the gap along v makes up, 0 to 1."
    )
    steps_to: list[StepsTo] = Field(description="Of the gap along v.")


class Gap(ResponsePart):
    """The Euclidean distance of all coefficients to the reference in the user's units, after so many steps."""

    steps: int
    gap: float | None


class Remedy(ResponsePart):
    """A change to the request that closes the gap."""

    number: int = Field(description="Its place among the remedies, from 0.")
    message: str
    causes: list[str] = Field(description="The codes of the causes that it takes away.")
    patch: dict[str, Any] = Field(description="JSON Merge Patch (RFC 7396) to the request.")
    predicted: Gap = Field(description="What is computed for the patched fit.")
    measured: Gap | None = Field(description="What the patched fit came to, really run; null where it was not.")
    verified: bool = Field(description="Whether it was really run, and came as near as predicted.")
    href: str | None = Field(description="POST here to start the patched fit; null where there is no fit to patch.")


class Cause(ResponsePart):
    """A named reason for the gap, with the numbers that make it one. GET /v1/causes says what each code stands for."""

    code: str
    message: str = Field(description="One or two sentences, with the names of the columns they are about.")
    terms: list[str] = Field(description="The terms that it is about; empty where it is about all of them.")
    numbers: dict[str, float | None] = Field(description="By the names that GET /v1/causes gives for the code.")
    share: float | None = Field(
        description="Of the gap, how much would be gone without it, 0 to 1; 0 for what explains and costs nothing."
    )
    remedy: Remedy | None = Field(description="The smallest change that takes it away; null where there is none.")


Directions = Annotated[
    list[Direction],
    Field(description="Those with the largest gap at the end first, then the slowest; empty for an exact fit."),
]
Causes = Annotated[
    list[Cause],
    Field(
        description="Why the answer differs from the reference, the largest share of the gap first; or that it agrees."
    ),
]
Remedies = Annotated[
    list[Remedy], Field(description="Changes to the request that close the gap, the smallest sufficient one first.")
]
