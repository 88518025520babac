"""Reading requests: what every route checks before its own work begins."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from email.message import Message
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from service.api.backing import backing_of
from service.api.json_text import parse
from service.api.refusals import BodyTooLarge, InvalidRequest, UnreadableBody, UnsupportedMediaType, parameter_fault

# A client that is still sending does not read: it hears of the refusal only if what it sends is taken in.
_DISCARD_SECONDS = 10.0
_DISCARD_FACTOR = 4
_JSON = "application/json"


class ContractRoute(APIRoute):
    """A route that takes the query parameters it names and no others, and a JSON body within the limit."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        known, takes_more = _query_names(self)

        async def read_and_handle(request: Request) -> Response:
            if request.scope["query_string"]:
                _check_query(request, known, takes_more)
            return await handle(request if self.body_field is None else await _read_body(request))

        return read_and_handle


def contract_router(tag: str) -> APIRouter:
    """A router for routes of the contract: requests read with care, operations called after their functions."""
    return APIRouter(route_class=ContractRoute, tags=[tag], generate_unique_id_function=lambda route: route.name)


class ParsedRequest(Request):
    """A request whose body has been read and parsed."""

    def __init__(self, request: Request, text: bytes, value: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._text = text
        self._value = value

    async def body(self) -> bytes:
        return self._text

    async def json(self) -> Any:
        return self._value


def _query_names(route: APIRoute) -> tuple[frozenset[str], bool]:
    names: set[str] = set()
    takes_more = False
    for field in route.dependant.query_params:
        annotation = field.field_info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            names |= {item.alias or name for name, item in annotation.model_fields.items()}
            takes_more |= annotation.model_config.get("extra") == "allow"
        else:
            names.add(field.alias)
    return frozenset(names), takes_more


def _check_query(request: Request, known: frozenset[str], takes_more: bool) -> None:
    given = Counter(name for name, _ in request.query_params.multi_items())
    for name, times in given.items():
        if name not in known and not takes_more:
            raise _bad_query(name, "There is no such parameter.", ", ".join(sorted(known)) or "no parameters")
        if times > 1:
            raise _bad_query(name, "This parameter is given twice.", "each parameter once")


def _bad_query(name: str, message: str, allowed: str) -> InvalidRequest:
    return InvalidRequest(message, [parameter_fault(name[:200], message, allowed)])


async def _read_body(request: Request) -> ParsedRequest:
    _check_type(request.headers)
    backing = await backing_of(request)
    text = await _within(request, backing.settings.max_body_bytes)
    if not text:
        raise UnreadableBody("The body is empty.")
    return ParsedRequest(request, text, parse(text))


def _check_type(headers: Mapping[str, str]) -> None:
    if (coding := headers.get("content-encoding", "identity").strip().lower()) != "identity":
        raise UnsupportedMediaType(
            f"The body's encoding {coding[:40]!r} is not supported; send it as it is.",
            headers={"Accept-Encoding": "identity"},
        )
    given = headers.get("content-type", "text/plain")
    if given != _JSON and not _is_json(given):
        raise UnsupportedMediaType("The body must be application/json in UTF-8.", headers={"Accept": _JSON})


def _is_json(content_type: str) -> bool:
    given = Message()
    given["content-type"] = content_type
    kind, charset = given.get_content_type(), given.get_content_charset("utf-8")
    is_json = kind == _JSON or (kind.startswith("application/") and kind.endswith("+json"))
    return is_json and charset in ("utf-8", "utf8", "us-ascii")


async def _within(request: Request, limit: int) -> bytes:
    """The whole body, or BodyTooLarge as soon as it is known to be over the limit."""
    too_large = BodyTooLarge(f"The body is over {limit} bytes.", headers={"Connection": "close"})
    async with aclosing(request.stream()) as chunks:
        if _announced(request.headers) > limit:
            await _discard(request, chunks, limit)
            raise too_large
        body = bytearray()
        async for chunk in chunks:
            body += chunk
            if len(body) > limit:
                await _discard(request, chunks, limit)
                raise too_large
    return bytes(body)


def _announced(headers: Mapping[str, str]) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isdecimal() and len(length) < 20 else 0


async def _discard(request: Request, chunks: AsyncIterator[bytes], limit: int) -> None:
    """Take in the rest, within reason, unless the client waits to be told to send it."""
    if "100-continue" in request.headers.get("expect", "").lower():
        return
    left = _DISCARD_FACTOR * limit
    with suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_SECONDS):
            async for chunk in chunks:
                left -= len(chunk)
                if left < 0:
                    return
