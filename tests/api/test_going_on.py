"""Going on from another fit over HTTP: the whole way through database, worker and child, without their processes."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import numpy as np
import pytest

from service.bootstrap import Services
from service.jobs.answering import answer
from service.jobs.attempts import Attempts
from service.jobs.messages import Order, Solved
from service.jobs.records import TASK

Run = Callable[[Any], Any]
Ask = Callable[..., dict[str, Any]]

_STREAM = np.random.default_rng(21)
X = _STREAM.normal(size=(23, 2)).round(3)
Y = (X @ [1.5, -0.5] + 0.25 + 0.1 * _STREAM.normal(size=23)).round(3)
DATA = {"columns": {"a": X[:, 0].tolist(), "b": X[:, 1].tolist(), "y": Y.tolist()}}
NEW_DATA = {"columns": {"a": (3 + X[:, 1]).tolist(), "b": X[:, 0].tolist(), "y": (Y + 1).tolist()}}


@pytest.fixture
def work(services: Services, run: Run) -> Callable[[str], None]:
    """Do a worker's part, and its child's."""

    async def work_on(fit_id: UUID) -> None:
        async with services.pool.connection() as connection:
            [row] = await (await connection.execute("SELECT job_id FROM fit WHERE id = %s", [fit_id])).fetchall()
        attempts = Attempts(services.pool, 3)
        attempt = await attempts.begin(fit_id, row["job_id"])
        assert attempt is not None
        dataset = await services.datasets.get(attempt.dataset_id)
        assert dataset is not None
        solved = answer(Order(TASK.decode(attempt.task), dataset, attempt.start_state), lambda _: None)
        assert isinstance(solved, Solved), solved
        assert await attempts.succeed(attempt, solved)

    return lambda fit_id: run(work_on(UUID(fit_id)))


@pytest.fixture
def ask(api: httpx.Client) -> Ask:
    """Ask for a descent, after another fit or not, and leave it to the queue."""

    def sent(after: dict[str, Any] | None = None, body: dict[str, Any] | None = None, **solver: Any) -> dict[str, Any]:
        asked = {"data": DATA, "record": {"every": "step"}} | (body or {})
        start = {} if after is None else {"start": {"kind": "fit", "fit": after["id"]}}
        answered = api.post("/v1/fits", json=asked | {"solver": solver | start}, headers={"prefer": "respond-async"})
        assert answered.status_code == 202, answered.text
        queued: dict[str, Any] = answered.json()
        return queued

    return sent


@pytest.fixture
def descend(api: httpx.Client, ask: Ask, work: Callable[[str], None]) -> Ask:
    """Ask for a descent and return it finished."""

    def finished(*asked: dict[str, Any] | None, **solver: Any) -> dict[str, Any]:
        fit_id = ask(*asked, **solver)["id"]
        work(fit_id)
        fit: dict[str, Any] = api.get(f"/v1/fits/{fit_id}").json()
        assert fit["status"] == "succeeded"
        return fit

    return finished


@pytest.fixture
def execute(services: Services, run: Run) -> Callable[..., None]:
    """Have the database do something."""

    async def executed(statement: str, values: list[Any]) -> None:
        async with services.pool.connection() as connection:
            await connection.execute(statement.encode(), values)

    return lambda statement, *values: run(executed(statement, list(values)))


OPTIMIZERS: list[dict[str, Any]] = [
    {"kind": "sgd", "learning_rate": 0.05},
    {
        "kind": "adam",
        "learning_rate": {
            "kind": "exponential_decay",
            "initial_learning_rate": 0.1,
            "decay_steps": 9,
            "decay_rate": 0.9,
        },
    },
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer["kind"])
@pytest.mark.parametrize(
    ("plan", "parts"),
    [
        ({}, [{"epochs": 50}, {"epochs": 50}]),
        ({"batch_size": 5, "shuffle": True, "seed": 4}, [{"epochs": 30}, {"epochs": 70}]),
        ({"batch_size": 5, "shuffle": True}, [{"max_steps": 203}, {"max_steps": 101}, {"max_steps": 196}]),
    ],
)
def test_parts_are_the_whole(
    descend: Ask, optimizer: dict[str, Any], plan: dict[str, Any], parts: list[dict[str, int]]
) -> None:
    whole = descend(optimizer=optimizer, epochs=100, **plan)["result"]
    part, before = None, 0
    for length in parts:
        part = descend(part, optimizer=optimizer, **plan, **length)
        seen, expected = part["result"]["trajectory"]["columns"], whole["trajectory"]["columns"]
        steps = part["result"]["outcome"]["steps"]
        for name in ("loss", "gap", "gradient_norm"):
            assert seen[name] == expected[name][before : before + steps + 1]
        for name in ("batch", "batch_loss", "epoch_loss", "epoch_rmse", "learning_rate"):
            assert seen[name][1:] == expected[name][before + 1 : before + steps + 1]
        before += steps
        assert part["result"]["outcome"]["iterations"] == before
    assert part is not None
    assert part["result"]["coefficients"] == whole["coefficients"]
    assert part["result"]["loss"]["final"] == whole["loss"]["final"]
    assert before == whole["outcome"]["iterations"]


def test_small_fits_that_are_solved_at_once_go_on_as_well(api: httpx.Client, descend: Ask) -> None:
    """By a closed form, like those of the queue: to the same bits, whoever of them solves which part."""

    def at_once(after: dict[str, Any] | None, epochs: int) -> dict[str, Any]:
        start = {} if after is None else {"start": {"kind": "fit", "fit": after["id"]}}
        data = DATA if after is None else {"dataset": after["dataset"]}
        sent = api.post("/v1/fits", json={"data": data, "solver": {"epochs": epochs, **start}})
        assert sent.status_code == 201, sent.text
        fit: dict[str, Any] = sent.json()
        return fit

    whole = descend(epochs=100)
    for last in (at_once(at_once(None, 50), 50), descend(at_once(None, 50), epochs=50), at_once(descend(epochs=1), 99)):
        assert last["result"]["coefficients"] == whole["result"]["coefficients"]
        assert last["result"]["outcome"]["iterations"] == 100
        assert last["result"]["engine"] == "numpy_closed_form"


def test_where_it_came_from_is_shown_and_it_can_be_asked_for_again(api: httpx.Client, descend: Ask) -> None:
    first = descend(epochs=5)
    second = descend(first, epochs=5)
    assert second["request"]["solver"]["start"] == {"kind": "fit", "fit": first["id"]}
    again = descend(body={"data": second["request"]["data"]}, **second["request"]["solver"])
    assert again["result"]["coefficients"] == second["result"]["coefficients"]
    assert api.get(f"/v1/fits/{second['id']}").json()["request"] == second["request"]


def test_the_fit_before_may_be_gone_by_then(
    api: httpx.Client, ask: Ask, descend: Ask, work: Callable[[str], None], execute: Callable[..., None]
) -> None:
    first = descend(epochs=5)
    expected = descend(first, epochs=5)
    second = ask(first, epochs=5)
    execute("DELETE FROM fit WHERE id = %s", UUID(first["id"]))
    work(second["id"])
    assert api.get(f"/v1/fits/{second['id']}").json()["result"]["coefficients"] == expected["result"]["coefficients"]


def _estimates(fit: dict[str, Any]) -> list[float]:
    return [coefficient["estimate"] for coefficient in fit["result"]["coefficients"]]


def _first(fit: dict[str, Any]) -> list[float]:
    return [column[0] for column in fit["result"]["trajectory"]["columns"]["coefficients"]["y"].values()]


@pytest.mark.parametrize("scaling", [{}, {"features": "standard", "targets": "minmax"}])
def test_new_data_are_a_warm_start(descend: Ask, scaling: dict[str, str]) -> None:
    momentum = {"kind": "sgd", "learning_rate": 0.01, "momentum": 0.9}
    first = descend(body={"scaling": scaling}, optimizer=momentum, epochs=20)
    second = descend(first, {"data": NEW_DATA, "scaling": scaling}, optimizer=momentum, epochs=20)
    assert second["dataset"] != first["dataset"]
    assert _first(second) == pytest.approx(_estimates(first), rel=1e-12)
    # Without scaling descent's units stay the same, and so does what the optimizer remembers.
    assert second["result"]["outcome"]["iterations"] == (20 if scaling else 40)
    assert second["result"]["trajectory"]["columns"]["step"][0] == 0


def test_an_exact_fit_is_gone_on_from_at_its_coefficients(api: httpx.Client, descend: Ask) -> None:
    exact = api.post("/v1/fits", json={"data": DATA, "solver": {"kind": "exact"}}).json()
    after = descend(exact, epochs=3)
    assert _first(after) == pytest.approx(_estimates(exact), rel=1e-15)
    assert after["result"]["outcome"]["iterations"] == 3


def test_a_fit_that_left_no_state_is_gone_on_from_at_its_coefficients(
    descend: Ask, execute: Callable[..., None]
) -> None:
    first = descend(optimizer={"kind": "adam"}, epochs=7)
    execute("UPDATE fit SET end_state = NULL WHERE id = %s", UUID(first["id"]))
    second = descend(first, optimizer={"kind": "adam"}, epochs=7)
    assert _first(second) == _estimates(first)
    assert second["result"]["outcome"]["iterations"] == 7


def _refused(api: httpx.Client, fit: str, **body: Any) -> str:
    asked = {"data": DATA, "solver": {"epochs": 5, "start": {"kind": "fit", "fit": fit}}} | body
    sent = api.post("/v1/fits", json=asked)
    assert sent.status_code == 422, sent.text
    [error] = sent.json()["errors"]
    assert error["pointer"] == "/solver/start/fit"
    return str(error["message"])


def test_there_must_be_such_a_fit(api: httpx.Client, stored_rows: Callable[[], int]) -> None:
    before = stored_rows()
    assert "no fit" in _refused(api, str(uuid4()))
    assert _refused(api, "not-an-id")
    assert stored_rows() == before


def test_it_must_have_come_to_an_end(api: httpx.Client, fail: Callable[[str], None]) -> None:
    sent = api.post("/v1/fits", json={"data": DATA}, headers={"prefer": "respond-async"}).json()
    assert "still queued" in _refused(api, sent["id"])
    fail(sent["id"])
    assert "has failed" in _refused(api, sent["id"])


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"model": {"features": ["a"]}}, "other terms: '(intercept)', 'a', 'b'"),
        ({"model": {"intercept": False}}, "other terms"),
        ({"model": {"degree": 2}}, "'a^2'"),
        ({"model": {"features": ["a", "y"], "targets": ["b"]}}, "other terms"),
        ({"data": {"columns": {"a": [1.0], "b": [2.0], "z": [3.0]}}, "model": {"targets": ["z"]}}, "targets: 'y'"),
    ],
)
def test_its_terms_and_targets_must_be_the_same(
    api: httpx.Client, descend: Ask, body: dict[str, Any], named: str
) -> None:
    assert named in _refused(api, descend(epochs=1)["id"], **body)
