"""From evidence to the similarity of samples: one function per affinity, by name in `AFFINITIES`.

An affinity gets an `Evidence` and gives a symmetric matrix (N, N) of cosines. To add one, write

    @affinity("my idea")
    def my_idea(evidence):
        return over_views(evidence, lambda view: np.log1p(np.abs(view.gradients)))

in this module, and it has a row in the benchmark's table for each assignment and set. `over_views` takes the mean of the
nets' cosines. A baseline is registered with `baseline`; its name begins with "baseline".
"""

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from quanta.affinity import cosine, kinds, magnitudes
from quanta.arrays import Array, Float, Float32
from quanta.errors import QuantaError
from quanta.known_skills.evidence import Evidence, View

Affinity = Callable[[Evidence], Float[Array, "sample sample"]]
AFFINITIES: dict[str, Affinity] = {}
BASELINE = "baseline: "
SMALL = 1e-30
DAMPING = 0.1  # of the mean eigenvalue of a covariance


def affinity(name: str) -> Callable[[Affinity], Affinity]:
    """Register an affinity: evidence → cosines (N, N).

    Raises:
        QuantaError: the name is taken.
    """

    def register(function: Affinity) -> Affinity:
        if name in AFFINITIES:
            raise QuantaError("known skills", f"a second affinity {name!r}", "a name of its own", "rename it")
        AFFINITIES[name] = function
        return function

    return register


def cosines_of(rows: Array) -> Float32[Array, "sample sample"]:
    """Cosines of rows; a row of zeros is at 0 to all others."""
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    unit = (rows / np.maximum(length, SMALL)[:, None]).astype(np.float32)
    return cosine.settled(unit @ unit.T)


def over_views(evidence: Evidence, features: Callable[[View], Array]) -> Float32[Array, "sample sample"]:
    """Mean over the nets of the cosines of what `features` makes of each view."""
    return cosine.settled(np.mean([cosines_of(features(view)) for view in evidence.views], axis=0))


def first_view(evidence: Evidence) -> View:
    """The one net that methods with a single net see."""
    return evidence.views[0]


def standardised(rows: Array) -> Float32[Array, "sample feature"]:
    """Each column minus its mean, over its deviation; columns that do not vary are left out."""
    mean, deviation = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    varies = deviation > magnitudes.VARIES * np.sqrt(mean**2 + deviation**2)
    return np.asarray(((rows[:, varies] - mean[varies]) / deviation[varies]).astype(np.float32))


def root_magnitudes(view: View) -> Float32[Array, "sample parameter"]:
    """√|g| of unit gradients, standardised per parameter."""
    return standardised(np.sqrt(np.abs(cosine.unit_rows(view.gradients))))


# -------------------------------------------------------------------------- what is made of one net's gradients


def signed(view: View) -> Float32[Array, "sample sample"]:
    """Cosine of gradients: the paper's."""
    return cosines_of(view.gradients)


def unsigned(view: View) -> Float32[Array, "sample sample"]:
    """|cosine|: a gradient and its opposite are one direction."""
    return np.abs(signed(view))


def absolute(view: View) -> Float32[Array, "sample sample"]:
    """Cosine of |g|, element by element."""
    return cosines_of(magnitudes.raw(view.gradients))


def centred(view: View) -> Float32[Array, "sample sample"]:
    """Cosine of |g| of unit gradients, minus its mean over the samples."""
    rows = magnitudes.raw(cosine.unit_rows(view.gradients))
    rows -= rows.mean(axis=0)
    return cosines_of(rows)


def standard(view: View) -> Float32[Array, "sample sample"]:
    """Cosine of |g| of unit gradients, standardised per parameter."""
    return cosines_of(magnitudes.standardised(view.gradients))


def root(view: View) -> Float32[Array, "sample sample"]:
    """Cosine of √|g| of unit gradients, standardised per parameter: the root tames a parameter's rare large values."""
    return cosines_of(root_magnitudes(view))


def fisher(view: View) -> Float32[Array, "sample sample"]:
    """Cosine of unit gradients over the root of the diagonal Fisher information, the mean of g²."""
    rows = cosine.unit_rows(view.gradients)
    deviation = np.sqrt(np.einsum("ij,ij->j", rows, rows, dtype=np.float64) / len(rows))
    used = deviation > 0
    return cosines_of(rows[:, used] / deviation[used])


def whitened(view: View) -> Float32[Array, "sample sample"]:
    """Unit gradients preconditioned by their full covariance over the samples, damped by a tenth of its mean eigenvalue."""
    return cosines_of(kinds.whitened(view.gradients, DAMPING))


def kronecker(view: View) -> Float32[Array, "sample sample"]:
    """Unit gradients preconditioned by a Kronecker product for each matrix: its rows' covariance times its columns'.

    With L = mean G Gᵀ and R = mean Gᵀ G over the samples, a matrix' Fisher information is taken as L ⊗ R / trace L, and its
    gradient G becomes √trace L · L^-½ G R^-½. Each factor is damped by a tenth of its mean eigenvalue.
    """
    parts = []
    for rows in view.matrices(cosine.unit_rows(view.gradients)).values():
        left, right = (np.tensordot(rows, rows, axes=([0, over], [0, over])) / len(rows) for over in (2, 1))
        half = np.einsum("ij,njk->nik", _inverse_root(left), rows, optimize=True) @ _inverse_root(right)
        parts.append(np.sqrt(np.trace(left)) * half.reshape(len(rows), -1))
    return cosines_of(np.concatenate(parts, axis=1))


def _inverse_root(covariance: Array) -> Float32[Array, "row row"]:
    values, vectors = np.linalg.eigh(covariance.astype(np.float64))
    scaled = vectors / np.sqrt(np.maximum(values, 0) + DAMPING * np.maximum(values.mean(), SMALL))
    return np.asarray((scaled @ vectors.T).astype(np.float32))


def contributions(view: View) -> Float32[Array, "sample unit"]:
    """Activation × gradient of all units that a matrix reads or writes, summed over the sample's positions.

    For a matrix W with the gradient G, the sum of W·G over a column is the activation that the column reads times the
    gradient of the loss with respect to it. The sum over a row is the same for what the row writes, without the bias.
    """
    parts = []
    for name, rows in view.matrices(view.gradients).items():
        product = rows * view.weights[name]
        parts += [product.sum(axis=1), product.sum(axis=2)]
    return np.concatenate(parts, axis=1)


def contribution(view: View) -> Float32[Array, "sample sample"]:
    """Cosine of activation × gradient."""
    return cosines_of(contributions(view))


def root_contribution(view: View) -> Float32[Array, "sample sample"]:
    """Cosine of √|activation × gradient| of unit length, standardised per unit."""
    found = contributions(view)
    length = np.sqrt(np.einsum("ij,ij->i", found, found, dtype=np.float64))
    return cosines_of(standardised(np.sqrt(np.abs(found) / np.maximum(length, SMALL)[:, None])))


def _of_blocks(view: View, names: list[str]) -> Float32[Array, "sample sample"]:
    """Mean over blocks of the cosines of `root`; a block that is zero for a sample puts it at 0 to all others."""
    found = []
    for name in names:
        part = np.abs(view.gradients[:, view.blocks[name]])
        length = np.sqrt(np.einsum("ij,ij->i", part, part, dtype=np.float64))
        rows = standardised(np.sqrt(part / np.maximum(length, SMALL)[:, None]))
        if rows.shape[1]:
            found.append(cosines_of(rows))
    return cosine.settled(np.mean(found, axis=0))


def blocks_alike(view: View) -> Float32[Array, "sample sample"]:
    """`root` of each block by itself; all blocks have one weight."""
    return _of_blocks(view, list(view.blocks))


def attention(view: View) -> Float32[Array, "sample sample"]:
    """`blocks_alike` of the attention's blocks alone, which choose what is read; of all where a net has none."""
    return _of_blocks(view, [name for name in view.blocks if "attention" in name] or list(view.blocks))


def first_attention(view: View) -> Float32[Array, "sample sample"]:
    """`attention` of the first layer alone; of all blocks where a net has no attention."""
    names = [name for name in view.blocks if "attention" in name]
    return _of_blocks(view, [name for name in names if ".0." in name] or list(view.blocks))


OF_A_VIEW: dict[str, Callable[[View], Float32[Array, "sample sample"]]] = {
    "cosine": signed,
    "|cosine|": unsigned,
    "|g|": absolute,
    "|g|, centred": centred,
    "|g|, standardised": standard,
    "√|g|, standardised": root,
    "diagonal Fisher": fisher,
    "whitened": whitened,
    "Kronecker": kronecker,
    "activation × gradient": contribution,
    "√|activation × gradient|, standardised": root_contribution,
    "√|g|, blocks alike": blocks_alike,
    "√|g|, attention": attention,
    "√|g|, first attention": first_attention,
}
ALL_NETS = ", all nets"
CHECKPOINTS = ", checkpoints"
OVER_CHECKPOINTS = ("cosine", "√|g|, standardised", "√|g|, blocks alike", "√|g|, first attention")


_seen: WeakKeyDictionary[View, dict[str, Array]] = WeakKeyDictionary()


def of_a_view(name: str, view: View) -> Float32[Array, "sample sample"]:
    """What an entry of `OF_A_VIEW` makes of a view, computed once: one net, all nets and checkpoints share it. Read-only."""
    own = _seen.setdefault(view, {})
    if name not in own:
        own[name] = OF_A_VIEW[name](view)
        own[name].setflags(write=False)
    return own[name]


def _register(name: str) -> None:
    @affinity(name)
    def of_one_net(evidence: Evidence) -> Array:
        return of_a_view(name, evidence.views[0])

    @affinity(name + ALL_NETS)
    def of_all_nets(evidence: Evidence) -> Array:
        return cosine.settled(np.mean([of_a_view(name, view) for view in evidence.views], axis=0))


for _name in OF_A_VIEW:
    _register(_name)


def _register_over_checkpoints(name: str) -> None:
    @affinity(name + CHECKPOINTS)
    def of_checkpoints(evidence: Evidence) -> Array:
        """Mean of the cosines at the first net's checkpoints, the last one included."""
        if not evidence.earlier:
            raise QuantaError(f"affinity {name + CHECKPOINTS!r} on {evidence.name}", "no gradients at earlier steps",
                              "evidence with checkpoints", "make it with checkpoints=True")  # fmt: skip
        return cosine.settled(np.mean([of_a_view(name, v) for v in (*evidence.earlier, evidence.views[0])], axis=0))


for _name in OVER_CHECKPOINTS:
    _register_over_checkpoints(_name)


def needs_checkpoints(names: Sequence[str]) -> bool:
    """Whether one of the affinities looks at gradients at earlier steps; no names means all."""
    return any(name.endswith(CHECKPOINTS) for name in names or AFFINITIES)


# -------------------------------------------------------------------------- baselines


@affinity(BASELINE + "context")
def context(evidence: Evidence) -> Float32[Array, "sample sample"]:
    """How often each token occurs among the last ones before the target, standardised: no net."""
    return cosines_of(standardised(evidence.context))


@affinity(BASELINE + "last hidden state")
def hidden(evidence: Evidence) -> Float32[Array, "sample sample"]:
    """Cosine of the activation that the output is made from."""
    return cosines_of(evidence.views[0].hidden)


@affinity(BASELINE + "last hidden state, standardised, all nets")
def hidden_standardised(evidence: Evidence) -> Float32[Array, "sample sample"]:
    """The same, each unit standardised over the samples, mean over the nets."""
    return over_views(evidence, lambda view: standardised(view.hidden))


@affinity(BASELINE + "loss curves")
def loss_curves(evidence: Evidence) -> Float32[Array, "sample sample"]:
    """Log losses at the checkpoints, each standardised over the samples."""
    return cosines_of(standardised(np.log(np.maximum(evidence.curves, 1e-3))))


@affinity(BASELINE + "untrained net, cosine")
def untrained(evidence: Evidence) -> Float32[Array, "sample sample"]:
    """The paper's affinity, of a net that was not trained."""
    return signed(evidence.untrained)


@affinity(BASELINE + "untrained net, √|g|, first attention")
def untrained_attention(evidence: Evidence) -> Float32[Array, "sample sample"]:
    """`first_attention` of a net that was not trained."""
    return first_attention(evidence.untrained)
