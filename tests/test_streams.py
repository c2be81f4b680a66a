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


# number, indices, and the first word that seed 7 gives, at indices 3. No rerun hash holds the registry, so an entry that
# changed would rerun nothing: append to this table, and change nothing in it.
PINNED = {
    "SUMMARY_HALF": (0, 0, 2083679832),
    "TRAINING_WINDOWS": (1, 0, 369571992),
    "SIGN_FOLD": (2, 0, 1009178997),
    "KMEANS": (3, 1, 3804076424),
    "CLUSTER_LAW_TEXTS": (4, 0, 3335713882),
    "SIMULATION": (5, 1, 1558689951),
    "SIZE_LAW_BOOTSTRAP": (6, 0, 924414274),
    "HALVES": (7, 0, 1750529956),
    "THEORY_LEARNER": (8, 1, 1868148864),
    "SAMPLE_SLOPES": (9, 0, 621768553),
    "NULL_MODEL": (10, 1, 2211620249),
    "TOKEN_MAP": (11, 0, 1247478191),
    "SLOPE_BOOTSTRAP": (12, 0, 2070387560),
    "LINEAGE_CHANCE": (13, 0, 214246624),
    "RANK_CORRELATION": (14, 0, 4184397123),
    "WITHIN_GROUPS": (15, 0, 2406264477),
    "EQUAL_TOKENS": (16, 0, 3742620831),
    "RECURRENCE_TEXTS": (17, 0, 3573943362),
    "ORDER_NULL": (18, 0, 3615355025),
    "MEAN_LOSS_BOOTSTRAP": (19, 0, 3928249602),
    "PARITY_EXPONENT_BOOTSTRAP": (20, 0, 838495606),
    "PARITY_SIMULATION": (21, 1, 2157648149),
    "TOY": (22, 2, 2499430320),
    "AGREEMENT_PAIRS": (23, 0, 650915284),
    "NEIGHBOUR_LANCZOS": (24, 0, 4049257643),
    "DISCRETIZE": (25, 0, 2145829404),
    "RESTARTS": (26, 1, 1381652038),
    "MINI_BATCHES": (27, 1, 1971448973),
    "CALIBRATION_FOLDS": (28, 0, 1236178763),
    "SOFT_FACTORS": (29, 0, 1082245721),
    "PARITY_SUBSETS": (30, 0, 2600330908),
    "PARITY_WEIGHTS": (31, 1, 75527634),
    "PARITY_FRESH": (32, 1, 3187537968),
    "PARITY_TRAINING_SET": (33, 1, 858741935),
    "PARITY_ORDER": (34, 2, 3520739717),
    "PARITY_HELD_OUT": (35, 0, 2862027403),
    "PARITY_PROBES": (36, 2, 4090662239),
    "PARITY_NOISE": (37, 0, 377573991),
    "SUMMARY_SPECTRUM": (38, 0, 2967621758),
    "PROBE_TOKENS": (39, 0, 2614495764),
    "MADE_LANGUAGE": (40, 0, 3928868563),
    "MADE_TEXTS": (41, 1, 503666978),
    "SKILL_SAMPLES": (42, 1, 2584762235),
    "SKILL_ASSIGNMENT": (43, 1, 2991216858),
    "INTERVENTION_GROUPS": (44, 1, 2783187803),
    "INTERVENTION_HALVES": (45, 2, 3859574326),
    "INTERVENTION_BOOTSTRAP": (46, 2, 385618934),
    "INTERVENTION_NOISE": (47, 2, 3775328845),
}


def test_a_stream_once_named_never_changes():
    now = {
        purpose.name: (*purpose.value, int(stream(7, purpose, *([3] * purpose.value[1])).generate_state(1)[0]))
        for purpose in Purpose
    }
    assert now == PINNED


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
