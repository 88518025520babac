"""What a descent will do, in plain numbers: `forecast(setting, recording, means, explain) -> Forecast`."""

from collections.abc import Sequence

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.descent.account import Account
from service.fitting.descent.setting import Setting
from service.fitting.diagnosis.answer import Expected, Forecast, Place
from service.fitting.diagnosis.diagnose import diagnose
from service.fitting.diagnosis.directions import steps_to
from service.fitting.diagnosis.end import End, Explanation, Means
from service.fitting.diagnosis.outlook import outlook
from service.fitting.recording import Recording, recorded_steps


# What leaves float64 is data here: it comes out as inf or NaN, which the edge says as null.
@np.errstate(all="ignore")
def forecast(setting: Setting, recording: Recording, means: Means, explain: Sequence[Explanation] = ()) -> Forecast:
    """Without taking a step of the descent; where its steps have to be simulated, by `means`.

    Raises
    ------
    TooLong
        They cannot be simulated here, or not in time.
    """
    seen, account = outlook(setting, means.simulate), setting.account(recording)
    end = _place(account, seen.steps, seen.end, seen.end_sd)
    limit = None if seen.limit is None else _place(account, None, seen.limit, seen.limit_sd)
    expected = End(
        kind=None,
        steps=seen.steps,
        scaled=seen.end,
        estimate=account.in_users_units(seen.end[None])[0],
        loss=end.loss,
        printed=None,
        outlook=seen,
    )
    return Forecast(
        method=seen.method,
        exact=seen.is_exact,
        stable=seen.is_stable,
        largest_stable_learning_rate=seen.largest_stable_learning_rate,
        best_learning_rate=seen.best_learning_rate,
        steps_to=steps_to(seen.steps_to),
        end=end,
        limit=limit,
        trajectory_bytes=trajectory_bytes(setting, recording),
        diagnosis=diagnose(setting, expected, recording, means, explain),
    )


def trajectory_bytes(setting: Setting, recording: Recording) -> int:
    """What the recorded rows of a descent that takes all its steps hold in the store, and what they are told by."""
    plan, account = setting.plan, setting.account(recording)
    steps = recorded_steps(recording, plan.total_steps, plan.steps_per_epoch, plan.into_epoch)
    return len(account.to_bytes()) + account.layout.itemsize * steps.rows


def _place(account: Account, steps: int | None, scaled: FloatArray, sd: FloatArray) -> Place:
    coefficients = account.in_users_units(scaled[None])[0]
    return Place(
        steps=steps,
        loss=account.loss_of(scaled),
        coefficients=tuple(
            Expected(target, term, float(coefficients[j, k]), float(sd[j, k]))
            for k, target in enumerate(account.targets)
            for j, term in enumerate(account.terms)
        ),
    )
