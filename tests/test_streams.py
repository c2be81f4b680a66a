"""No two random streams of a run meet, and none is seeded by a bare number."""

import ast
import itertools
import re

import numpy as np
import pytest
from quanta.streams import Purpose, generator, integer, stream, torch_generator
from support import ROOT

CODE = {path: path.read_text(encoding="utf-8") for path in (ROOT / "workflow").rglob("*.py")}


def test_every_purpose_has_a_number_of_its_own():
    numbers = [purpose.value[0] for purpose in Purpose]
    assert len(set(numbers)) == len(numbers) == len(Purpose)
    assert all(0 <= indices <= 2 for _, indices in (purpose.value for purpose in Purpose))


def test_no_two_purposes_meet_at_any_index():
    """Zeros as indices above all: NumPy pads with them."""
    seen = {}
    for seed, purpose in itertools.product(range(6), Purpose):
        for index in itertools.product((0, 1, 2, 3, 5, 40), repeat=purpose.value[1]):
            state = stream(seed, purpose, *index).generate_state(4).tobytes()
            assert state not in seen, (seed, purpose, index, seen[state])
            seen[state] = (seed, purpose, index)
    assert len(seen) > 1000


def test_numpy_pads_with_zeros():
    """Why a purpose always has the same number of indices."""
    first, second = (np.random.SeedSequence(words).generate_state(4) for words in ([7, 5], [7, 5, 0]))
    assert (first == second).all()


@pytest.mark.parametrize(
    ("seed", "purpose", "index"),
    [
        (0, Purpose.SIMULATION, ()),
        (0, Purpose.SIGN_FOLD, (1,)),
        (-1, Purpose.SIGN_FOLD, ()),
        (2**32, Purpose.SIGN_FOLD, ()),
        (0, Purpose.SIMULATION, (2**32,)),
    ],
)
def test_what_could_meet_another_stream_is_refused(seed, purpose, index):
    with pytest.raises(ValueError, match=purpose.name):
        stream(seed, purpose, *index)


def test_a_stream_is_the_same_every_time_and_in_every_shape():
    one, two = (generator(3, Purpose.SIMULATION, 4).random(5) for _ in range(2))
    assert (one == two).all() and (one != generator(3, Purpose.SIMULATION, 5).random(5)).all()
    assert 0 <= integer(3, Purpose.TOKEN_MAP) < 2**31
    drawn = [torch_generator(stream(3, Purpose.PARITY_FRESH, step), "cpu").initial_seed() for step in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_library_and_scripts_draw_from_named_streams_alone():
    for path, text in CODE.items():
        if path.name == "streams.py":
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func).rpartition(".")[2]
                assert name not in {"SeedSequence", "RandomState", "PCG64"}, f"{path}:{node.lineno}"
                if name == "default_rng":
                    assert f"{ast.unparse(node.args[0])} = stream(" in text, f"{path}:{node.lineno}"
                for keyword in node.keywords:
                    if keyword.arg == "random_state":
                        given = ast.unparse(keyword.value)
                        assert given.startswith("integer(") or f"{given} = integer(" in text, f"{path}:{node.lineno}"


def test_every_purpose_is_used():
    used = set(re.findall(r"Purpose\.(\w+)", "".join(CODE.values())))
    assert used == {purpose.name for purpose in Purpose}
