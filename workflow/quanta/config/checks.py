"""What no schema can say: keys of several sections against each other, names against files."""

import codecs
import difflib
from pathlib import Path
from typing import Any

from quanta.config import members as config_members
from quanta.config.members import Config
from quanta.errors import QuantaError


def check_across(config: Config) -> None:
    """Refuse settings that contradict each other, of one section or of several.

    Raises:
        QuantaError: the first that does.
    """
    for check in (_check_corpus, _check_models, _check_dynamics, _check_scaling, _check_qdg, _check_second, _check_lineage,
                  _check_neighbours, _check_calibration, _check_parity):  # fmt: skip
        check(config)


def _check_corpus(config: Config) -> None:
    corpus = config["corpus"]
    if corpus["source"] == "jsonl" and not corpus["jsonl"]["path"]:
        config_members.refuse(
            "corpus.jsonl.path",
            "not set",
            "the path of a file of JSON Lines or Parquet, or of a folder of texts",
            "set it",
        )
    if corpus["source"] == "jsonl":
        _check_rows(Path(corpus["jsonl"]["path"]))
    if corpus["source"] == "hub" and not corpus["hub"]["repository"]:
        config_members.refuse("corpus.hub.repository", "not set", "the name of a data set on the hub", "set it")
    if config["models"]["source"] == "train" and corpus["beginning"] == "always":
        config_members.refuse("corpus.beginning", "always", "auto or never where models are trained here, on windows that begin anywhere",
               "set auto")  # fmt: skip
    if config["models"]["source"] == "train" and not 0 < corpus["heldout_share"] < 1:
        config_members.refuse("corpus.heldout_share", f"{corpus['heldout_share']}", "between 0 and 1 where models are trained here",
               "0.05 is the default")  # fmt: skip


PACKED = (".gz", ".zst", ".xz", ".parquet")  # files whose first bytes say nothing here


def _check_rows(path: Path) -> None:
    """Refuse a file of plain text, which a dry run would plan as well: what begins neither as an object nor as an array."""
    if path.suffix in PACKED or not path.is_file():
        return
    with path.open("rb") as file:
        beginning = file.read(4096).removeprefix(codecs.BOM_UTF8)
    first = beginning.lstrip()[:1]
    wide = b"\0" in beginning[:4] or beginning[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    if first and first not in b"{[" and not wide:  # the reader names an array and another encoding
        config_members.refuse(
            "corpus.jsonl.path",
            f"{path} begins with {beginning.lstrip()[:20].decode('utf-8', errors='replace')!r}, as plain text does",
            "JSON Lines: one JSON object per line",
            "put text files into a folder and set the path to the folder (a document per file), or write JSON Lines, "
            '{"text": "…"} per document',
        )


def _check_models(config: Config) -> None:
    models = config["models"]
    if models["source"] == "hub" and not models["hub"]["members"]:
        config_members.refuse("models.hub.members", "an empty list", "at least one model", "list them, smallest first")
    names = config_members.model_names(config)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        config_members.refuse("models", f"{twice[0]!r} twice", "different names", "rename one")
    small = [name.lower() for name in names]
    alike = [name for name in names if small.count(name.lower()) > 1]
    if alike:  # macOS and Windows have one folder for both
        config_members.refuse(
            "models", f"{alike[0]!r} and {alike[1]!r}", "names that differ in more than case", "rename one"
        )
    for index, size in enumerate(models["train"]["sizes"]):
        if size["width"] % (size["heads"] * 2):
            config_members.refuse(f"models.train.sizes.{index}", f"width {size['width']} with {size['heads']} heads",
                   "a width that is an even multiple of heads", "change one of them")  # fmt: skip


def _check_model(config: Config, name: str, key: str) -> None:
    names = config_members.model_names(config)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        config_members.refuse(key, f"{name!r}", f"a model of the family: {', '.join(names)}",
               f"write {near[0]!r}" if near else "choose one of them")  # fmt: skip


def _check_dynamics(config: Config) -> None:
    dynamics, last = config["dynamics"], config_members.final_step(config)
    if dynamics["model"] is None:
        return
    _check_model(config, dynamics["model"], "dynamics.model")
    for index, name in enumerate(dynamics["further"]):
        _check_model(config, name, f"dynamics.further.{index}")
    steps = dynamics["steps"]
    if steps != sorted(set(steps)) or not steps or steps[-1] != last:
        config_members.refuse("dynamics.steps", f"{steps}", f"rising steps that end at the final one, {last}",
               f"sort them and end with {last}")  # fmt: skip


def _check_scaling(config: Config) -> None:
    left_out = config["scaling"]["leave_out"]
    for index, name in enumerate(left_out):
        _check_model(config, name, f"scaling.leave_out.{index}")
    fitted = len(config_members.model_names(config)) - len(left_out)
    if left_out and fitted < 2:  # a single model is a run without a fit
        config_members.refuse(
            "scaling.leave_out", f"{fitted} models are left to fit", "at least two", "leave out fewer"
        )


def _check_qdg(config: Config) -> None:
    qdg = config["qdg"]
    _check_model(config, qdg["model"], "qdg.model")
    if qdg["features"] % 2 == 0:
        config_members.refuse("qdg.features", f"{qdg['features']}", "an odd number: the error of inner products is known for those alone",
               f"write {qdg['features'] + 1}")  # fmt: skip
    counts, tokens = qdg["n_clusters"], qdg["tokens"]
    if counts != sorted(set(counts)):
        config_members.refuse(
            "qdg.n_clusters", f"{counts}", "rising numbers, each once", f"write {sorted(set(counts))}"
        )
    if counts[-1] >= tokens:
        config_members.refuse("qdg.n_clusters", f"{counts[-1]} clusters of {tokens} tokens", "fewer clusters than qdg.tokens",
               "raise qdg.tokens, or take the large numbers out")  # fmt: skip
    if qdg["show"] not in counts:
        config_members.refuse("qdg.show", f"{qdg['show']}", f"one of qdg.n_clusters, {counts}", "choose one of them")
    low, high = qdg["rank_shares"]
    if low >= high:
        config_members.refuse(
            "qdg.rank_shares", f"{qdg['rank_shares']}", "a lower share, then a higher one", "swap them"
        )
    first, last = (max(round(share * tokens), 1) for share in (low, high))  # as zipf.rank_range
    if min(last, counts[-1]) <= first:
        config_members.refuse("qdg.rank_shares", f"ranks {first} to {last} of {tokens} tokens, while the largest of qdg.n_clusters is {counts[-1]}",
               "at least two ranks that have a cluster", "lower the shares, or add larger numbers to qdg.n_clusters")  # fmt: skip


def _check_second(config: Config) -> None:
    qdg = config["qdg"]
    if qdg["mode"] == "exact" and qdg["second"] in ("absolute", "whitened"):
        config_members.refuse("qdg.second", f"{qdg['second']} of exact gradients, which are not kept", "features of a sketch",
               "set qdg.mode to sketch, or qdg.second to standardised")  # fmt: skip


def _check_lineage(config: Config) -> None:
    names, own = config_members.model_names(config), (config["qdg"]["model"], config_members.final_step(config))
    known = [(name, step) for name in names for step in config_members.saved_steps(config, name) if (name, step) != own]
    members = config_members.relatives(config)
    for index, (entry, member) in enumerate(zip(config["qdg"]["lineage"], members, strict=True)):
        _check_model(config, member[0], f"qdg.lineage.{index}")
        if member not in known or member in members[:index]:
            steps = [step for name, step in known if name == member[0]]
            config_members.refuse(f"qdg.lineage.{index}", f"{entry!r}", f"once, a step that is evaluated and not qdg.model itself: {steps}",
                   "choose another, or add the step to dynamics.steps")  # fmt: skip


def _check_neighbours(config: Config) -> None:
    qdg, sample = config["qdg"], config["calibration"]["tokens"]
    if qdg["graph"] != "neighbours":
        return
    if qdg["mode"] == "exact":
        config_members.refuse("qdg.graph", "neighbours of exact gradients", "neighbours of a sketch",
               "set qdg.mode to sketch, or qdg.graph to dense")  # fmt: skip
    if qdg["neighbours"] >= qdg["tokens"]:
        config_members.refuse("qdg.neighbours", f"{qdg['neighbours']} of {qdg['tokens']} tokens", "fewer than qdg.tokens",
               "lower it, or set qdg.graph to dense")  # fmt: skip
    if qdg["n_clusters"][-1] >= qdg["tokens"] - 1:
        config_members.refuse("qdg.n_clusters", f"{qdg['n_clusters'][-1]} clusters of {qdg['tokens']} tokens",
               "at most N − 2 with qdg.graph: neighbours", "take the large numbers out")  # fmt: skip
    if qdg["show"] >= sample:
        config_members.refuse("qdg.show", f"{qdg['show']} clusters, shown of a sample of {sample} tokens",
               "fewer than calibration.tokens with qdg.graph: neighbours", "raise calibration.tokens")  # fmt: skip


FEWEST_KNOWN = 100  # simulations that calibration.Calibration is fitted to, at least


def _check_calibration(config: Config) -> None:
    simulations, held_out = (config["calibration"][key] for key in ("simulations", "held_out"))
    if simulations - held_out < FEWEST_KNOWN:
        config_members.refuse("calibration.held_out", f"{held_out} of {simulations} simulations",
               f"at least {FEWEST_KNOWN} simulations that are not held out",
               f"raise calibration.simulations to {held_out + FEWEST_KNOWN}, or hold out fewer")  # fmt: skip


# -------------------------------------------------------------------------------------------------- parity


def _check_parity(config: Config) -> None:
    """Folders are named by α with six digits, and tables are looked up by the number in the name."""
    parity = config["parity"]
    if parity["alpha"] not in parity["alphas"]:
        config_members.refuse(
            "parity.alpha", f"{parity['alpha']}", f"one of parity.alphas, {parity['alphas']}", "choose one of them"
        )
    fewest = min([parity["qdg"]["samples"], *parity["qdg"]["sample_numbers"]])
    if min(parity["qdg"]["n_clusters"]) >= fewest:
        config_members.refuse("parity.qdg.n_clusters", f"{min(parity['qdg']['n_clusters'])} clusters or more of {fewest} samples",
               "a number below parity.qdg.samples and all of parity.qdg.sample_numbers",
               "raise the samples, or add smaller numbers of clusters")  # fmt: skip
    for index, alpha in enumerate(parity["alphas"]):
        if float(f"{alpha:g}") != alpha:
            config_members.refuse(
                f"parity.alphas.{index}", f"{alpha!r}", "a number of at most six digits", f"write {alpha:g}"
            )


# ------------------------------------------------------------------------------------ names that Snakemake reads


PATHS = ("corpus.jsonl.path", "models.folder.path", "models.hub.store", "models.hub.lock", "figures.labels")


def check_names(config: Config) -> None:
    """Refuse names of files and folders with braces: Snakemake takes what stands in them for a wildcard.

    Raises:
        QuantaError: a name has braces.
    """
    for place in PATHS:
        section: Any = config
        for key in place.split("."):
            section = section.get(key) if isinstance(section, dict) else None
        if isinstance(section, str) and set("{}") & set(section):
            raise QuantaError(
                f"config, key {place}",
                f"{section!r}",
                "a name without braces",
                "rename it, or link to it by another name",
            )
