"""Quanta: find clusters of tokens that language models handle alike, and when each is learned.

The library holds the science and knows nothing of Snakemake; `workflow/scripts/` reads files, calls it and writes
files. Importing the package imports none of its modules: Snakemake does so in every job, and torch costs seconds.

Public, which is to say kept from one release to the next:

- `quanta.load`, and the `Run` that it returns;
- `quanta.errors.QuantaError`, which every refusal is;
- `quanta.gradients.token_gradients.token_gradients`, and `quanta.affinity.cosine.cosine`: the method on any causal model
  (docs/gradients.md).

Everything else serves the workflow, and may change.
"""

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quanta.results import Run

__all__ = ["__version__", "load"]
__version__ = "0.1.0"


def load(run: "str | PathLike[str]") -> "Run":
    """Open the results of a run, `quanta.load("results/mini")`: tables as pandas frames, arrays as memory maps.

    Nothing is read before it is asked for; see `quanta.results.Run`.

    Raises:
        QuantaError: there is no such folder, or it holds no results.
    """
    from quanta.results import Run

    return Run(run)
