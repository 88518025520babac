"""What every error looks like (RFC 9457)."""

from pydantic import Field

from service.api.schemas.bodies import ResponsePart


class Fault(ResponsePart):
    """One thing that is wrong with a request."""

    pointer: str | None = Field(description="Where in the body (RFC 6901); null for what is not in the body.")
    parameter: str | None = Field(description="The query parameter or header, where it is one.")
    message: str = Field(description="What is wrong there.")
    allowed: str = Field(description="What would have been accepted.")


class Problem(ResponsePart):
    """Why a request was not answered."""

    type: str = Field(description="The kind of problem, a URI that ends in its code.")
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path that was asked for.")
    code: str = Field(description="The kind of problem, for programs.")
    errors: list[Fault]
