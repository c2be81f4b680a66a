"""What a method may look at: samples whose skills are known, and what one or more nets say of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from quanta.affinity import cosine
from quanta.arrays import Array, Bool, Float, Float32, Int
from quanta.errors import QuantaError
from quanta.streams import Purpose, generator


@dataclass(frozen=True, eq=False)
class View:
    """One net's view of the samples; two views are the same if they are one object.

    `gradients` are those of each sample's own loss, exact and not normalised. `blocks` names ranges of parameters, such as
    the layers' matrices. `hidden` is the activation that the net's output is made from. `weights` are the matrices
    themselves, by the names of their blocks: a block's gradient is the matrix' own, row by row.
    """

    gradients: Float32[Array, "sample parameter"]
    hidden: Float32[Array, "sample unit"]
    blocks: Mapping[str, slice]
    weights: Mapping[str, Float32[Array, "row column"]] = field(default_factory=dict)

    def matrices(self, gradients: Float32[Array, "sample parameter"]) -> dict[str, Float32[Array, "sample row column"]]:
        """Gradients of the samples, or what was made of them, as matrices by the names of their blocks.

        Raises:
            QuantaError: the view has no weights, so that the shapes are unknown.
        """
        if not self.weights:
            raise QuantaError("known skills, a view", "no weights", "the matrices that the gradients are of",
                              "give View its `weights`, or leave out the affinities that need them")  # fmt: skip
        return {
            name: gradients[:, self.blocks[name]].reshape(-1, *weight.shape) for name, weight in self.weights.items()
        }


@dataclass(frozen=True)
class Evidence:
    """Samples of one set: the truth, what can be seen without a net, and the views of nets.

    `skills` is the truth that methods are scored by; no method may read it, nor `further`, other truths by name (the cases
    of parity's tasks). `surface` holds groupings that need no net: the target, the bigram. `context` says how often each
    input token occurs among the last ones. `views` are trained nets, `untrained` one that is not; `earlier` is the first
    net at earlier steps, if that was asked for. `curves` are the samples' losses (nats) at checkpoints of the first net.
    """

    name: str
    skills: Int[Array, " sample"]
    views: tuple[View, ...]
    untrained: View
    curves: Float[Array, "sample checkpoint"]
    surface: Mapping[str, Int[Array, " sample"]]
    context: Float[Array, "sample token"]
    skill_names: tuple[str, ...]
    frequencies: Float[Array, " skill"]
    further: Mapping[str, Int[Array, " sample"]] = field(default_factory=dict)
    earlier: tuple[View, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.skills)
        parts = {"curves": self.curves, "context": self.context, **self.surface, **self.further}
        parts |= {
            f"gradients of view {i}": view.gradients
            for i, view in enumerate((*self.views, self.untrained, *self.earlier))
        }
        wrong = {name: len(part) for name, part in parts.items() if len(part) != n}
        if wrong or not self.views or n < 4:
            raise QuantaError(f"known skills, set {self.name}", f"{n} samples, {len(self.views)} views, {wrong or 'all alike'}",
                              "four samples or more, one view or more, and all parts of one length", "give each sample to all")  # fmt: skip

    def __len__(self) -> int:
        return len(self.skills)

    @property
    def n_skills(self) -> int:
        """How many skills the samples have."""
        return len(np.unique(self.skills))

    def take(self, keep: Int[Array, " kept"] | Bool[Array, " sample"]) -> "Evidence":
        """Some of the samples."""

        def part(view: View) -> View:
            return replace(view, gradients=view.gradients[keep], hidden=view.hidden[keep])

        return replace(
            self, skills=self.skills[keep], views=tuple(map(part, self.views)), untrained=part(self.untrained),
            earlier=tuple(map(part, self.earlier)), curves=self.curves[keep],
            context=self.context[keep],
            surface={name: labels[keep] for name, labels in self.surface.items()},
            further={name: labels[keep] for name, labels in self.further.items()},
        )  # fmt: skip

    def with_noise(self, noise: float, seed: int) -> "Evidence":
        """Unit gradients of the views, at earlier steps too, plus an isotropic random vector of expected length `noise`."""
        rng = generator(seed, Purpose.SKILL_SAMPLES, 1)

        def noisy(view: View) -> View:
            unit = cosine.unit_rows(view.gradients)
            unit += rng.standard_normal(unit.shape, dtype=np.float32) * np.float32(noise / unit.shape[1] ** 0.5)
            return replace(view, gradients=unit)

        return replace(self, views=tuple(map(noisy, self.views)), earlier=tuple(map(noisy, self.earlier)))


def equally(skills: Int[Array, " sample"], per_skill: int, seed: int) -> Int[Array, " kept"]:
    """Places of `per_skill` samples of each skill that has as many, drawn at random and in rising order.

    Raises:
        QuantaError: fewer than two skills have as many.
    """
    rng = generator(seed, Purpose.SKILL_SAMPLES, 0)
    counts = np.bincount(skills)
    enough = np.flatnonzero(counts >= per_skill)
    if len(enough) < 2:
        raise QuantaError("known_skills", f"{len(enough)} skills with {per_skill} samples that the nets predict",
                          "two or more", "train longer, or lower the samples per skill")  # fmt: skip
    kept = [rng.choice(np.flatnonzero(skills == skill), per_skill, replace=False) for skill in enough]
    return np.sort(np.concatenate(kept))
