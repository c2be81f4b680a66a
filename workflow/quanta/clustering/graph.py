"""What is clustered in place of the paper's angular similarities: a graph of nearest neighbours, or a tree of merged clusters.

Angular similarities of all pairs let k-means cut a chain of neighbours into pieces (docs/known-skills.md). A graph of nearest
neighbours keeps chains, but makes clusters of like size. Average linkage does neither, and has no seed.
"""

from collections.abc import Callable, Sequence

import numpy as np

from quanta.affinity import cosine
from quanta.arrays import Array, Float, Int
from quanta.errors import QuantaError

NEIGHBOURS = 15
FAINT = 1e-6  # weight of two tokens that are no neighbours, of 1: it keeps the graph connected


def nearest(cosines: Float[Array, "token token"], neighbours: int = NEIGHBOURS) -> Float[Array, "token token"]:
    """A graph of 0 and 1: one where either of two tokens is among the other's nearest; `FAINT` elsewhere."""
    c = cosines.astype(np.float64)
    np.fill_diagonal(c, -np.inf)
    m = min(neighbours, len(c) - 1)
    found = np.full(c.shape, FAINT)
    np.put_along_axis(found, np.argpartition(-c, m - 1, axis=1)[:, :m], 1.0, axis=1)
    found = np.maximum(found, found.T)
    np.fill_diagonal(found, 0)
    return np.asarray(found)


ANGULAR, LINKAGE = "angular", "linkage"
GRAPHS: dict[str, Callable[[Array], Array]] = {ANGULAR: cosine.angular, "neighbours": nearest}


def weights(cosines: Float[Array, "token token"], name: str) -> Float[Array, "token token"]:
    """Similarities whose eigenvectors are clustered, by name. For a tree they are `nearest`, which its map is drawn from.

    Raises:
        QuantaError: there is none of this name.
    """
    if name not in (*GRAPHS, LINKAGE):
        raise QuantaError(
            "qdg.second_assign", repr(name), f"one of {', '.join((*GRAPHS, LINKAGE))}", "choose one of them"
        )
    return GRAPHS.get(name, nearest)(cosines)


def average_linkage(cosines: Float[Array, "token token"], n_clusters: Sequence[int]) -> dict[int, Int[Array, " token"]]:
    """Labels for each k: the two clusters with the largest mean cosine merge, until k are left.

    Fewer than k are left where distances are equal. Labels are not by size.
    """
    from scipy.cluster import hierarchy  # a third of a second, which no other clustering needs
    from scipy.spatial.distance import squareform

    distances = np.maximum(1 - cosines.astype(np.float64), 0)
    np.fill_diagonal(distances, 0)
    tree = hierarchy.linkage(squareform((distances + distances.T) / 2, checks=False), "average")
    return {k: hierarchy.fcluster(tree, k, criterion="maxclust").astype(np.int64) - 1 for k in n_clusters}
