"""No accepted fit is lost, whatever is killed: every one ends once, with the numbers of an undisturbed run.

KILLS_SEED takes other moments, KILLS_ROUNDS goes on for so many times as long.
"""

import itertools
import json
import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.jobs.transitions import FINISHED, FOLLOWERS
from tests.faults.whole_service import KINDS, WholeService, insist, until, whole_service

SEED = int(os.environ.get("KILLS_SEED", "20261121"))
ROUNDS = int(os.environ.get("KILLS_ROUNDS", "1"))
FITS = 200 * ROUNDS
KILLS_OF_EACH_KIND = 4 * ROUNDS
POSTERS = 3
#: So many fits are posted before the first kill; the others bit by bit, so that each kill meets some.
AT_FIRST = 20
#: Kinds of fits, and how often each comes.
SOLVERS = {"exact": 3, "closed form": 3, "long": 2, "shuffled": 1, "batches": 1}

# Every row that a fit's status or attempt ever was, in the transaction that made it so.
_HISTORY = """
CREATE TABLE history (number bigserial PRIMARY KEY, fit_id uuid, status text, attempt int);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO history (fit_id, status, attempt) VALUES (NEW.id, NEW.status, NEW.attempt); RETURN NEW; END $$;
CREATE TRIGGER noted_insert AFTER INSERT ON fit FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER noted_update AFTER UPDATE ON fit FOR EACH ROW
    WHEN ((OLD.status, OLD.attempt) IS DISTINCT FROM (NEW.status, NEW.attempt)) EXECUTE FUNCTION note()
"""


@dataclass(frozen=True)
class Submission:
    """One POST: of a fit, or of several as a batch."""

    key: str
    bodies: Sequence[dict[str, Any]]
    headers: Mapping[str, str]
    is_batch: bool = False

    def post(self, client: httpx.Client) -> list[str]:
        """Post it until there is an answer; the ids of its fits."""
        headers = {"Idempotency-Key": self.key, **self.headers}
        path, body = ("/v1/fits:batch", {"fits": self.bodies}) if self.is_batch else ("/v1/fits", self.bodies[0])
        answer = insist(lambda: client.post(path, json=body, headers=headers))
        assert answer.is_success, answer.text
        told = answer.json()
        return [fit["id"] for fit in (told["fits"] if self.is_batch else [told])]


@dataclass
class Posted:
    """What several threads have posted so far, the ids of each submission's fits, and how many fits they may post."""

    allowed: int = AT_FIRST
    ids: dict[str, list[str]] = field(default_factory=dict)
    trouble: list[BaseException] = field(default_factory=list)

    @property
    def fits(self) -> int:
        return sum(map(len, self.ids.values()))


@pytest.mark.long
def test_no_accepted_fit_is_lost_whatever_is_killed(reachable_folder: Path) -> None:
    print(f"KILLS_SEED={SEED} KILLS_ROUNDS={ROUNDS}")
    rng = random.Random(SEED)
    submissions = list(_submissions(rng))
    # So long a name that the database's socket goes to the temporary folder.
    folder = reachable_folder / ("long" * 25)
    folder.mkdir()
    folder.chmod(0o711)
    with whole_service(folder, WORKERS="2", MAX_ATTEMPTS="100", GRACE_SECONDS="1") as service:
        with _client(service) as client:
            _warm_up(service, client)
        service.query(_HISTORY)
        posted = Posted()
        with _posting(service, submissions, posted):
            killed = _kill(service, rng, posted)
        assert not posted.trouble, posted.trouble
        assert killed == dict.fromkeys(KINDS, KILLS_OF_EACH_KIND)
        ids = [fit_id for submission in submissions for fit_id in posted.ids[submission.key]]
        assert len(set(ids)) == FITS
        until(lambda: _finished(service) == FITS or None)
        until(lambda: not service.query("SELECT id FROM procrastinate_jobs") or None)
        _assert_each_ended_once(service, ids)
        with _client(service) as client:
            assert {submission.key: submission.post(client) for submission in submissions} == posted.ids
            undisturbed = _run_again(service, client, submissions)
            for disturbed_id, undisturbed_id in zip(ids, undisturbed, strict=True):
                assert _answer(client, disturbed_id) == _answer(client, undisturbed_id)
        assert service.stop() == 0
        assert service.left_behind() == []
        assert service.temporary_files() == []
        assert service.lock() == ""
        assert "Traceback" not in service.log.read_text()


def _warm_up(service: WholeService, client: httpx.Client) -> None:
    """Have what is compiled once compiled: a child that is killed over it begins anew."""
    bodies = [{"data": {"x": [1, 2, 3, 5], "y": [1, 2, 4, 4]}, "solver": _solver(kind, 1)} for kind in SOLVERS]
    warmed = Submission("warm-up", bodies, {}, is_batch=True).post(client)
    until(lambda: _finished(service) == len(warmed) or None, patience=600.0)
    for fit_id in warmed:
        assert client.delete(f"/v1/fits/{fit_id}").is_success


def _submissions(rng: random.Random) -> Iterator[Submission]:
    bodies = [_body(rng, number) for number in range(FITS)]
    number = 0
    while number < FITS:
        size = min(rng.choice([1, 1, 1, 1, 12]), FITS - number)
        headers = rng.choice([{}, {"Prefer": "respond-async"}])
        yield Submission(f"submission-{number}", bodies[number : number + size], headers, is_batch=size > 1)
        number += size


def _body(rng: random.Random, number: int) -> dict[str, Any]:
    x = [rng.gauss(0.0, 1.0) for _ in range(24)]
    data = {"columns": {"x": x, "y": [1.0 + 2.0 * value + rng.gauss(0.0, 0.1) for value in x]}}
    [kind] = rng.choices(list(SOLVERS), list(SOLVERS.values()))
    return {"data": data, "solver": _solver(kind, rng.randrange(1, 10)), "labels": {"number": str(number)}}


def _solver(kind: str, size: int) -> dict[str, Any]:
    descent = {"kind": "descent", "backend": "numpy"}
    match kind:
        case "closed form":
            return {**descent, "optimizer": {"kind": "sgd"}, "epochs": 20 * size}
        case "long":
            return {**descent, "optimizer": {"kind": "adam"}, "epochs": 3 * 10**5 * size}
        case "shuffled":
            return {**descent, "batch_size": 8, "shuffle": True, "epochs": 2000 * size}
        case "batches":
            return {**descent, "optimizer": {"kind": "adam"}, "batch_size": 4, "epochs": 1000 * size}
    return {"kind": "exact"}


@contextmanager
def _posting(service: WholeService, submissions: Sequence[Submission], posted: Posted) -> Iterator[None]:
    """Post from several threads while the context is open, and until all is posted."""
    left, lock = iter(submissions), threading.Lock()

    def following() -> Submission | None:
        with lock:
            return next(left, None)

    threads = [threading.Thread(target=_post, args=[service, following, posted]) for _ in range(POSTERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        posted.allowed = FITS
        for thread in threads:
            thread.join()


def _post(service: WholeService, following: Callable[[], Submission | None], posted: Posted) -> None:
    try:
        with _client(service) as client:
            while (submission := following()) is not None:
                until(lambda: posted.fits < posted.allowed or None)
                posted.ids[submission.key] = submission.post(client)
    except BaseException as trouble:  # noqa: BLE001 - the test is told
        posted.trouble.append(trouble)


def _kill(service: WholeService, rng: random.Random, posted: Posted) -> dict[str, int]:
    """Kill each kind so often, in an order and at moments that are drawn; how often each was."""
    order = list(KINDS) * KILLS_OF_EACH_KIND
    rng.shuffle(order)
    for number, kind in enumerate(order, start=1):
        _await_moment(service, rng, posted)
        service.kill(kind, rng)
        posted.allowed = AT_FIRST + (FITS - AT_FIRST) * number // len(order)
    return dict(Counter(order))


def _await_moment(service: WholeService, rng: random.Random, posted: Posted) -> None:
    """Wait for some fits to be finished or posted, or for one to compute; not longer than there is anything to do."""
    kind, count = rng.choice(["finished", "posted", "running"]), rng.randrange(1, 5)
    finished, taken = _finished(service), posted.fits

    def has_come() -> bool | None:
        now = _finished(service)
        if now >= posted.allowed or posted.trouble:
            return True
        if kind == "running":
            return bool(service.query("SELECT id FROM fit WHERE status = 'running' AND progress IS NOT NULL")) or None
        return (now - finished if kind == "finished" else posted.fits - taken) >= count or None

    until(has_come)


def _finished(service: WholeService) -> int:
    [[count]] = service.query("SELECT count(*) FROM fit WHERE finished_at IS NOT NULL")
    return int(count)


def _assert_each_ended_once(service: WholeService, ids: Sequence[str]) -> None:
    rows = service.query("SELECT fit_id::text, status, attempt FROM history ORDER BY fit_id, number")
    histories = {fit_id: list(steps) for fit_id, steps in itertools.groupby(rows, lambda row: row[0])}
    assert histories.keys() == set(ids)
    for history in histories.values():
        statuses = [status for _, status, _ in history]
        assert statuses[-1] == "succeeded", history
        assert not FINISHED & set(statuses[:-1]), history
        assert all(after in FOLLOWERS[before] for before, after in itertools.pairwise(statuses)), history
        assert history[-1][2] >= 1, history
    assert service.query("SELECT id FROM fit WHERE finished_at IS NULL OR result IS NULL OR error IS NOT NULL") == []
    assert service.query("SELECT fit_id FROM trajectory_glimpse") == []


def _run_again(service: WholeService, client: httpx.Client, submissions: Sequence[Submission]) -> list[str]:
    """The same fits anew, in peace; their ids, in the order of the submissions."""
    bodies = [body for submission in submissions for body in submission.bodies]
    ids: list[str] = []
    for start in range(0, FITS, 100):
        chunk = bodies[start : start + 100]
        again = Submission(f"undisturbed-{start}", chunk, {"Cache-Control": "no-cache"}, is_batch=True)
        ids += again.post(client)
    until(lambda: _finished(service) == 2 * FITS or None, patience=600.0 * ROUNDS)
    return ids


def _answer(client: httpx.Client, fit_id: str) -> tuple[str, str | None]:
    """The texts of a finished fit's result, but for its own id in it, and of its whole trajectory."""
    fit = insist(lambda: client.get(f"/v1/fits/{fit_id}")).json()
    result = json.dumps(fit["result"]).replace(fit_id, "its id")
    if fit["result"]["trajectory"] is None:
        return result, None
    path = fit["result"]["trajectory"]["href"]
    rows = insist(lambda: client.get(path, headers={"Accept": "text/csv"}))
    assert rows.is_success, rows.text
    return result, rows.text


def _client(service: WholeService) -> httpx.Client:
    return httpx.Client(base_url=service.address, timeout=60.0)
