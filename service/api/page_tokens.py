"""The opaque token that a page of fits ends with: where the next one begins."""

import base64
import json
from datetime import datetime
from uuid import UUID

from service.api.refusals import invalid_parameter
from service.jobs.records import FitRecord

Position = tuple[datetime, UUID]


def token_after(record: FitRecord) -> str:
    """The token for the page after this fit."""
    return token_at(record.created_at, record.id)


def token_at(time: datetime, fit_id: UUID) -> str:
    """The token for the page after the fit with this id, in a list that goes by such times."""
    position = json.dumps([time.isoformat(), fit_id.hex])
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def position_of(token: str) -> Position:
    """What a token stands for.

    Raises
    ------
    InvalidRequest
        It is not one of ours.
    """
    try:
        created_at, fit_id = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        position = datetime.fromisoformat(created_at), UUID(fit_id)
        # A time that no clock in UTC has cannot be asked for.
        position[0].timestamp()
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise invalid_parameter("page_token", "This token is not one of ours.", "a next_page_token") from error
    return position
