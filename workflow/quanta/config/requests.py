"""Memory and time that rules ask for, as Snakemake wants them: functions of the wildcards and the attempt.

Each is an estimate of `quanta.config.demands`, times `resources.memory_factor` or `runtime_factor`, and more with each attempt.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from quanta.config import demands, members
from quanta.config.plan import Plan

Resource = Callable[[Any, int], int]
Estimate = Callable[[demands.Size, Any], float]
# of noise: means, deviations, sums and noises; exact gradients at a time, and their numbers (quanta.interventions.direction)
NOISE_COPIES, NOISE_ROWS, NOISE_NUMBERS = 6, 8, 2**26


class Requests:
    """Resources of the rules of a plan.

    `unknown` stands in for a model whose size neither configuration nor headers tell; `least` is a lower bound.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, self.config = plan, plan.config
        qdg = self.config["qdg"]
        self.features_mb = 4 * qdg["tokens"] * qdg["features"] / 1e6
        self.exact_mb = (plan.exact_bytes or 0) // 10**6
        self.held_mb = 4 * plan.held**2 / 1e6  # of a float32 matrix of the tokens that are compared pair by pair

    def megabytes(self, value: float) -> Resource:
        """Memory that does not depend on the job."""
        return self._scaled("memory_factor", lambda wildcards: value)

    def minutes(self, value: float) -> Resource:
        """Time that does not depend on the job."""
        return self._scaled("runtime_factor", lambda wildcards: value)

    def _scaled(self, factor: str, value: Callable[[Any], float]) -> Resource:
        def resource(wildcards: Any, attempt: int) -> int:
            return int(value(wildcards) * self.config["resources"][factor] * attempt)

        return resource

    # ------------------------------------------------------------------------------------- by the corpus' size

    def texts_mb(self) -> Resource:
        """Of a job that holds the texts of a given corpus whole; 30 kB a document are allowed for."""
        corpus = self.config["corpus"]
        return self.megabytes(1500 + 0.03 * (0 if corpus["source"] == "python" else corpus["documents"]))

    def adopt_mb(self) -> Resource:
        """Of taking a given checkpoint: of a GGUF file three copies of its weights in float32."""
        folder = Path(self.config["models"]["folder"]["path"] or ".")

        def value(wildcards: Any) -> float:
            if not any((folder / wildcards.model).glob("**/*.gguf")):
                return 200
            given = members.given_model(self.config, wildcards.model)
            return 1500 + 3 * 4 * (given.all_parameters if given else 0) / 1e6

        return self._scaled("memory_factor", value)

    def tokens_mb(self, fixed: float, bytes_a_token: float) -> Resource:
        """Of a job that holds arrays as long as the corpus; its documents are at most `context` long."""
        return self.megabytes(fixed + bytes_a_token * self._tokens() / 1e6)

    def curves_mb(self) -> Resource:
        """Of the curves of single tokens: a few copies of all losses along the axis."""
        tokens = self._tokens()
        followed = min(tokens, self.config["scaling"]["token_curves_predictions"] or tokens)

        def value(wildcards: Any) -> float:
            return 1000 + (len(self.plan.on_axis(wildcards.axis)) * followed * 4 * 4 + 34 * tokens) / 1e6

        return self._scaled("memory_factor", value)

    def _tokens(self) -> int:
        return int(self.config["corpus"]["documents"] * self.config["corpus"]["context"])

    # -------------------------------------------------------------------------------------- by the model's size

    def training_mb(self, *, unknown: float, least: float) -> Resource:
        """Of training."""
        tokens = self.config["models"]["train"]["batch"] * self.config["corpus"]["context"]
        return self._by_size("memory_factor", lambda size, _: demands.training_mb(size, tokens), unknown, least)

    def training_minutes(self, *, unknown: float, least: float) -> Resource:
        """Of training."""
        recipe = self.config["models"]["train"]
        tokens = recipe["steps"] * recipe["batch"] * self.config["corpus"]["context"]

        def estimate(size: demands.Size, wildcards: Any) -> float:
            return demands.training_minutes(size, tokens, gpu=bool(self.plan.gpu))

        return self._by_size("runtime_factor", estimate, unknown, least)

    def losses_mb(self, *, unknown: float, least: float, of: Sequence[str] = ()) -> Resource:
        """Of one part of the losses, or of the members that a job makes together."""
        if of:
            return self.megabytes(max(self._each(of, self._losses_mb, least)))
        return self._by_size("memory_factor", self._losses_mb, unknown, least)

    def losses_minutes(self, *, unknown: float, least: float, of: Sequence[str] = ()) -> Resource:
        """Of one part of the losses, or of the members that a job makes together."""
        if of:
            return self.minutes(sum(self._each(of, self._losses_minutes, least)))
        return self._by_size("runtime_factor", self._losses_minutes, unknown, least)

    def gradients_mb(self, *, unknown: float, least: float) -> Resource:
        """Of gradients, of one part or of all tokens."""
        qdg = self.config["qdg"]

        def estimate(size: demands.Size, wildcards: Any) -> float:
            return demands.gradients_mb(size, qdg["batch_tokens"], self._samples(wildcards), qdg["features"])

        return self._by_size("memory_factor", estimate, unknown, least)

    def exact_batch_mb(self, *, unknown: float, least: float) -> Resource:
        """Of gradients of which as many are held, exact, as a batch has samples."""
        qdg = self.config["qdg"]

        def estimate(size: demands.Size, wildcards: Any) -> float:
            held = max(qdg["batch_tokens"] // 16, 1)  # samples of a batch: few targets have shorter contexts
            base = demands.gradients_mb(size, qdg["batch_tokens"], 0, qdg["features"])
            return base + float(4 * held * size.parameters / 1e6)

        return self._by_size("memory_factor", estimate, unknown, least)

    def interventions_mb(self, *, unknown: float, least: float) -> Resource:
        """Of weights that are moved: what gradients take, and for noise as many exact gradients and sums of them as are held."""
        qdg, noisy = self.config["qdg"], self.config["interventions"]["noise_draws"] > 0

        def estimate(size: demands.Size, wildcards: Any) -> float:
            base = demands.gradients_mb(size, qdg["batch_tokens"], self._samples(wildcards), qdg["features"])
            held = max(size.parameters, min(NOISE_ROWS * size.parameters, NOISE_NUMBERS))
            return base + float(noisy * 4 * (NOISE_COPIES * size.parameters + 3 * held) / 1e6)

        return self._by_size("memory_factor", estimate, unknown, least)

    def gradients_minutes(self, *, unknown: float, least: float) -> Resource:
        """Of gradients, of one part or of all tokens."""
        context = self.config["corpus"]["context"]

        def estimate(size: demands.Size, wildcards: Any) -> float:
            return demands.gradients_minutes(size, self._samples(wildcards), context, gpu=bool(self.plan.gpu))

        return self._by_size("runtime_factor", estimate, unknown, least)

    def _losses_mb(self, size: demands.Size, wildcards: Any) -> float:
        return demands.losses_mb(size, self.config["losses"]["batch_tokens"])

    def _losses_minutes(self, size: demands.Size, wildcards: Any) -> float:
        tokens = self._tokens() / self.plan.shards(wildcards.member)
        return demands.losses_minutes(size, tokens, gpu=bool(self.plan.gpu))

    def _samples(self, wildcards: Any) -> float:
        """Gradients of one part, or of all tokens where the rule has no parts."""
        return float(self.config["qdg"]["tokens"] / int(getattr(wildcards, "shards", 1)))

    def _by_size(self, factor: str, estimate: Estimate, unknown: float, least: float) -> Resource:
        def value(wildcards: Any) -> float:
            size = self.plan.size(self._model(wildcards))
            return max(unknown if size is None else estimate(size, wildcards), least)

        return self._scaled(factor, value)

    def _each(self, named: Sequence[str], estimate: Estimate, least: float) -> list[float]:
        """An estimate for each of some members (model/step), whose sizes are known."""
        found = []
        for member in named:
            size = self.plan.size(member.rpartition("/")[0])
            assert size is not None, "only members of known size share a job"
            found.append(max(least, estimate(size, SimpleNamespace(member=member))))
        return found

    def _model(self, wildcards: Any) -> str:
        """The model that wildcards name, by itself or with a step; qdg.model where they name none."""
        if member := getattr(wildcards, "member", None):
            return str(member).rpartition("/")[0]
        return str(getattr(wildcards, "model", self.config["qdg"]["model"]))
