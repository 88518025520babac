"""Requests that need no answer where nothing has changed (RFC 9110, section 13)."""


def is_known(if_none_match: str | None, tag: str) -> bool:
    """Whether the client has what bears this entity tag."""
    given = [item.strip().removeprefix("W/") for item in (if_none_match or "").split(",")]
    return tag in given or "*" in given
