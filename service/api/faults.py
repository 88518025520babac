"""pydantic's errors, and the core's, as faults a client can act on: where, what is wrong, what is allowed.

Nothing that was sent is repeated at length.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from service.api.pointers import Place, known_fields, place_in, to_pointer
from service.api.refusals import parameter_fault
from service.api.schemas.problem import Fault
from service.fitting.errors import InvalidProblem

MOST_FAULTS = 20
UNKNOWN_FIELD = "extra_forbidden"

#: By pydantic's kind of error: what is wrong, and what is allowed. Both may use the error's own numbers.
_WORDS: dict[str, tuple[str, str]] = {
    "missing": ("This is missing.", "a value: it has no default"),
    "data_form": (
        "This is none of the forms that data can take.",
        '{{"columns": {{..}}}}, {{"x": [..], "y": [..]}}, {{"dataset": id}} or {{"case": name}}',
    ),
    "new_data_form": (
        "This is none of the forms that new rows can take.",
        '{{"columns": {{..}}}} or {{"x": [..]}}',
    ),
    "learning_rate_form": (
        "This is neither a number nor a schedule.",
        'a finite number above 0, or {{"kind": "exponential_decay", ..}} or another schedule',
    ),
    "float_type": ("This is not a number that float64 can hold.", "a finite number"),
    "float_parsing": ("This is not a number.", "a finite number"),
    "finite_number": ("This is not a finite number.", "a finite number"),
    "int_type": ("This is not an integer.", "an integer"),
    "int_parsing": ("This is not an integer.", "an integer"),
    "int_from_float": ("This is not an integer.", "an integer"),
    "int_parsing_size": ("This integer is too long.", "an integer of at most 19 digits"),
    "bool_type": ("This is not a boolean.", "true or false"),
    "string_type": ("This is not a string.", "a string"),
    "string_too_short": ("This string is too short.", "at least {min_length} characters"),
    "string_too_long": ("This string is too long.", "at most {max_length} characters"),
    "string_pattern_mismatch": ("This string has another form.", "a string that matches {pattern}"),
    "string_unicode": ("This string is not valid Unicode.", "Unicode text"),
    "list_type": ("This is not a list.", "a list"),
    "dict_type": ("This is not an object.", "an object"),
    "model_type": ("This is not an object.", "an object"),
    "model_attributes_type": ("This is not an object.", "an object"),
    "none_required": ("This cannot be set.", "null"),
    "literal_error": ("This is not one of the values there are.", "{expected}"),
    "union_tag_invalid": ("There is no such kind.", "{expected_tags}"),
    "greater_than": ("This is too small.", "more than {gt}"),
    "greater_than_equal": ("This is too small.", "at least {ge}"),
    "less_than": ("This is too large.", "less than {lt}"),
    "less_than_equal": ("This is too large.", "at most {le}"),
    "too_short": ("There are too few of these.", "at least {min_length}"),
    "too_long": ("There are too many of these.", "at most {max_length}"),
    "uuid_parsing": ("This is not an id.", "a UUID"),
    "uuid_type": ("This is not an id.", "a UUID"),
}


def faults_of(errors: Sequence[Mapping[str, Any]], body: Any, annotation: Any) -> list[Fault]:
    """At most `MOST_FAULTS` faults.

    Parameters
    ----------
    errors
        As FastAPI reports them: the location begins with ``body``, ``query`` or ``path``.
    body
        The body as it was sent, None where there is none.
    annotation
        The type the body should have had.
    """
    return [_fault(error, body, annotation) for error in errors[:MOST_FAULTS]]


def problem_fault(error: InvalidProblem) -> Fault:
    """What the core refuses: its places are in the contract's names already."""
    return Fault(pointer=to_pointer(error.place), parameter=None, message=error.message, allowed=error.allowed)


def _fault(error: Mapping[str, Any], body: Any, annotation: Any) -> Fault:
    source, *location = error["loc"]
    message, allowed = _words(error, annotation, location)
    if source != "body":
        return parameter_fault(str(location[0]), message, allowed)
    place = place_in(body, location) + _beyond(error, location)
    return Fault(pointer=to_pointer(place), parameter=None, message=message, allowed=allowed)


def _beyond(error: Mapping[str, Any], location: Sequence[str | int]) -> Place:
    """What the fault's place has past what was sent."""
    if error["type"] == "missing":
        return tuple(location[-1:])
    return ("kind",) if error["type"] == "union_tag_invalid" else ()


def _words(error: Mapping[str, Any], annotation: Any, location: Sequence[str | int]) -> tuple[str, str]:
    if error["type"] == UNKNOWN_FIELD:
        return "There is no such field.", ", ".join(known_fields(annotation, location[:-1]))
    words = _WORDS.get(error["type"])
    if words is None:
        return str(error["msg"])[:200], "see /openapi.json"
    context = error.get("ctx", {})
    return words[0].format_map(context), words[1].format_map(context)
