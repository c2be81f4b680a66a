"""The plan of sparse parity: sweeps, exponents, replicates, their files and params."""

from typing import Any

from quanta.config.members import Config
from quanta.config.plan import canonical


class ParityPlan:
    """What the section `parity` of a settled configuration comes to, in the run's folder."""

    def __init__(self, config: Config, folder: str) -> None:
        self.settings: dict[str, Any] = config["parity"]
        self.config, self.folder = config, f"{folder}/parity"
        self.asked = bool(self.settings["run"])
        self.alphas = [f"{alpha:g}" for alpha in self.settings["alphas"]]
        self.replicates = [str(number) for number in range(self.settings["replicates"])]
        self.sweeps = ["fresh", "data"] if self.settings["data"]["sizes"] else ["fresh"]
        self.shown = f"alpha{self.settings['alpha']:g}/0"  # figures of single sweeps: the first replicate of one α

    def tables(self, kind: str, name: str) -> list[str]:
        """A table of every α and replicate."""
        return [f"{self.folder}/{kind}/alpha{a}/{r}/{name}" for a in self.alphas for r in self.replicates]

    def sweep_tables(self, name: str) -> list[str]:
        """A table of every sweep, α and replicate."""
        return [path for kind in self.sweeps for path in self.tables(kind, name)]

    def shown_tables(self, name: str) -> list[str]:
        """Tables of the sweeps at the α that is shown."""
        return [f"{self.folder}/{kind}/{self.shown}/{name}" for kind in self.sweeps]

    def reported(self) -> dict[str, Any]:
        """What the summary reads of sparse parity, recorded runs included; nothing where the run has none."""
        if not self.asked:
            return {}
        recorded = "docs/results/parity"
        return {
            "parity": f"{self.folder}/fits.json",
            "parity_scores": f"{self.folder}/qdg/{self.shown}/scores.csv",
            "parity_envelopes": f"{self.folder}/qdg/{self.shown}/envelopes.csv",
            "parity_estimates": f"{self.folder}/calibration/estimates.csv",
            "paper_parity": "workflow/data/parity_exponents.csv",
            "recorded_parity": [f"{recorded}-cpu/exponents.csv", f"{recorded}-steps/exponents.csv"],
            "recorded_convergence": f"{recorded}-steps/convergence.csv",
        }

    def problem(self) -> str:
        """Tasks and bits, as a param."""
        return canonical({key: self.settings[key] for key in ("n_tasks", "n_bits", "k")})

    def extent(self) -> str:
        """Settings that the paper states, by the names in quanta/report/paper.py."""
        largest = {
            "width": max(self.settings["widths"]),
            "samples": max(self.settings["data"]["sizes"], default=0),
        }
        return canonical(
            {key: self.settings[key] for key in ("n_tasks", "n_bits", "k", "batch_size", "steps")} | largest
        )

    def training(self) -> str:
        """How nets are trained, as a param."""
        keys = ["learning_rate", "weight_decay", "precision", "evaluations", "held_out_per_task", "checkpoint_every"]
        return canonical({key: self.settings[key] for key in keys})

    def assignment(self) -> str:
        """How clusters are made, as for the language model."""
        qdg = self.config["qdg"]
        how = {"method": qdg["assign"], "rows": qdg["rows"]}
        # left out where there are none, so that an edit of them reruns nothing
        return canonical(how | ({"restarts": qdg["restarts"]} if qdg["assign"] == "restarts" else {}))

    def alpha(self, wildcards: Any) -> float:
        """The α that the wildcards name."""
        return float(wildcards.alpha)

    def seed(self, wildcards: Any) -> int:
        """Each replicate has its own seed, the same for every α: tasks and weights are shared, frequencies are not."""
        return int(self.config["seed"]) + int(wildcards.replicate)

    def nets(self) -> list[tuple[float, int]]:
        """α and seed of every net whose exponent is estimated."""
        seed = int(self.config["seed"])
        return [(float(alpha), seed + int(replicate)) for alpha in self.alphas for replicate in self.replicates]

    def is_shown(self, wildcards: Any) -> bool:
        """Whether figures show this α and replicate: there, QDG is tried under all conditions."""
        return f"alpha{wildcards.alpha}/{wildcards.replicate}" == self.shown

    def gradients_mb(self) -> float:
        """Memory for the gradients of the widest net and their copies, beside what a job needs anyway."""
        inputs = self.settings["n_tasks"] + self.settings["n_bits"] + 3
        floats = self.settings["qdg"]["samples"] * max(self.settings["widths"]) * inputs
        return 1500 + float(floats * 16 // 10**6)
