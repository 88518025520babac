"""What routes share whose answer is always the same: it is sent again only to who does not have it."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any

from fastapi import Header, Response

from service.api.conditional import is_known
from service.api.routes.documented import headers
from service.api.schemas.bodies import ResponsePart

IfNoneMatch = Annotated[str | None, Header()]

#: The part of a route's `responses` that declares this.
CONSTANT: dict[int | str, dict[str, Any]] = {
    200: headers("ETag", "Cache-Control"),
    304: {"description": "It has not changed."} | headers("ETag", "Cache-Control"),
}


@dataclass(frozen=True)
class Constant:
    """An answer, written out, and its entity tag."""

    body: str
    tag: str

    @classmethod
    def of(cls, answer: ResponsePart) -> "Constant":
        body = answer.model_dump_json()
        return cls(body, f'"{sha256(body.encode()).hexdigest()[:16]}"')

    def response(self, if_none_match: str | None) -> Response:
        """The answer, or that it is what the client has."""
        sent = {"ETag": self.tag, "Cache-Control": "no-cache"}
        if is_known(if_none_match, self.tag):
            return Response(status_code=304, headers=sent)
        return Response(self.body, 200, sent, "application/json")
