"""What the API itself refuses. Which status each one answers with is the table's business, in `errors`.

Refusal
├── UnreadableBody         not JSON
├── BodyTooLarge
├── UnsupportedMediaType   Content-Type or Content-Encoding
├── NotAcceptable          no offered media type suits `Accept`
├── InvalidRequest         readable, and wrong at named places
├── KeyReused              its Idempotency-Key belongs to another request
├── NotFound               the thing a path names is not there
├── NotFinished            the fit has no answer yet
├── AlreadyFinished        there is nothing left of the fit to cancel
├── NotFailed              the fit gives no reason to be tried again
├── StillRunning           the fit cannot be deleted yet
└── NotReady               the service is up, and cannot work yet
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from service.api.pointers import to_pointer
from service.api.schemas.problem import Fault

_NONE: Mapping[str, str] = MappingProxyType({})


class Refusal(Exception):
    """A request that is not answered.

    Parameters
    ----------
    detail
        What is wrong, for a person.
    faults
        The places where it is wrong, if they can be named.
    headers
        To be sent along with the problem.
    """

    def __init__(self, detail: str, faults: Sequence[Fault] = (), headers: Mapping[str, str] = _NONE) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = tuple(faults)
        self.headers = dict(headers)


class UnreadableBody(Refusal):
    """The body is not JSON."""


class BodyTooLarge(Refusal):
    """The body is over the limit."""


class UnsupportedMediaType(Refusal):
    """The body's type or encoding is not one that is read."""


class NotAcceptable(Refusal):
    """None of the media types on offer suits the client."""


class InvalidRequest(Refusal):
    """A request that can be read and is wrong."""


class KeyReused(Refusal):
    """The request's Idempotency-Key was given to another request before."""


class NotFound(Refusal):
    """What the path names is not there."""


class NotFinished(Refusal):
    """The fit has no answer yet."""


class AlreadyFinished(Refusal):
    """The fit can no longer be cancelled."""


class NotFailed(Refusal):
    """The fit cannot be tried again."""


class StillRunning(Refusal):
    """The fit cannot be deleted yet."""


class NotReady(Refusal):
    """The service cannot work yet."""


def parameter_fault(parameter: str, message: str, allowed: str) -> Fault:
    """A fault in a query parameter or a header."""
    return Fault(pointer=None, parameter=parameter, message=message, allowed=allowed)


def invalid_place(place: Sequence[str | int], message: str, allowed: str) -> InvalidRequest:
    """The refusal of one place in the body."""
    return InvalidRequest(message, [Fault(pointer=to_pointer(place), parameter=None, message=message, allowed=allowed)])


def invalid_parameter(parameter: str, message: str, allowed: str) -> InvalidRequest:
    """The refusal of one query parameter."""
    return InvalidRequest(message, [parameter_fault(parameter, message, allowed)])
