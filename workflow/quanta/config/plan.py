"""The plan of a run: models and steps, files, and jobs that share work, as they follow from the settled configuration.

Input functions take Snakemake's wildcards. What rules pass to a script as a param is canonical text, which changes when its
content does, and only then. Imported while Snakemake parses, once a job: nothing heavy here.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quanta.config import demands, members
from quanta.config.members import Config
from quanta.models import headers, neox_shape, weights

LOSSES_JOBS = 8  # at most so many jobs make the losses of several members each: slurm/config.yaml names them
CURVES = 3  # models and steps that an affinity from loss curves needs (quanta/affinity/loss_curves.py)
Member = tuple[str, int]  # a model at a step


def canonical(section: Any) -> str:
    """A section of the configuration as text that depends on its content alone."""
    return json.dumps(section, sort_keys=True)


@dataclass(frozen=True)
class LossesJobs:
    """Members (model/step) whose losses are made alone, in parts, or several in one job."""

    alone: list[str]
    parted: list[str]
    together: list[list[str]]


class Plan:
    """What a settled configuration comes to.

    Raises:
        QuantaError: a folder of models that does not exist or is empty.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.folder = f"results/{config['run']}"
        self.source = str(config["models"]["source"])
        self.models = members.model_names(config)
        self.final = members.final_step(config)
        self.followed = members.followed(config)
        self.dynamics: str | None = config["dynamics"]["model"]
        self.members: list[Member] = [(m, step) for m in self.models for step in members.saved_steps(config, m)]
        self.relatives = members.relatives(config)
        self.seeds = {model: members.described(config, model, self.final)["seed"] for model in self.models}
        # of one member alone there is nothing to compare
        self.axes = [axis for axis in ("size", "step") if len(self.on_axis(axis)) > 1]
        self.seeded = members.seeded(config)
        corpus, qdg, calibration = (config[name] for name in ("corpus", "qdg", "calibration"))
        self.subsets = corpus["source"] != "python" and corpus["jsonl"]["subset"] is not None
        self.gpu = config["resources"]["gpu"]
        self.clustered = f"{qdg['model']}/step{self.final}"
        # with qdg.graph: neighbours there is no matrix of all pairs, and what needs one has a sample
        self.neighbours = qdg["graph"] == "neighbours"
        self.simulated = min(calibration["tokens"], qdg["tokens"])
        self.held = self.simulated if self.neighbours else int(qdg["tokens"])
        self.affinity = f"{self.folder}/qdg/{'affinity_sample' if self.neighbours else 'affinity'}.npy"
        self.exact_bytes = int(qdg["exact_memory_gb"] * 1e9) if qdg["mode"] == "exact" else None
        self.sketched = [] if qdg["mode"] == "exact" else [f"{self.folder}/qdg/features.npy"]
        # the kind of the second clustering, which needs a matrix of all pairs
        self.second: str | None = None if qdg["second"] == "none" or self.neighbours else qdg["second"]
        self.losses_jobs = self._losses_jobs()

    # ------------------------------------------------------------------------------------------------- corpus

    def texts_given(self) -> list[str]:
        """The file of texts, where there is one; a dry run need not have it. Or the folder of those fetched.

        A folder of texts is no input: Snakemake would see a file that comes or goes, but none that changes (`texts_folder`).
        """
        corpus = self.config["corpus"]
        if corpus["source"] == "hub":
            return [f"{self.folder}/corpus/fetched"]
        path = corpus["jsonl"]["path"]
        return [path] if corpus["source"] == "jsonl" and Path(path).is_file() else []

    def texts_folder(self, wildcards: Any) -> str | None:
        """Name, bytes and time of change of the files in a folder of texts, in short; None where it is no folder."""
        corpus = self.config["corpus"]
        path = corpus["jsonl"]["path"] if corpus["source"] == "jsonl" else None
        if path is None or not Path(path).is_dir():
            return None
        found = [(str(file.relative_to(path)), file.stat()) for file in sorted(Path(path).rglob("*")) if file.is_file()]
        states = [(name, state.st_size, state.st_mtime_ns) for name, state in found]
        return hashlib.sha256(canonical(states).encode()).hexdigest()

    def texts_settings(self) -> str:
        """What the texts depend on, as a param."""
        corpus = self.config["corpus"]
        own = "python" if corpus["source"] == "python" else "jsonl"
        return canonical(
            {key: corpus[key] for key in ("source", own, "minimum_characters", "heldout_share", "repeated")}
        )

    def manifest_given(self) -> list[str]:
        """The record of what the models were trained on, where they were trained elsewhere on such a corpus."""
        python = self.config["corpus"]["source"] == "python"
        found = members.in_folder(self.config, "manifest.csv") if python else None
        return [str(found)] if found else []

    def tokenizer_given(self) -> list[str]:
        """Models that were not trained here bring their tokenizer: that of the smallest is taken."""
        return [] if self.source == "train" else [f"{self.folder}/models/{self.models[0]}/step{self.final}"]

    # ------------------------------------------------------------------------------------------------- models

    def hash_of(self, wildcards: Any) -> str | None:
        """The hash that the given folder's table has for a checkpoint."""
        return members.expected_hash(self.config, wildcards.model, int(wildcards.step))

    def files_given(self, wildcards: Any) -> str | None:
        """Files of a given checkpoint whose hash no table has: one that is changed in place is taken again."""
        if self.hash_of(wildcards) is not None:
            return None
        path = Path(self.config["models"]["folder"]["path"]) / wildcards.model
        return canonical(weights.files_given(path, int(wildcards.step), only_step=self.final))

    def on_hub(self, wildcards: Any) -> str:
        """What is asked of the hub for a model and step, and the parameters that it must have."""
        return canonical(members.request(self.config, wildcards.model, int(wildcards.step)))

    def patience(self) -> str:
        """How long the hub is waited for."""
        keys = {"attempts": "attempts", "longest_wait_seconds": "longest", "stall_seconds": "stall"}
        return canonical({name: self.config["models"]["hub"][key] for key, name in keys.items()})

    def size_of(self, wildcards: Any) -> str:
        """Shape and learning rate of one size of the ladder."""
        return canonical(members.trained(self.config, wildcards.model))

    def sizes(self) -> str:
        """The same of all."""
        return canonical({model: members.trained(self.config, model) for model in self.models})

    def recipe(self) -> str:
        """What all sizes share in training."""
        train = self.config["models"]["train"]
        shared = {key: train[key] for key in ("steps", "batch", "warmup_steps", "weight_decay")}
        return canonical(shared | {"context": self.config["corpus"]["context"]})

    def curves(self, models: Sequence[str]) -> list[str]:
        """Learning curves: of models that are trained here, or those that came with them."""
        if self.source == "folder":
            paths = [members.in_folder(self.config, f"{model}/curve.csv") for model in models]
            return [str(path) for path in paths] if all(paths) else []
        return [f"{self.folder}/models/{model}/curve.csv" for model in models] if self.source == "train" else []

    def folders(self, of: Iterable[Member]) -> list[str]:
        """Folders of (model, step) pairs."""
        return [f"{self.folder}/models/{model}/step{step}" for model, step in of]

    def family_members(self) -> str:
        """What the family's table says of a model and step besides what its weights say."""
        return canonical([members.described(self.config, model, step) for model, step in self.members])

    def tokenizers_compared(self) -> list[str]:
        """Made before any losses, where the models may have several tokenizers; another model makes no losses anew."""
        return [] if self.source == "train" else [f"{self.folder}/models/tokenizers.json"]

    def named(self) -> str:
        """The names of each model: its own, and on the hub its repository's."""
        hub = self.source == "hub"
        return canonical(
            [[m, *([members.request(self.config, m, self.final)["repository"]] if hub else [])] for m in self.models]
        )

    def probed(self) -> str | None:
        """Made before any losses, where gradients may be refused: not of GPT-NeoX, whose backward pass is known."""
        if self.source == "train" or members.given_type(self.config, self.config["qdg"]["model"]) == "gpt_neox":
            return None
        return f"{self.folder}/models/probe.json"

    def before_losses(self) -> list[str]:
        """What is checked before any losses."""
        probed = self.probed()
        return [*self.tokenizers_compared(), *([probed] if probed else [])]

    def parameters(self, model: str) -> int | None:
        """Of a model without its embeddings, as far as the configuration or the headers of given weights tell."""
        if self.source == "train":
            return neox_shape.parameters(members.trained(self.config, model))
        known = members.known_parameters(self.config, model)
        return given.parameters if known is None and (given := self._by_headers(model)) else known

    def _by_headers(self, model: str) -> headers.Model | None:
        """What the headers of a given model's weights say, where no table does."""
        known = members.known_parameters(self.config, model)
        return members.given_model(self.config, model) if known is None else None

    def size(self, model: str) -> demands.Size | None:
        """Width, layers and parameters of a model, as far as the configuration or the headers of given weights tell."""
        if self.source == "train":
            size = members.trained(self.config, model)
            return demands.trained_size(size["width"], size["layers"], self.config["corpus"]["tokenizer"]["vocabulary"])
        known = self.parameters(model)
        if given := self._by_headers(model):
            return demands.Size(given.width, given.layers, given.parameters, given.rows)
        return None if known is None else demands.published_size(known)

    # ------------------------------------------------------------------------------------------------- losses

    def losses(self, of: Iterable[Member]) -> list[str]:
        """Files of losses of (model, step) pairs."""
        return [f"{self.folder}/losses/{model}/step{step}.npy" for model, step in of]

    def losses_seconds(self, member: str) -> float | None:
        """Forecast of the time of a member's losses on one core; None where its size is not known."""
        model = member.rpartition("/")[0]
        size = self.parameters(model)
        if size is not None and (given := self._by_headers(model)):
            size += given.rows * given.width  # the unembedding, which is most of a small model with many tokens
        tokens = self.config["corpus"]["documents"] * self.config["corpus"]["context"]
        return None if size is None else demands.losses_seconds(size, tokens)

    def shards(self, member: str) -> int:
        """Jobs that share the losses of a member (model/step)."""
        settings = self.config["losses"]
        own = {entry["model"]: entry["shards"] for entry in settings["shards_by_model"]}
        number = own.get(member.rpartition("/")[0], settings["shards"])
        documents = self.config["corpus"]["documents"]
        return demands.parts(self.losses_seconds(member), documents) if number == "auto" else int(number)

    def _losses_jobs(self) -> LossesJobs:
        """Only members that the same stages read are put together, so that a new one makes no more anew than it would alone.

        These are the steps of a followed model, the other sizes, further seeds. The final step that is clustered stands alone.
        """
        named = [f"{model}/step{step}" for model, step in self.members]
        parted = [member for member in named if self.shards(member) > 1]
        first = self.first_seed()
        steps = [
            [f"{m}/step{step}" for m, step in self.members if m == model and step != self.final]
            for model in self.followed
        ]
        sizes = [f"{model}/step{self.final}" for model in first]
        seeds = [f"{model}/step{self.final}" for model in self.models if model not in first]
        free = [[m for m in group if m not in {*parted, self.clustered}] for group in (*steps, sizes, seeds)]
        together = demands.together(free, self.losses_seconds, LOSSES_JOBS)
        taken = {*parted, *(member for run in together for member in run)}
        return LossesJobs([m for m in named if m not in taken], parted, together)

    def losses_parts(self, member: str) -> list[str]:
        """Files of the parts of a member's losses."""
        number = self.shards(member)
        return [f"{self.folder}/losses/{member}.part{i}of{number}.npy" for i in range(number)]

    def losses_parts_of(self, wildcards: Any) -> list[str]:
        """The same of the member that the wildcards name."""
        return self.losses_parts(wildcards.member)

    # ------------------------------------------------------------------------------------------------ scaling

    def first_seed(self) -> list[str]:
        """One model a size."""
        return [model for model in self.models if self.seeds[model] == min(self.seeds.values())]

    def on_axis(self, axis: str) -> list[Member]:
        """Members along an axis: all sizes of the first seed at the final step, or all steps of one model."""
        if axis == "step":
            return [member for member in self.members if member[0] == self.dynamics]
        return [(model, self.final) for model in self.first_seed()]

    def losses_on_axis(self, wildcards: Any) -> list[str]:
        """Files of losses along the axis that the wildcards name."""
        return self.losses(self.on_axis(wildcards.axis))

    def members_on_axis(self, wildcards: Any) -> str:
        """The same members as a param."""
        return canonical(self.on_axis(wildcards.axis))

    def learning_axes(self) -> list[tuple[str, list[Member]]]:
        """Name and members of each axis on which clusters are learned: steps of the followed models, sizes."""
        axes = [(f"step of {name}", [member for member in self.members if member[0] == name]) for name in self.followed]
        return [(name, line) for name, line in [*axes, ("size", self.on_axis("size"))] if len(line) > 1]

    def learning_members(self) -> list[Member]:
        """Their members, each once."""
        return list(dict.fromkeys(member for _, line in self.learning_axes() for member in line))

    def seeded_members(self) -> list[Member]:
        """Members of the sizes that have several seeds, seed by seed."""
        return [(model, self.final) for models in self.seeded.values() for model in models]

    # --------------------------------------------------------------------------------------------- clustering

    def gradients_shards(self) -> int:
        """Jobs that share the gradients."""
        qdg = self.config["qdg"]
        size = self.parameters(qdg["model"])
        context = self.config["corpus"]["context"]
        seconds = None if size is None else demands.gradients_seconds(size, qdg["tokens"], context)
        return demands.parts(seconds, qdg["tokens"]) if qdg["shards"] == "auto" else int(qdg["shards"])

    def features_parts(self) -> list[str]:
        """Files of the parts of the gradients' features."""
        number = self.gradients_shards()
        return [f"{self.folder}/qdg/features.part{i}of{number}.npy" for i in range(number)]

    def second_parts(self) -> list[str]:
        """Files of the parts of the second clustering's features, of magnitudes; none where it takes those of the first."""
        if self.second not in ("magnitudes", "standardised", "attention"):
            return []
        return [path.replace("/qdg/", "/qdg/second/") for path in self.features_parts()]

    def of_second(self, given: Any, *made: str) -> dict[str, Any]:
        """A rule's inputs by name, with files of the second clustering for those of the first.

        Of the first are its affinity, embedding and labels, and what is named as `made`; all else is of both.
        """

        def other(file: Any) -> Any:
            name = Path(str(file)).name if not callable(file) else ""
            own = name in ("affinity.npy", "embedding.npy", "labels.parquet", *made)
            return f"{self.folder}/qdg/second/{name}" if own and str(file) == f"{self.folder}/qdg/{name}" else file

        files = {name: given.get(name) for name in given.keys()}  # noqa: SIM118 (a list, and not its entries)
        return {
            name: other(one) if isinstance(one, str) else [other(each) for each in one] for name, one in files.items()
        }

    def made_second(self, given: Any) -> dict[str, Any]:
        """A rule's outputs by name, of the second clustering."""
        return self.of_second(given, *(Path(str(file)).name for file in given))

    def gradients(self) -> dict[str, Any]:
        """How gradients are taken, as params."""
        return {key: self.config["qdg"][key] for key in ("features", "parameters", "precision")}

    def assignment(self) -> dict[str, Any]:
        """How clusters are made of eigenvectors, as params."""
        qdg = self.config["qdg"]
        return {"method": qdg["assign"], "rows": qdg["rows"], "restarts": qdg["restarts"]}

    def second_assignment(self, given: Any) -> dict[str, Any]:
        """A rule's params, with what the second clustering is made of (`qdg.second_assign`)."""
        chosen = self.config["qdg"]["second_assign"]
        if chosen == "auto":
            chosen = "neighbours" if self.second == "attention" else "angular"
        return {name: given.get(name) for name in given.keys()} | {"graph": chosen}  # noqa: SIM118

    def simulations_parts(self) -> list[str]:
        """Files of the parts of the simulations."""
        number = self.config["calibration"]["shards"]
        return [f"{self.folder}/calibration/simulations.part{i}of{number}.parquet" for i in range(number)]

    # ----------------------------------------------------------------------------------------- interventions

    def clusterings(self) -> dict[str, str]:
        """Files of labels whose clusters are intervened on, by name. The first is the one that the report shows."""
        second = {self.second: f"{self.folder}/qdg/second/labels.parquet"} if self.second else {}
        return {"clusters": f"{self.folder}/qdg/labels.parquet"} | second

    def unlearned(self) -> list[Member]:
        """Members that may not have learned what the clustered one has, earliest first: its steps before, else smaller models."""
        model = self.config["qdg"]["model"]
        if model in self.followed:
            return [(name, step) for name, step in self.members if name == model and step < self.final]
        sizes = self.first_seed()
        return [(name, self.final) for name in sizes[: sizes.index(model)]] if model in sizes else []

    def interventions_shards(self) -> int:
        """Jobs that share the interventions: a few take about as long as their gradients would by forecast."""
        settings, qdg = self.config["interventions"], self.config["qdg"]
        size = self.parameters(qdg["model"])
        samples = 8 * (2 * qdg["show"] + 4 * settings["controls"] + 4 * settings["insertions"])
        samples += 4 * min(settings["noise_draws"], 1) * (qdg["show"] + 5 * settings["controls"])  # noise is cheaper
        seconds = None if size is None else demands.gradients_seconds(size, samples, self.config["corpus"]["context"])
        return demands.parts(seconds) if settings["shards"] == "auto" else int(settings["shards"])

    def interventions_of(self, rule: str) -> dict[str, Any]:
        """What `halves`, `interventions` and `alone` depend on, as params of these rules."""
        shared = {"clusterings": list(self.clusterings()), "show": self.config["qdg"]["show"]}
        if rule == "alone":
            return shared
        of_halves = (
            "least_tokens",
            "half_tokens",
            "controls",
            "curves",
            "insertions",
            "unlearned_nats",
            "panel_tokens",
        )
        settings = {key: value for key, value in self.config["interventions"].items() if key not in ("run", "shards")}
        own = {key: value for key, value in settings.items() if (key in of_halves) == (rule == "halves")}
        return shared | own | {"earlier": [f"{model}/step{step}" for model, step in self.unlearned()]}

    def interventions_tables(self) -> dict[str, str]:
        """Tables that the interventions come to, by name."""
        names = ("shares", "medians", "curves", "transfer", "units", "moves", "clusters")
        joined = {f"all_{name}": f"{self.folder}/interventions/{name}.parquet" for name in ("cases", "rows")}
        tables = {name: f"{self.folder}/interventions/{name}.csv" for name in names}
        return joined | tables | {"alone": f"{self.folder}/interventions/alone.json"}

    def interventions_parts(self, name: str) -> list[str]:
        """Files of the parts of a table of the interventions."""
        number = self.interventions_shards()
        return [f"{self.folder}/interventions/{name}.part{i}of{number}.parquet" for i in range(number)]

    # ------------------------------------------------------------------------------------------------- report

    def reader_names(self) -> list[str]:
        """The reader's names of clusters, where there are any."""
        named = self.config["figures"]["labels"]
        return [named] if named else []

    def look(self) -> str:
        """What all figures share; a change reruns them and nothing else."""
        return canonical({key: self.config["figures"][key] for key in ("width_inches", "dpi")})

    def left_out(self) -> list[str]:
        """What the report lacks because of the configuration, and why: sentences for a reader."""
        told = []
        if "size" not in self.axes:
            told.append(
                "α_N and the figures over model sizes are left out: they need two model sizes, and this run has one."
            )
        if not self.learning_axes():
            told.append(
                "When clusters are learned is left out: it needs several model sizes, or steps of one model (dynamics.model)."
            )
        if not self.curves_compared:
            told.append(
                f"The affinity from loss curves is left out: it needs {CURVES} checkpoints, and this run has {len(self.members)}."
            )
        if not self.config["interventions"]["run"]:
            told.append(
                "Whether clusters can be removed alone is left out: the configuration does not ask for it (interventions.run)."
            )
        if self.neighbours and self.config["qdg"]["second"] != "none":
            told.append(
                "The second clustering is left out: it needs the matrix of all pairs of tokens (qdg.graph: dense)."
            )
        if not self.config["parity"]["run"]:
            told.append("Sparse parity is left out: the configuration does not ask for it (parity.run).")
        if not self.config["known_skills"]["run"]:
            told.append("Known skills are left out: the configuration does not ask for them (known_skills.run).")
        return told

    @property
    def curves_compared(self) -> bool:
        """Whether there are enough models and steps for an affinity from their losses."""
        return len(self.members) >= CURVES

    @property
    def emerges(self) -> bool:
        """Whether the fall of clusters' losses can be drawn: over sizes, or over two trained steps."""
        return "size" in self.axes or sum(step > 0 for _, step in self.on_axis("step")) > 1

    def paper_settings(self) -> str:
        """The run's settings that the paper states, by the names in quanta/report/paper.py."""
        corpus, scaling, qdg = (self.config[name] for name in ("corpus", "scaling", "qdg"))
        return canonical(
            {
                "context": corpus["context"],
                "checkpoints": len(self.config["dynamics"]["steps"]) if self.dynamics else None,
                "density_bins": scaling["density_bins"],
                "monogenic_above": scaling["monogenic_above_nats"],
                "monogenic_below": scaling["monogenic_below_nats"],
                "threshold": qdg["threshold"],
                "largest_n_clusters": max(qdg["n_clusters"]),
                # k-means is restarted in no other way to assign
                "restarts": qdg["restarts"] if qdg["assign"] == "restarts" else None,
            }
        )

    def further_tables(self) -> list[str]:
        """Tables beside the report that this run has data for: by part of the corpus, by seed."""
        tables = ["losses/by_subset.csv", "qdg/subsets.csv"] if self.subsets else []
        tables += ["scaling/seeds.csv"] if len(set(self.seeds.values())) > 1 else []
        return [f"{self.folder}/{name}" for name in tables]

    def promised(self) -> list[str]:
        """What people script against (results/README.md): made again where it is missing, though nothing may need it."""
        qdg = [
            "tokens.parquet",
            "embedding.npy",
            "eigenvalues.npy",
            "labels.parquet",
            "rank_frequency.csv",
            "fits.json",
        ]
        qdg += ["features.npy"] if self.config["qdg"]["mode"] == "sketch" else []
        qdg += [] if self.neighbours else ["affinity.npy"]
        corpus = ["texts.parquet", "tokens.npy", "offsets.npy", "documents.parquet", "tokenizer/tokenizer.json"]
        tables = ["models/family.csv", "scaling/mean_loss.csv", "scaling/fits.json"]
        tables += [f"corpus/{name}" for name in corpus] + [f"qdg/{name}" for name in qdg]
        return [f"{self.folder}/{name}" for name in tables] + self.losses(self.members)
