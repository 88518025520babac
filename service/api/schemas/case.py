"""The built-in cases: questions asked again and again, with requests that answer them."""

from typing import Any, Literal

from pydantic import Field

from service.api.schemas.bodies import ResponsePart
from service.api.schemas.request import FitRequest


class Expectation(ResponsePart):
    """One number that the answer to a case's request holds."""

    text: str = Field(description="What the number is.")
    pointer: str = Field(description="Where it is in the fit; with a step, a column of the fit's trajectory.")
    step: int | None = Field(description="The recorded step it belongs to.")
    value: float
    tolerance: float = Field(description="How far off it may be.")
    kind: Literal["absolute", "relative"] = Field(description="What the tolerance is measured in.")
    source: Literal["published", "computed"] = Field(
        description="Whether the number stood in the question or its answers, or was computed from the recipe."
    )


class CaseRequest(ResponsePart):
    """A body for POST /v1/fits, ready to be sent, and what comes out of it."""

    title: str
    body: FitRequest = Field(description="Only what is not a default.")
    expected: list[Expectation]


class Case(ResponsePart):
    """One question."""

    name: str
    question: str
    recipe: str | None = Field(description="How its data are made, where they are not listed.")
    requests: list[CaseRequest]
    published: dict[str, Any] = Field(description="Numbers the asker or the answers gave.")
    computed: dict[str, Any] = Field(description="The same and more, computed independently.")


class CaseList(ResponsePart):
    """All cases."""

    cases: list[Case]
