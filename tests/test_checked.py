"""The annotations of ganlab's functions are checked while the tests run."""

from collections.abc import Mapping

import checked
import jaxtyping
import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from torch import Tensor

from ganlab.keys import key
from ganlab.objectives import NonSaturating
from ganlab.types import Images, PerSample


def test_a_wrong_shape_is_refused() -> None:
    assert NonSaturating().generator(torch.zeros(2)).shape == (2,)
    with pytest.raises(jaxtyping.TypeCheckError, match="generator"):
        NonSaturating().generator(torch.zeros(2, 3))


def test_a_wrong_type_is_refused_where_there_are_no_shapes() -> None:
    with pytest.raises(BeartypeCallHintViolation, match="parts"):
        key(3.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("annotation", "whether"),
    [
        (Images, True),
        (Images | None, True),
        (tuple[Mapping[str, PerSample], int], True),
        (Tensor, False),
        (Mapping[str, Tensor] | None, False),
        ("Game", True),  # beartype alone cannot look it up
    ],
)
def test_shapes_are_found_within_other_types(annotation: object, whether: bool) -> None:
    assert checked.has_shape(annotation) == whether


def test_the_first_instances_of_a_function_inside_another_are_checked() -> None:
    def outer() -> object:
        @jaxtyping.jaxtyped(typechecker=lambda function: function)
        def inner(images: Images) -> Images:
            return images

        return inner

    whether = [hasattr(outer(), "__wrapped__") for _ in range(checked.INSTANCES + 2)]
    assert whether == [True] * checked.INSTANCES + [False] * 2
