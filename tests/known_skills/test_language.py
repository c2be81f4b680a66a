"""The made language: the same for a seed, predictable by its rules, and opaque to tokens and bigrams."""

import numpy as np
import pytest
from quanta.errors import QuantaError
from quanta.known_skills import benchmark
from quanta.known_skills.language import EQUALS, NONE, SYMBOLS, VOCABULARY, Language

LANGUAGE = Language(5)
TEXTS = LANGUAGE.texts(600, 64, part=1, equal=True)


def labelled():
    rows, columns = np.nonzero(TEXTS.skills[:, 1:] != NONE)
    return TEXTS.skills[rows, columns + 1], TEXTS.ids[rows, columns + 1], TEXTS.ids[rows, columns]


def test_a_language_is_the_same_for_a_seed_and_another_for_another():
    again, other = (Language(seed).texts(600, 64, part=1, equal=True) for seed in (5, 6))
    assert (again.ids == TEXTS.ids).all() and (again.skills == TEXTS.skills).all()
    assert (other.ids != TEXTS.ids).any()
    assert (LANGUAGE.texts(600, 64, part=2, equal=True).ids != TEXTS.ids).any()


def test_every_labelled_token_follows_from_the_rule_of_its_skill():
    seen = set()
    for ids, marks in zip(TEXTS.ids, TEXTS.skills, strict=True):
        for place in np.flatnonzero(ids == EQUALS):
            if place + 1 >= len(ids):
                continue
            skill = LANGUAGE.skills[marks[place + 1]]
            arguments = ids[place - skill.arguments : place]
            answers = skill.answers(arguments)[: len(ids) - place - 1]
            assert ids[place + 1 : place + 1 + len(answers)].tolist() == answers
            assert (marks[place + 1 : place + 1 + len(answers)] == marks[place + 1]).all()
            seen.add(skill.name)
    assert len(seen) == len(LANGUAGE.skills) >= 40


def test_no_token_names_a_skill():
    """A target belongs to many skills, and each word for a verb or a mode begins segments of several skills."""
    skills, targets, _ = labelled()
    assert all(len(np.unique(skills[targets == token])) >= 10 for token in range(SYMBOLS))
    words = range(SYMBOLS, EQUALS)
    named = {word: set() for word in words}
    rng = np.random.default_rng(0)
    for skill in range(len(LANGUAGE.skills)):
        for _ in range(40):
            for word in LANGUAGE.cues(skill, rng):
                named[word].add(skill)
    assert min(map(len, named.values())) >= 3
    assert max(max(TEXTS.ids.ravel()), EQUALS) < VOCABULARY


def test_most_skills_have_many_targets():
    skills, targets, _ = labelled()
    assert np.median([len(np.unique(targets[skills == skill])) for skill in np.unique(skills)]) >= 8


def test_target_and_bigram_fail_by_construction():
    skills, targets, before = labelled()
    assert benchmark.score(targets, skills)["adjusted_rand"] < 0.1
    assert benchmark.score(before * VOCABULARY + targets, skills)["adjusted_rand"] < 0.2


def test_shares_fall_as_a_power_of_the_rank():
    ratio = LANGUAGE.frequencies[0] / LANGUAGE.frequencies[9]
    assert ratio == pytest.approx(10)
    drawn = Language(5, 0.0).frequencies
    assert np.allclose(drawn, drawn[0])


@pytest.mark.parametrize(("documents", "context"), [(0, 64), (3, 8)])
def test_texts_that_hold_no_segment_are_refused(documents, context):
    with pytest.raises(QuantaError, match="16 tokens or more"):
        LANGUAGE.texts(documents, context, part=1)


def test_a_negative_exponent_is_refused():
    with pytest.raises(QuantaError, match=r"known_skills\.language\.exponent"):
        Language(0, -1.0)
