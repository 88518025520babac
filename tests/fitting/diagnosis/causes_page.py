"""The page `docs/causes.md`, made of the registry: ``python -m tests.fitting.diagnosis.causes_page`` writes it anew."""

from collections.abc import Iterator
from pathlib import Path

from service.fitting.diagnosis.registry import CAUSES, Kind

PAGE = Path(__file__).parents[3] / "docs" / "causes.md"

_INTRODUCTION = """\
# Causes

Why a descent did not end where its reference is. Every descent fit and every forecast says it, in `causes`: each is a
computed fact with the numbers that make it one, in one or two sentences. This page is made of the registry of causes,
by `python -m tests.fitting.diagnosis.causes_page`.

The **gap** is the Euclidean distance of all coefficients to the reference in the user's units. A fit **agrees** where
that is at most a millionth of the reference's own length; then there is nothing to share, and only what explains is
said.

The **share** of a cause is what part of the gap would be gone without it: 1 - the gap without it / the gap, from 0 to 1
in whole hundredths. The gap without it is computed as a forecast is: by closed form where there is one, else by taking
the steps on sufficient statistics. Causes are looked at one by one, so shares need not add up to 1: where scaled
features or more steps would each close the gap, both have a share of 1. Causes with a share below 0.01 are left out,
but for those that explain and cost nothing, whose share is 0. The largest share comes first, and of equal ones what
stands first on this page, which is what the others follow from.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION, *(line for code, kind in CAUSES.items() for line in _section(code, kind))])


def _section(code: str, kind: Kind) -> Iterator[str]:
    yield f"## `{code}`\n\n{kind.meaning}\n\nShare: {kind.share}\n"
    yield "| number | what it is |\n|---|---|"
    for name, what in kind.numbers.items():
        yield f"| `{name}` | {what} |"
    if kind.each_term is not None:
        yield f"| `with the mistake: <term>` | {kind.each_term} |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
