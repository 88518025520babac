"""What the causes are that fits and forecasts name, as GET /v1/causes tells it."""

from pydantic import Field

from service.api.schemas.bodies import ResponsePart


class CauseNumber(ResponsePart):
    """One of the numbers that come with a cause."""

    name: str
    description: str


class CauseDescription(ResponsePart):
    """One cause that is known by a code."""

    code: str
    meaning: str = Field(description="What it says.")
    share: str = Field(description="How much of the gap is put down to it.")
    numbers: list[CauseNumber]
    each_term: str | None = Field(
        description="What a number named `with the mistake: <term>` is; null for causes without such numbers."
    )


class CauseCatalogue(ResponsePart):
    """All causes; where two have the same share of a gap, the one that stands first here comes first."""

    causes: list[CauseDescription]
