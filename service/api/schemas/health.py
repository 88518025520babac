"""Whether the service is there, and whether it can work."""

from typing import Literal

from service.api.schemas.bodies import ResponsePart


class Live(ResponsePart):
    """The process serves."""

    status: Literal["live"]


class Ready(ResponsePart):
    """Fits are accepted, and so many workers wait for them."""

    status: Literal["ready"]
    workers: int
