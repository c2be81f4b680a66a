"""Hold the gradients of two random tokens under the clustered model against autograd's, before any losses are computed.

Makes: `models/probe.json`: the architecture, the parameter set and how many parameters it has.
"""

from typing import Any

from quanta.corpus.encoding import as_tokens
from quanta.gradients import engine
from quanta.jobs.job import device, run
from quanta.models import pretrained
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    model = pretrained.load(inputs.model, device())
    probed = engine.Engine(model, as_tokens([]), features=None, seed=0, parameters=params.parameters)
    engine.check_gradients(probed)
    found = {"architecture": type(model).__name__, "parameter_set": params.parameters}
    files.write_json(outputs.probe, found | {"parameters": probed.parameters.count})


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
