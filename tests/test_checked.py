"""The annotations of ganlab's functions are checked while the tests run."""

import checked
import jaxtyping
import pytest
import torch

from ganlab.objectives import NonSaturating


def test_a_wrong_shape_is_refused() -> None:
    assert NonSaturating().generator(torch.zeros(2)).shape == (2,)
    with pytest.raises(jaxtyping.TypeCheckError, match="generator"):
        NonSaturating().generator(torch.zeros(2, 3))


def test_the_first_instances_of_a_function_inside_another_are_checked() -> None:
    def outer() -> object:
        @jaxtyping.jaxtyped(typechecker=lambda function: function)
        def inner(number: int) -> int:
            return number

        return inner

    whether = [hasattr(outer(), "__wrapped__") for _ in range(checked.INSTANCES + 2)]
    assert whether == [True] * checked.INSTANCES + [False] * 2
