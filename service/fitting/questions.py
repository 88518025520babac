"""What is asked about an answer, whatever the solver."""

from dataclasses import dataclass, field

from service.fitting.diagnosis.end import Explanation
from service.fitting.inference.options import Inference
from service.fitting.others.answer import OtherName


@dataclass(frozen=True)
class Questions:
    """About the reference, other programs' answers to the same data, and how the fit differs."""

    inference: Inference = field(default_factory=Inference)
    others: tuple[OtherName, ...] = ()
    explain: tuple[Explanation, ...] = ()
