"""Speed of single-token gradients against the floor, the paper's method and other libraries: a Markdown table.

The floor is a batched forward and backward pass of the summed target losses that keeps nothing. All methods see the
same tokens and model, and one thread. Times are CPU seconds of the process (which a busy machine disturbs less than those of
the clock), runs are interleaved, medians reported. bergson and traker are timed where they are
installed. `--methods` picks some (with ; between), `--help` lists the rest.
"""

import argparse
import logging
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from _trained import chosen, trained
from quanta.affinity import cosine, magnitude_features, magnitudes
from quanta.corpus import encoding
from quanta.corpus.encoding import as_tokens
from quanta.gradients import engine, selection, token_gradients
from quanta.gradients.engine import Engine
from quanta.gradients.parameter_sets import parameter_set
from quanta.models import pretrained
from quanta.models.training import LadderSize, new_model
from torch import nn


class Case:
    """A model and targets; a method returns the rows it made, or None where it keeps nothing."""

    def __init__(self, model: Any, documents: list[np.ndarray], where: np.ndarray, positions: np.ndarray) -> None:
        self.model, self.documents, self.where, self.positions = model, documents, where, positions
        self.names = [p.name for p in parameter_set(model).members]

    def batches(self, batch_tokens: int) -> Any:
        """Padded inputs cut at the target, last positions, targets; longest first, no blocks."""
        order = np.argsort(-self.positions, kind="stable")
        while len(order):
            size = max(batch_tokens // int(self.positions[order[0]]), 1)
            now, order = order[:size], order[size:]
            rows = np.zeros((len(now), int(self.positions[now[0]])), dtype=np.int64)
            for row, i in zip(rows, now, strict=True):
                row[: self.positions[i]] = self.documents[self.where[i]][: self.positions[i]]
            targets = [int(self.documents[self.where[i]][self.positions[i]]) for i in now]
            yield now, torch.from_numpy(rows), torch.from_numpy(self.positions[now] - 1), torch.tensor(targets)

    def target_losses(self, ids: torch.Tensor, last: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Losses of the targets, the only positions that are unembedded."""
        hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        logits = self.model.get_output_embeddings()(hidden[torch.arange(len(ids)), last])
        return nn.functional.cross_entropy(logits.float(), targets, reduction="none")

    def weights(self, wanted: bool) -> None:
        own = dict(self.model.named_parameters())
        self.model.requires_grad_(False)
        for name in self.names:
            own[name].requires_grad_(wanted)

    # ------------------------------------------------------------------------------------ methods

    def floor(self, batch_tokens: int, precision: str = "float32") -> None:
        self.weights(True)
        for _, ids, last, targets in self.batches(batch_tokens):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                loss = self.target_losses(ids, last, targets).sum()
            loss.backward()
            self.model.zero_grad(set_to_none=False)

    def ours(self, features: int | None, batch_tokens: int, **settings: Any) -> np.ndarray:
        return token_gradients.token_gradients(
            self.model,
            as_tokens(self.documents),
            self.where,
            self.positions,
            features=features,
            batch_tokens=batch_tokens,
            **settings,
        )[0]

    def magnitudes(self, features: int | None, batch_tokens: int, kind: str = "standardised") -> np.ndarray:
        """Standardised magnitudes, both passes over all targets."""
        targets = self.model, as_tokens(self.documents), self.where, self.positions
        how = {"kind": kind, "batch_tokens": batch_tokens}
        over = magnitude_features.statistics(*targets, samples=len(self.where), **how)
        return magnitude_features.magnitude_features(*targets, over, features=features, **how)[0]

    def hooks(self, features: int | None, batch_tokens: int) -> np.ndarray:
        engine = Engine(self.model, as_tokens(self.documents), features=features, seed=0, by_hooks=True)
        rows = np.empty((len(self.where), engine.fold.features), dtype=np.float32)
        for samples, found, _ in engine.run(self.where, self.positions, batch_tokens):
            rows[samples] = found.numpy()
        return rows

    def paper(self) -> np.ndarray:
        """One token at a time: the whole document, all logits, a backward pass, one long vector, normalised."""
        self.weights(True)
        own = dict(self.model.named_parameters())
        rows = []
        for d, p in zip(self.where, self.positions, strict=True):
            ids = torch.from_numpy(self.documents[d].astype(np.int64))[None]
            logits = self.model(input_ids=ids, use_cache=False).logits[0, :-1]
            loss = nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")[p - 1]
            self.model.zero_grad()
            loss.backward()
            flat = torch.cat([own[name].grad.flatten() for name in self.names])
            rows.append((flat / flat.norm()).numpy())
        return np.stack(rows)

    def bergson(self, projection: int | None, batch_tokens: int, own_loop: bool = False) -> np.ndarray:
        """Its hooks and projections, in its own loop or with the targets alone unembedded, which that does not do."""
        from bergson import GradientProcessor, IndexConfig
        from bergson.collector.collector import HookCollectorBase, fwd_bwd_factory

        rows: list[Any] = [None] * len(self.where)

        class Collector(HookCollectorBase):
            def setup(self) -> None:
                self.mod_grads = {}

            def teardown(self) -> None:
                pass

            def backward_hook(self, module: nn.Module, g: torch.Tensor) -> None:
                self.mod_grads[module._name] = self._compute_gradient(module, g)

            def process_batch(self, indices: list[int], **kwargs: Any) -> None:
                flat = torch.cat([self.mod_grads[name] for name in self.target_info], dim=1)
                for i, row in zip(indices, flat.numpy(), strict=True):
                    rows[i] = row
                self.mod_grads.clear()

        self.weights(False)
        self.model.get_input_embeddings().weight.requires_grad_(True)  # as its loader does, so that hooks fire
        processor = GradientProcessor(projection_dim=projection, include_bias=projection is None)
        collector = Collector(model=self.model.base_model, processor=processor)
        step = fwd_bwd_factory(IndexConfig(run_path="", loss_reduction="sum")) if own_loop else None
        for now, ids, last, targets in self.batches(batch_tokens):
            with collector.with_batch(None):
                if step is not None:
                    wide = nn.functional.pad(ids, (0, 1))
                    labels = torch.full_like(wide, -100)
                    labels[torch.arange(len(ids)), last + 1] = targets
                    step(self.model, wide, labels, {})
                else:
                    self.target_losses(ids, last, targets).sum().backward()
            self.model.zero_grad()
            collector.process_batch(now.tolist())
        return np.stack(rows)

    def functional(self) -> Callable[..., torch.Tensor]:
        """The loss of one target as torch.func wants it: weights by name, ids, its last position, the target, a mask."""
        model = self.model

        class Wrapped(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.base = model.base_model

            def forward(self, ids: torch.Tensor, use_cache: bool, attention_mask: Any) -> Any:
                return self.base(input_ids=ids, use_cache=use_cache, attention_mask=attention_mask)

        wrapped = Wrapped()

        def loss(weights: Any, ids: torch.Tensor, last: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            own = {f"base.{k.split('.', 1)[1]}": v for k, v in weights.items() if k in model_names}
            # its own mask is made by code that vmap cannot trace
            mask = torch.ones(len(ids), len(ids)).tril().log()[None, None]
            inputs = {"use_cache": False, "attention_mask": mask}
            state = torch.func.functional_call(wrapped, own, (ids[None],), inputs)
            at = state.last_hidden_state[0].index_select(0, last[None])
            return nn.functional.cross_entropy(model.get_output_embeddings()(at), target[None])

        model_names = set(self.names)
        return loss

    def trak(self, batch_tokens: int, features: int | None = None) -> np.ndarray:
        """Its per-sample gradients (vmap over torch.func.grad), as they are or densely projected."""
        from trak.gradient_computers import FunctionalGradientComputer
        from trak.modelout_functions import AbstractModelOutput
        from trak.projectors import BasicProjector, NoOpProjector, ProjectionType

        model, loss = self.model, self.functional()

        class Task(AbstractModelOutput):
            def __init__(self) -> None:
                super().__init__()

            @staticmethod
            def get_output(_: Any, weights: Any, buffers: Any, *sample: torch.Tensor) -> torch.Tensor:
                return loss(weights, *sample)

            def get_out_to_loss_grad(self, *_: Any) -> torch.Tensor:
                return torch.ones(1)

        self.weights(True)
        computer = FunctionalGradientComputer(model, Task(), self.names, torch.float32, torch.device("cpu"))
        computer.func_weights = {k: v.detach() for k, v in computer.func_weights.items() if k in set(self.names)}
        count = parameter_set(model).count
        projector: Any = NoOpProjector(device="cpu")
        if features is not None:
            projector = BasicProjector(
                count, features, 0, ProjectionType.rademacher, torch.device("cpu"), block_size=min(features, 64)
            )
        rows: list[Any] = [None] * len(self.where)
        for now, ids, last, targets in self.batches(batch_tokens):
            found = computer.compute_per_sample_grad(batch=(ids, last, targets))
            flat = torch.cat([found[name].flatten(1) for name in self.names], dim=1)
            for i, row in zip(now, projector.project(flat, model_id=0).numpy(), strict=True):
                rows[i] = row
        return np.stack(rows)

    def dattri(self, batch_tokens: int) -> np.ndarray:
        """Its per-sample gradients of our loss, by its task and with no projection."""
        from dattri.task import AttributionTask

        loss = self.functional()
        self.weights(True)
        task = AttributionTask(lambda weights, sample: loss(weights, *sample), self.model, self.model.state_dict())
        weights, _ = task.get_param(layer_name=self.names)
        of_each = task.get_grad_loss_func(in_dims=(None, 0), layer_name=self.names, ckpt_idx=0)
        rows: list[Any] = [None] * len(self.where)
        for now, ids, last, targets in self.batches(batch_tokens):
            for i, row in zip(now, of_each(weights.detach(), (ids, last, targets)).numpy(), strict=True):
                rows[i] = row
        return np.stack(rows)


def methods(case: Case) -> dict[str, Callable[[], Any]]:
    """By name; the batch of each is the best of a few that were tried (docs/benchmarks.md)."""
    return {
        "floor": lambda: case.floor(4096),
        "sketch": lambda: case.ours(65_537, 2048),
        "exact": lambda: case.ours(None, 2048),
        "sketch by hooks": lambda: case.hooks(65_537, 2048),
        "magnitudes": lambda: case.magnitudes(65_537, 2048),
        "attention": lambda: case.magnitudes(32_769, 2048, "attention"),
        "paper": case.paper,
        "bergson exact": lambda: case.bergson(None, 2048),
        "bergson 52": lambda: case.bergson(52, 2048),
        "bergson 104": lambda: case.bergson(104, 2048),
        "bergson 208": lambda: case.bergson(208, 2048),
        "bergson 416": lambda: case.bergson(416, 2048),
        "bergson exact, own loop": lambda: case.bergson(None, 2048, True),
        "bergson 416, own loop": lambda: case.bergson(416, 2048, True),
        "trak exact": lambda: case.trak(2048),
        "trak 64": lambda: case.trak(1024, 64),
        "dattri exact": lambda: case.dattri(2048),
        "floor bfloat16": lambda: case.floor(4096, "bfloat16"),
        "sketch bfloat16": lambda: case.ours(65_537, 2048, precision="bfloat16"),
        "sketch unshared": lambda: case.ours(65_537, 2048, share=False),
    }


def cosines(rows: np.ndarray) -> np.ndarray:
    out = np.empty((len(rows), len(rows)), dtype=np.float32)
    cosine.cosine([rows], out)
    return out


def table(case: Case, names: list[str], repeats: int) -> None:
    """Time in interleaved runs; compare cosines with the exact ones."""
    found = methods(case)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    rows: dict[str, np.ndarray | None] = {}
    truth = cosines(case.ours(None, 2048))
    off = ~np.eye(len(truth), dtype=bool)
    truths = dict.fromkeys(names, truth)
    if "magnitudes" in names:
        truths["magnitudes"] = cosines(magnitudes.standardised(case.ours(None, 2048)))
    if "attention" in names:
        truths["attention"] = cosines(case.magnitudes(None, 2048, "attention"))
    for repeat in range(repeats + 1):
        for name in names:
            began = time.process_time()
            made = found[name]()
            if repeat:  # the first run warms up
                seconds[name].append(time.process_time() - began)
            if repeat == 0:
                rows[name] = None if made is None else cosines(made)
            del made
    n = len(case.where)
    floor = np.median(seconds["floor"]) if "floor" in seconds else np.nan
    print(
        f"\n{n} targets, {int(case.positions.sum())} input tokens, {torch.get_num_threads()} thread(s), {repeats} runs"
    )
    print("| method | samples per CPU second | of the floor | RMSE of the cosine |\n|---|---|---|---|")
    for name in names:
        median = float(np.median(seconds[name]))
        got = rows[name]
        error = "" if got is None else f"{np.sqrt(np.mean((got - truths[name])[off].astype(np.float64) ** 2)):.2g}"
        print(f"| {name} | {n / median:.3g} | {floor / median:.2f} | {error} |", flush=True)


def memory(case: Case) -> None:
    """Largest footprint of a sketch beyond what was held before it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    case.ours(65_537, 2048)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"memory of the sketch beyond the loaded model: {held / 2**20:.2f} GiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="70m", help="70m, trained, or the folder of a model of --run")
    parser.add_argument("--run", type=Path, help="a finished run, whose selected tokens are taken")
    parser.add_argument("--length", type=int, default=256, help="input tokens a sample (70m)")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--methods", default="floor;sketch;exact;sketch by hooks;paper")
    parser.add_argument("--targets", type=int, default=1, help="targets a document (70m)")
    parser.add_argument(
        "--anywhere", action="store_true", help="targets anywhere in the document, not at its end (70m)"
    )
    parser.add_argument("--memory", action="store_true")
    chosen_options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    engine.keep_freed_memory()  # for every method alike
    n = chosen_options.samples
    if chosen_options.model == "70m":
        model: Any = new_model(LadderSize("70m", 512, 6, 8), vocabulary=50304, context=2048, seed=0).eval()
        rng, length = np.random.default_rng(0), chosen_options.length
        each = chosen_options.targets
        documents = [rng.integers(0, 50_000, size=length + 1) for _ in range(-(-n // each))]
        where = np.arange(n) // each
        positions = np.full(n, length)
        if each > 1 or chosen_options.anywhere:
            positions = rng.integers(1, length + 1, size=n)
    else:
        if chosen_options.run:
            model, run = pretrained.load(chosen_options.model, "cpu"), chosen_options.run
            tokens = encoding.load_tokens(run / "corpus/tokens.npy", run / "corpus/offsets.npy")
            selected = selection.read_selection(run / "qdg/tokens.parquet", tokens)
            picked = selected.iloc[np.sort(np.random.default_rng(0).choice(len(selected), n, replace=False))]
        else:
            model, tokens = trained()
            picked = chosen(model, tokens, n)
        where, positions = picked["document"].to_numpy(), picked["position"].to_numpy()
        documents = [tokens.document(d).astype(np.int64) for d in range(int(where.max()) + 1)]
    case = Case(model, documents, where, positions)
    logging.getLogger("quanta").setLevel(logging.WARNING)
    print(f"{chosen_options.model}: {torch.__version__}, {time.strftime('%Y-%m-%d')}")
    if chosen_options.memory:
        memory(case)
    else:
        table(case, chosen_options.methods.split(";"), chosen_options.repeats)


if __name__ == "__main__":
    main()
