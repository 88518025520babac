"""The `Idempotency-Key` header: a request that is sent again is answered again, and does nothing twice.

What it was answered with is found by the key. A digest of the request, every default filled in, tells a repetition from
another request with the same key, which is refused (draft-ietf-httpapi-idempotency-key-header).
"""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from service.api.refusals import KeyReused, invalid_parameter, parameter_fault
from service.jobs.asked import Key
from service.jobs.fits import FitStore
from service.jobs.submitting import Named

_NAME = "Idempotency-Key"
_PATTERN = "^[!-~]{1,255}$"
_ALLOWED = "1 to 255 visible ASCII characters"
#: Sent along with what has been answered before.
REPLAYED = {"Idempotent-Replayed": "true"}

#: The header, as a route's `openapi_extra` declares it.
KEY_PARAMETER: dict[str, Any] = {
    "name": _NAME,
    "in": "header",
    "required": False,
    "description": f"A name for this request, {_ALLOWED}. Sent again under the same name, it is answered with the same "
    "fits, for a day at least, or until they are deleted.",
    "schema": {"type": "string", "pattern": _PATTERN},
}


async def key_of(name: str | None, path: str, bodies: Sequence[BaseModel]) -> Key | None:
    """The key of a request, with the digest of what it asks for; None where it has none.

    Raises
    ------
    InvalidRequest
        That is no key.
    """
    if name is None:
        return None
    if not re.fullmatch(_PATTERN, name):
        raise invalid_parameter(_NAME, "This is no key.", _ALLOWED)
    return Key(name, await asyncio.to_thread(_digest, path, bodies))


async def answered_before(key: Key | None, fits: FitStore) -> Sequence[Named]:
    """The fits that the request with this key was answered with; none where it has no key, or is the first.

    Raises
    ------
    KeyReused
        That was another request.
    """
    submission = None if key is None else await fits.under_key(key.name)
    if key is None or submission is None:
        return ()
    if submission.digest != key.digest:
        message = "This key was given to another request."
        raise KeyReused(message, [parameter_fault(_NAME, message, "a key of its own for each request")])
    return submission.fits


def _digest(path: str, bodies: Sequence[BaseModel]) -> bytes:
    state = hashlib.sha256(path.encode())
    for body in bodies:
        # Neither has a line feed of its own.
        state.update(b"\n" + body.model_dump_json().encode())
    return state.digest()
