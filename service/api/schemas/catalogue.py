"""What a solver can be asked for, as GET /v1/solvers tells it."""

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from service.api.schemas.bodies import ResponsePart

#: An integer's bound is one: as a float, the largest would be another number.
Bound = Annotated[int | float, WithJsonSchema({"type": "number"})]
OptionType = Literal["number", "integer", "boolean", "string", "list", "object"]
OptionList = Literal["optimizers", "schedules", "starts", "penalties", "stop_rules"]


class ChoiceDescription(ResponsePart):
    """One of the words an option can be."""

    name: str
    description: str


class OptionDescription(ResponsePart):
    """One option: what it means, and what it may be."""

    name: str
    description: str
    type: OptionType
    members: OptionList | None = Field(
        description="The list of this answer whose members it may be as well; where the type is object, nothing else."
    )
    item_type: OptionType | None = Field(description="Of the members of a list; null for what is none.")
    required: bool = Field(description="Whether it cannot be left out.")
    nullable: bool = Field(description="Whether it may be null.")
    default: Any = Field(description="What it is if left out; null also where the description says what it is then.")
    minimum: Bound | None = Field(description="Least number; of each member, where it is a list. null: no bound.")
    exclusive_minimum: Bound | None = Field(description="What the number must be above.")
    maximum: Bound | None = Field(description="Largest number.")
    exclusive_maximum: Bound | None = Field(description="What the number must be below.")
    min_items: int | None = Field(description="Least length of a list.")
    max_items: int | None = Field(description="Largest length of a list.")
    choices: list[ChoiceDescription] | None = Field(description="All words it may be; null where it is no word.")


class KindDescription(ResponsePart):
    """One member of a union, known by its `kind`, with its options."""

    kind: str
    description: str
    options: list[OptionDescription]


class SolverCatalogue(ResponsePart):
    """Everything the `solver`, `scaling` and `loss` of a fit can be."""

    solvers: list[KindDescription]
    optimizers: list[KindDescription]
    schedules: list[KindDescription] = Field(description="What learning_rate may be beside a number.")
    starts: list[KindDescription]
    penalties: list[KindDescription]
    stop_rules: list[OptionDescription] = Field(description="The options of solver.stop.")
    scalings: list[ChoiceDescription]
    losses: list[ChoiceDescription]
    backends: list[ChoiceDescription]
    dtypes: list[ChoiceDescription]
    engines: list[ChoiceDescription] = Field(description="What a fit's result.engine may say: the service's choice.")
