"""The mutants that are run by hand can still be made: see tests/mutations.py."""

import pytest
from mutations import FUNCTIONS, Function


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_each_mutation_changes_one_place_of_its_module_and_leaves_it_python(function: Function) -> None:
    assert len(function.mutations) >= 10
    for mutation in function.mutations:
        compile(function.mutant(mutation), function.module, "exec")


def test_no_two_mutations_of_a_function_are_the_same() -> None:
    for function in FUNCTIONS:
        assert len({function.mutant(m) for m in function.mutations}) == len(function.mutations), function.name
        assert len({m.what for m in function.mutations}) == len(function.mutations), function.name
