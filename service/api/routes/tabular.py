"""What routes that answer with a table share: which part is asked for, and in which format it goes out."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import Header, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

from service.api import formats
from service.api.refusals import invalid_parameter
from service.api.routes.documented import headers
from service.api.schemas.bodies import LARGEST_INT64
from service.api.tables import Selection, Table

#: OpenAPI has no such parameter: the media types stand with the answer.
Accept = Annotated[str | None, Header(include_in_schema=False)]

_TEXT, _BINARY = {"schema": {"type": "string"}}, {"schema": {"type": "string", "format": "binary"}}

#: The part of a route's `responses` that declares the formats beside JSON.
TABLE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {formats.CSV: _TEXT, formats.NDJSON: _TEXT, formats.PARQUET: _BINARY, formats.ARROW: _BINARY},
        **headers("Vary"),
    }
}


def fields_of(known: Sequence[str]) -> FieldInfo:
    """The declaration of a `fields` parameter: names among the `known`, separated by commas."""
    one = f"({'|'.join(known)})"
    info: FieldInfo = Field(
        description=f"Separated by commas, of: {', '.join(known)}.",
        json_schema_extra=lambda schema: schema.update(pattern=f"^{one}(,{one})*$"),
    )
    return info


class TableQuery(BaseModel):
    """Which part of a table to send; a route's own query says what `fields` there are."""

    first: Annotated[
        int, Field(alias="from", ge=0, le=LARGEST_INT64, description="Number of the first row, included.")
    ] = 0
    last: Annotated[
        int | None, Field(alias="to", ge=0, le=LARGEST_INT64, description="Number of the last row, included.")
    ] = None
    limit: Annotated[
        int | None,
        Field(ge=2, le=LARGEST_INT64, description="Rows; more are thinned evenly, first and last kept."),
    ] = None
    fields: str | None = None

    def selection(self, known: Sequence[str]) -> Selection:
        """What is asked for, of a table with the columns `known`; raises InvalidRequest for what cannot be."""
        if self.last is not None and self.last < self.first:
            raise invalid_parameter("to", "It is before `from`.", f"at least {self.first}")
        return Selection(self._chosen(known), self.first, self.last, self.limit)

    def _chosen(self, known: Sequence[str]) -> tuple[str, ...]:
        if self.fields is None:
            return tuple(known)
        names = [name.strip() for name in self.fields.split(",")]
        for name in names:
            if name not in known:
                raise invalid_parameter("fields", f"There is no column {name[:40]!r}.", ", ".join(known))
        return tuple(dict.fromkeys(names))


def table_response(answer: Mapping[str, Any], table: Table, known: Sequence[str], media_type: str) -> Response:
    """The table: in JSON inside its `answer`, as the `columns` there; in the other formats by itself."""
    is_json = media_type == formats.JSON
    pieces = formats.json_pieces(answer, table, known) if is_json else formats.WRITERS[media_type](table)
    return StreamingResponse(pieces, 200, {"Vary": "Accept"}, media_type)
