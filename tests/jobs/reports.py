"""A report with something in every field, for tests that keep reports and do not make them."""

import math

from service.fitting.diagnosis.answer import Cause, Diagnosis, Direction, Gap, Remedy, StepsTo
from service.fitting.inference.tables import Collinearity, CovarianceMatrix, InferenceReport, TargetSummary
from service.fitting.others.answer import OtherAnswer, OtherCoefficient
from service.fitting.outcome import Outcome
from service.fitting.solution import Coefficient, LossReport, NullDirection, ReferenceReport, Report


def report(number: float = 0.5) -> Report:
    """A report in which `number` stands wherever a number may be of any kind."""
    return Report(
        outcome=Outcome("diverged", "It grew.", 3, 1),
        engine="numpy_rows",
        coefficients=(
            Coefficient("y", "x", number, 1.0, number, 0.0, True, number, None, number, number, 0.5, number, number),
        ),
        loss=LossReport(None, number, 0.5, number),
        reference=ReferenceReport(
            "ridge", "qr", 1, 2, 1e-15, math.inf, 15.9, (NullDirection("x = 2", ("(intercept)", "x"), (2.0, number)),)
        ),
        summary=(TargetSummary("y", 0.5, number, number, number, 0.1, number, number, number, 3, 1, 2, "Because."),),
        inference=InferenceReport("hc3", 0.9, 2, None),
        covariance=(CovarianceMatrix("y", ("x",), ((number,),)),),
        collinearity=Collinearity(("x",), (number,), (1.0,), ((number,),)),
        others=(OtherAnswer("r", "R lm", True, None, (OtherCoefficient("y", "x", number, number, 0.0),), "NA."),),
        diagnosis=diagnosis(number),
    )


def diagnosis(number: float = 0.5) -> Diagnosis:
    """Everything that can be said of a descent, with `number` wherever it may be of any kind."""
    steps_to = (StepsTo(0.1, 7), StepsTo(0.01, None))
    scaled, longer = {"scaling": {"features": "standard"}}, {"solver": {"epochs": 10**6, "max_steps": None}}
    return Diagnosis(
        directions=(
            Direction("x - z", ("x", "z"), (0.5, -0.5), number, number, None, number, number, number, steps_to),
            Direction("x + z", ("x", "z"), (0.5, 0.5), 0.0, None, number, number, number, number, ()),
        ),
        causes=(
            Cause("features_unscaled", "They differ.", ("x",), {"condition_number": number, "steps": None}, number, 0),
            Cause("loss_is_before_update", "It is.", (), {}, 0.0),
        ),
        remedies=(
            Remedy(0, "Scale.", ("features_unscaled",), scaled, Gap(9, number), Gap(9, number)),
            Remedy(1, "Go on.", ("features_unscaled",), longer, Gap(10**6, 1e-9), None),
        ),
    )
