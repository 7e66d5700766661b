"""The search space: parameters, conditions, and the way between a user's dict and a point of the unit cube."""

from hpo_fast.space.conditions import Between, Condition
from hpo_fast.space.layout import CATEGORICAL, CONTINUOUS, ORDERED, Layout
from hpo_fast.space.parameters import Categorical, Constant, Float, Int, Ordinal, Parameter
from hpo_fast.space.priors import Normal
from hpo_fast.space.space import Space

__all__ = [
    "CATEGORICAL",
    "CONTINUOUS",
    "ORDERED",
    "Between",
    "Categorical",
    "Condition",
    "Constant",
    "Float",
    "Int",
    "Layout",
    "Normal",
    "Ordinal",
    "Parameter",
    "Space",
]
