"""`make demo`: starts a service of its own, sends the five cases over HTTP and compares what comes back.

Prints, case by case, the published number, ours from both backends, and whether they agree; then why the fit differs
from its reference, and what would help. Returns 1 if a number is off.
"""

import json
import sys
from textwrap import fill
from typing import Any
from urllib.request import Request, urlopen

from rich.console import Console

from service.datasets.cases import CaseRequest, Expectation, case, case_names
from service.launch import launched
from service.watching.bar import show as show_progress
from service.watching.events import follow
from service.watching.remote import Remote

BACKENDS = ("numpy", "tensorflow")
#: The longest that one answer is waited for.
PATIENCE_SECONDS = 60
#: Characters of a line of words.
WIDTH = 118


def main() -> int:
    """Run the demonstration; 0 where every number agrees, else 1."""
    with launched() as service:
        off = sum(show(service.address, name) for name in case_names())
    print("\n* not in the question or its answers: computed independently, in double precision, from the recipe.")
    print(f"{'Every number agrees.' if off == 0 else f'{off} numbers are off.'}")
    return 1 if off else 0


def show(address: str, name: str) -> int:
    """Print one case; how many numbers are off."""
    found = case(name)
    if found is None:
        raise LookupError(name)
    print(f"\n{name}: {found.question}")
    return sum(_show_request(address, request) for request in found.requests)


def _show_request(address: str, request: CaseRequest) -> int:
    answers = [answer_of(address, request, backend) for backend in backends(request)]
    print(f"\n  {request.title}")
    print(f"    {'':34}{'published':>20}" + "".join(f"{backend:>20}" for backend in backends(request)))
    off = sum(_show_number(expected, answers) for expected in request.expected)
    for line in answers[0].why:
        print(fill(line, WIDTH, initial_indent="    - ", subsequent_indent="      "))
    return off


def backends(request: CaseRequest) -> tuple[str, ...]:
    """What a request can be sent with: either backend, or neither where it solves exactly."""
    return BACKENDS if request.body["solver"]["kind"] == "descent" else ("exact",)


def _show_number(expected: Expectation, answers: list["Answer"]) -> int:
    numbers = [answer.number(expected) for answer in answers]
    off = [number for number in numbers if not expected.error(number) <= expected.tolerance]
    mark = "" if expected.source == "published" else "*"
    row = f"    {expected.text:34}{expected.value:>20.12g}{mark:1}" + "".join(f"{number:>20.12g}" for number in numbers)
    worst = max(expected.error(number) for number in numbers)
    print(f"{row}  {'OFF' if off else 'agrees'} ({expected.kind} error {worst:.1e}, allowed {expected.tolerance:.0e})")
    return len(off)


class Answer:
    """A finished fit and its whole trajectory, where it has one."""

    def __init__(self, fit: dict[str, Any], trajectory: dict[str, Any]) -> None:
        self._fit = fit
        self._trajectory = trajectory

    @property
    def why(self) -> list[str]:
        """Why it differs from the reference, and what would help, in the service's own words."""
        result = self._fit["result"]
        remedies = [f"Remedy {remedy['number']}: {remedy['message']}" for remedy in result["remedies"]]
        return [cause["message"] for cause in result["causes"]] + remedies

    def number(self, expected: Expectation) -> float:
        """The number an expectation points at."""
        if expected.step is None:
            return float(_follow(self._fit, expected.pointer))
        row = self._trajectory["columns"]["step"].index(expected.step)
        return float(_follow(self._trajectory, expected.pointer)[row])


def _follow(document: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def answer_of(address: str, request: CaseRequest, backend: str) -> Answer:
    """Send a case's request, with the backend where it has one, and show how far it is until it is finished."""
    body = request.body
    if backend in BACKENDS:
        body = body | {"solver": body["solver"] | {"backend": backend}}
    fit = _call(f"{address}/v1/fits", body)
    if fit["finished_at"] is None:
        path = fit["links"]["self"]
        show_progress(follow(Remote(address), path), Console(stderr=True), f"  {backend}", stays=False)
        fit = _call(address + path)
    if fit["status"] != "succeeded":
        raise SystemExit(f"{request.title}: {fit['status']}: {fit['error']}")
    if all(expected.step is None for expected in request.expected):
        return Answer(fit, {})
    return Answer(fit, _call(f"{address}/v1/fits/{fit['id']}/trajectory?limit=1000000"))


def _call(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-cache"}
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data=data, headers=headers), timeout=PATIENCE_SECONDS) as answer:
        parsed: dict[str, Any] = json.load(answer)
        return parsed


if __name__ == "__main__":
    sys.exit(main())
