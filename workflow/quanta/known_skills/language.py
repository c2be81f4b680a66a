"""A made language whose every predictable token carries the name of the skill that predicts it.

A text is a row of segments. A segment is `verb mode arguments = answers`, and random symbols follow it. Verb and mode together
name the skill: seven verbs and seven modes make 49 pairs, and no token alone tells a skill. Arguments and answers are of one
alphabet of symbols, which all skills share. So a target token belongs to many skills, a skill has many targets, and the token
before a target is "=" or another symbol. The draw of a language (which pair names which skill, tables, phrases, shares) depends
on its seed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from quanta.arrays import Array, Float, Int
from quanta.errors import QuantaError
from quanta.streams import Purpose, generator

SYMBOLS, CUES, SYNONYMS = 16, 7, 3  # symbols are the tokens 0 to 15; then come words for verbs, for modes, and "="
WORDS = CUES * SYNONYMS
EQUALS = SYMBOLS + 2 * WORDS
VOCABULARY = EQUALS + 1
NONE = -1  # the skill of a token that no rule predicts

Rule = Callable[[Array], list[int]]


@dataclass(frozen=True)
class Skill:
    """A rule from arguments to answers. `arguments` is how many symbols it reads."""

    name: str
    kind: str
    arguments: int
    rule: Rule

    def answers(self, arguments: Int[Array, " argument"]) -> list[int]:
        """The symbols that follow "=": each is predictable."""
        return [int(symbol) % SYMBOLS for symbol in self.rule(arguments)]


def _counting(step: int) -> Rule:
    return lambda a: [a[0] + step * n for n in (1, 2, 3)]


def _ordered(order: tuple[int, ...]) -> Rule:
    return lambda a: [a[place] for place in order]


def _table(values: Array) -> Rule:
    return lambda a: [values[a[0]]]


def _phrase(symbols: Array) -> Rule:
    return lambda a: list(symbols)


def _closing(partner: Array) -> Rule:
    return lambda a: [partner[symbol] for symbol in a[::-1]]


def _looked_up(given: int) -> Rule:
    """Three pairs, then one half of one of them: the answer is the other half."""

    def rule(a: Array) -> list[int]:
        pairs = a[:6].reshape(3, 2)
        (place,) = np.flatnonzero(pairs[:, given] == a[6])[:1]
        return [pairs[place, 1 - given]]

    return rule


PAIRS: dict[str, Rule] = {
    "sum": lambda a: [a[0] + a[1]],
    "difference": lambda a: [a[0] - a[1]],
    "larger": lambda a: [max(a)],
    "smaller": lambda a: [min(a)],
    "twice and one": lambda a: [2 * a[0] + a[1]],
}
ORDERS = {"copy": (0, 1, 2), "reverse": (2, 1, 0), "rotate": (1, 2, 0), "swap": (1, 0, 2), "last": (2, 2, 2),
          "first": (0, 0, 0), "alternate": (0, 1, 0)}  # fmt: skip
STEPS, TABLES, PHRASES, AGREEMENTS = (1, 2, 3, 5, -1, -2, -3), 8, 6, 4


def skills_of(rng: np.random.Generator) -> list[Skill]:
    """The skills of a language: rules that are the same in all, and tables and phrases that `rng` draws."""
    found = [Skill(f"count by {step}", "counting", 1, _counting(step)) for step in STEPS]
    found += [Skill(name, "copying", 3, _ordered(order)) for name, order in ORDERS.items()]
    found += [Skill(name, "arithmetic", 2, rule) for name, rule in PAIRS.items()]
    found += [Skill(f"fact {n}", "facts", 1, _table(rng.permutation(SYMBOLS))) for n in range(TABLES)]
    found += [Skill(f"phrase {n}", "phrases", 0, _phrase(rng.integers(SYMBOLS, size=5))) for n in range(PHRASES)]
    for n in range(AGREEMENTS):
        classes, ends = rng.permutation(SYMBOLS) % 2, rng.choice(SYMBOLS, 2, replace=False)
        found.append(Skill(f"agreement {n}", "agreement", 3, _table(ends[classes])))
    for n in range(2):
        halves = rng.permutation(SYMBOLS).reshape(2, -1)
        partner = np.empty(SYMBOLS, dtype=np.int64)
        partner[halves[0]], partner[halves[1]] = halves[1], halves[0]
        found.append(Skill(f"close {n}", "closing", 2, _closing(partner)))
    found += [Skill(f"look up {name}", "looking up", 7, _looked_up(n)) for n, name in enumerate(("value", "key"))]
    return found


@dataclass(frozen=True)
class Texts:
    """Documents of one length, and for each token the number of the skill that predicts it, or `NONE`."""

    ids: Int[Array, "document position"]
    skills: Int[Array, "document position"]


@dataclass(frozen=True)
class Language:
    """A language drawn from `seed`; skill of rank r has a share ∝ r^-exponent of the segments.

    Raises:
        QuantaError: an exponent below zero.
    """

    seed: int
    exponent: float = 1.0

    def __post_init__(self) -> None:
        if not self.exponent >= 0:
            raise QuantaError("known_skills.language.exponent", f"{self.exponent}", "0 or more", "raise it")

    @cached_property
    def _drawn(self) -> tuple[list[Skill], Array]:
        rng = generator(self.seed, Purpose.MADE_LANGUAGE)
        found = skills_of(rng)
        order = rng.permutation(len(found))  # the first is the most frequent
        return [found[n] for n in order], rng.permutation(CUES * CUES)[: len(found)]

    @property
    def skills(self) -> list[Skill]:
        """All skills, by falling frequency."""
        return self._drawn[0]

    @cached_property
    def frequencies(self) -> Float[Array, " skill"]:
        """Shares of the segments; their sum is 1."""
        weights = np.arange(1, len(self.skills) + 1, dtype=np.float64) ** -self.exponent
        return np.asarray(weights / weights.sum())

    def cues(self, skill: int, rng: np.random.Generator) -> tuple[int, int]:
        """A word for the verb and one for the mode that name a skill together; each has three synonyms."""
        verb, mode = divmod(int(self._drawn[1][skill]), CUES)
        first, second = rng.integers(SYNONYMS, size=2).tolist()
        return SYMBOLS + verb * SYNONYMS + first, SYMBOLS + WORDS + mode * SYNONYMS + second

    def segment(self, skill: int, rng: np.random.Generator) -> tuple[list[int], list[int]]:
        """Token ids of one segment with its distractors, and the skill of each."""
        own = self.skills[skill]
        arguments = rng.integers(SYMBOLS, size=own.arguments)
        if own.kind == "looking up":
            pairs = np.stack([rng.choice(SYMBOLS, 3, replace=False) for _ in range(2)], axis=1)
            arguments = np.append(pairs.ravel(), pairs[rng.integers(3), int(own.name.endswith("key"))])
        answers = own.answers(arguments)
        noise = rng.integers(SYMBOLS, size=rng.integers(3)).tolist()
        before = [*self.cues(skill, rng), *arguments.tolist(), EQUALS]
        labels = [NONE] * len(before) + [skill] * len(answers) + [NONE] * len(noise)
        return before + answers + noise, labels

    def texts(self, documents: int, context: int, *, part: int, equal: bool = False) -> Texts:
        """Documents of `context` tokens; each part is a stream of its own. `equal` draws all skills equally often.

        Raises:
            QuantaError: no document, or a context shorter than the longest segment.
        """
        if documents < 1 or context < 16:
            raise QuantaError("known_skills.language", f"{documents} documents of {context} tokens",
                              "one document or more, of 16 tokens or more", "raise them")  # fmt: skip
        rng = generator(self.seed, Purpose.MADE_TEXTS, part)
        ids = np.empty((documents, context), dtype=np.int64)
        labels = np.empty_like(ids)
        weights = np.full(len(self.skills), 1 / len(self.skills)) if equal else self.frequencies
        for row in range(documents):
            own: list[int] = []
            marks: list[int] = []
            for skill in rng.choice(len(weights), size=context // 4 + 1, p=weights):
                more, names = self.segment(int(skill), rng)
                own, marks = own + more, marks + names
                if len(own) >= context:
                    break
            ids[row], labels[row] = own[:context], marks[:context]
        return Texts(ids, labels)
