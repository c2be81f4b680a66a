"""The pipeline as a user runs it: Snakemake itself, in a copy of the repository, on the smoke configuration."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import psutil
import pytest
from repository import (
    SMOKE,
    command,
    copy_of_the_repository,
    environment,
    hashes,
    not_in_the_tree,
    restore,
    smoke,
    snakemake,
)
from safetensors.numpy import save
from spellings import saved
from support import ROOT, at_key, is_shown_as

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(1800)]

AFTER_EMBEDDING = {
    "labels", "rank_frequency", "stability", "nulls", "naive_bias", "describe", "learned", "figures_clusters",
    "figures_calibration", "summary", "page", "halves", "interventions", "alone", "second_labels", "second_rank_frequency",
    "second_stability", "second_describe", "second_agreement", "second_nulls", "second_learned",
}  # fmt: skip


def planned(folder, over=None, *arguments, **kwargs):
    """Number of jobs by rule that a dry run plans, without the one that makes nothing."""
    text = smoke(folder, "--dry-run", *arguments, over=over, **kwargs)
    if "Nothing to be done" in text:
        return {}
    table = text.split("Job stats:")[1].split("total")[0]
    jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
    jobs.pop("all", None)
    return jobs


def replace(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.fixture
def work(finished, tmp_path):
    """A copy of the finished run to do things to."""
    return shutil.copytree(finished, tmp_path / "quanta", symlinks=True)


@pytest.fixture(scope="session")
def one_copy(finished, tmp_path_factory):
    """For all plans together; only `plans` is to take it."""
    return shutil.copytree(finished, tmp_path_factory.mktemp("plans") / "quanta", symlinks=True)


@pytest.fixture
def plans(finished, one_copy):
    """A copy of the finished run to plan in: files may be edited, touched and lost, and are put back afterwards; no job may run."""
    yield one_copy
    restore(one_copy, finished)


@pytest.fixture
def fresh(tmp_path):
    """The repository without any results."""
    return copy_of_the_repository(tmp_path / "quanta")


# ------------------------------------------------------------------------------------------- the finished run


def test_the_tree_of_a_run_names_every_file(finished):
    assert not_in_the_tree(finished / "results/smoke") == []


def test_the_run_makes_what_it_promises(finished):
    results = finished / "results/smoke"
    promised = """corpus/tokens.npy corpus/offsets.npy corpus/documents.parquet corpus/tokenizer/tokenizer.json
        models/family.csv models/tiny-a/step60/model.safetensors models/tiny-b/step8/config.json
        losses/tiny-c/step60.npy scaling/mean_loss.csv scaling/fits.json scaling/seeds_sharpness.csv qdg/tokens.parquet
        qdg/learned.csv qdg/learned.json report/figures/learned.png report/figures/seeds.png qdg/features.npy
        qdg/second/nulls.csv qdg/second/nulls_rank_frequency.csv qdg/second/learned.csv qdg/second/learned.json
        qdg/second/labels.parquet qdg/second/descriptions.parquet qdg/second/rank_frequency.csv qdg/second/clusters.parquet
        qdg/affinity.npy qdg/embedding.npy qdg/eigenvalues.npy qdg/labels.parquet qdg/rank_frequency.csv qdg/fits.json
        report/figures/rank_frequency.png report/figures/rank_frequency.pdf report/index.html report/summary.json"""
    for name in promised.split():
        assert (results / name).is_file(), name
    parts = [path for path in results.rglob("*.part*") if "checksums" not in path.relative_to(results).parts]
    assert not parts, "parts are removed when they are joined"
    hidden = {path.name for path in results.rglob(".*")} - {".snakemake_timestamp"}
    assert not hidden, "no temporary file is left"
    figures = {path.stem for path in (results / "report/figures").glob("*.png")}
    for name in figures:
        data = pd.read_csv(results / f"report/figures/{name}.csv")
        assert len(data) and data.notna().any().any(), f"{name} has its data beside it"
    assert len(figures) > 20
    output = (finished / "output.txt").read_text()
    end = output[output.index("Report: ") :]
    for words in (
        "results/smoke/report/index.html",
        "The slope of cluster size",
        'quanta.load("results/smoke")',
        "config/custom.yaml",
    ):
        assert words in end


def test_the_tables_of_the_run_agree_with_each_other(finished):
    results = finished / "results/smoke"
    tokens, offsets = np.load(results / "corpus/tokens.npy"), np.load(results / "corpus/offsets.npy")
    documents = pd.read_parquet(results / "corpus/documents.parquet")
    assert (np.diff(offsets) == documents["n_tokens"]).all() and offsets[-1] == len(tokens)
    losses = np.load(results / "losses/tiny-c/step60.npy")
    chosen = pd.read_parquet(results / "qdg/tokens.parquet")
    place = offsets[chosen["document"]] + chosen["position"].to_numpy()
    assert (tokens[place] == chosen["token_id"]).all() and (losses[place] == chosen["loss_nats"]).all()
    mean = pd.read_csv(results / "scaling/mean_loss.csv").set_index(["model", "step"])["mean_loss_nats"]
    assert abs(mean["tiny-c", 60] - np.nanmean(losses.astype(np.float64))) < 1e-9
    assert mean["tiny-a", 60] > mean["tiny-c", 60], "the larger model is the better one"
    assert mean["tiny-b", 8] > mean["tiny-b", 60], "training helps"
    features, affinity = np.load(results / "qdg/features.npy").astype(float), np.load(results / "qdg/affinity.npy")
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(affinity, unit @ unit.T, atol=2e-6)
    # the second clustering is of the same tokens, by its own features
    features, affinity = (np.load(results / f"qdg/second/{name}.npy") for name in ("features", "affinity"))
    unit = features / np.linalg.norm(features.astype(float), axis=1, keepdims=True)
    np.testing.assert_allclose(affinity, unit @ unit.T, atol=2e-6)
    nulls = pd.read_csv(results / "qdg/second/nulls.csv").set_index("model")
    assert nulls.loc["the data", "agreement_data"] == 1 and "untrained model, same tokens" in nulls.index
    agreement = pd.read_csv(results / "qdg/second/agreement.csv")
    assert agreement["n_clusters"].tolist() == [4, 8, 12, 16, 24, 32] and (agreement["adjusted_rand"] < 1).all()
    labels = pd.read_parquet(results / "qdg/labels.parquet")
    assert sorted(labels["n_clusters"].unique()) == [4, 8, 12, 16, 24, 32]
    for k, part in labels.groupby("n_clusters"):
        assert sorted(part["label"].unique()) == list(range(k)) and len(part) == len(chosen)
    summary = json.loads((results / "report/summary.json").read_text())
    fits = json.loads((results / "scaling/fits.json").read_text())
    assert summary["numbers"]["alpha_n"] == fits["alpha_n"]
    # one calibration: the data have the same α beside the null models
    own = pd.read_csv(results / "calibration/nulls.csv").iloc[0]
    alpha = json.loads((results / "calibration/fits.json").read_text())["alpha"]
    assert [own["alpha"], own["alpha_low"], own["alpha_high"]] == pytest.approx([alpha["value"], *alpha["interval"]])


def test_every_number_against_the_paper_is_found_under_its_file_and_key(finished):
    results = finished / "results/smoke"
    table = pd.read_csv(results / "report/paper_against_ours.csv", keep_default_na=False)
    reasons = (
        "not compared: ",
        "set so in ",
        "other shares",
        "two predictions",
        "no token of the ",
        "no measurement",
        "one constant",
    )
    assert set(table.loc[table["verdict"] == "", "why"]) <= {"not in the paper", "this run has no such number"} | {
        why for why in table["why"] if why.startswith(reasons)
    }
    assert (table.loc[table["verdict"].isin(["disagrees", "inconclusive"]), "why"] != "").all(), "each has its reason"
    without = table[table["why"].str.startswith("no token of the ")]
    assert without["ours"].str.startswith("no value").all() and len(without), "two sizes cannot make a smooth fall"
    assert "agrees" in set(table["verdict"]) <= {"agrees", "disagrees", "inconclusive", ""}
    for row in table.itertuples():
        file = finished / row.file if row.file.startswith("docs/") else results / row.file
        value = at_key(file, row.key)
        assert is_shown_as(value, row.ours), f"{row.quantity}: {row.ours!r}, but {row.file} has {value} at {row.key}"


def test_the_notebook_reads_a_finished_run(finished):
    """In its own folder, without an installed library and without torch."""
    arguments = [sys.executable, "-W", "error", str(ROOT / "tests/notebook.py"), "results.ipynb", "smoke"]
    done = subprocess.run(
        arguments,
        cwd=finished / "docs/notebook",
        env=environment() | {"MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    alpha = json.loads((finished / "results/smoke/qdg/fits.json").read_text())["envelope_slope"]["value"]
    assert f"slope {alpha:.3f}" in done.stdout and "this run has not made it" in done.stdout


def test_nothing_is_left_to_do(finished):
    assert planned(finished) == {}


def test_snakemakes_own_report(work):
    smoke(work, "--report", "report.html")
    text = (work / "report.html").read_text(encoding="utf-8")
    assert "rank_frequency.png" in text and "paper_against_ours.csv" in text


def test_an_exported_family_is_taken_as_it_is_and_refused_when_altered(work):
    smoke(work, "--", "export")
    export = work / "results/smoke/export"
    over = {
        "run": "given",
        "models": {"source": "folder", "folder": {"path": "results/smoke/export", "final_step": 60}},
    }
    smoke(work, "--", "results/given/scaling/mean_loss.csv", over=over)
    own, given = work / "results/smoke", work / "results/given"
    for name in ("corpus/tokens.npy", "corpus/offsets.npy"):
        assert (own / name).read_bytes() == (given / name).read_bytes(), "the held-out text is that of the training"
    columns = ["model", "step", "non_embedding_parameters", "n_predictions"]
    before, after = (pd.read_csv(run / "scaling/mean_loss.csv") for run in (own, given))
    assert before[columns].equals(after[columns])
    assert 0 < (before["mean_loss_nats"] - after["mean_loss_nats"]).abs().max() < 1e-3
    table = pd.read_csv(export / "family.csv")
    assert (table["rounding_nats"] < 1e-3).all() and table["sha256"].nunique() == len(table)
    assert pd.read_csv(given / "models/family.csv")["sha256"].tolist() == table["sha256"].tolist()
    card = (export / "README.md").read_text()
    assert "tiny-b: 8, 60" in card and "networkx" in card
    weights = export / "tiny-a/step60/model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    shutil.rmtree(given / "models/tiny-a")
    target = "results/given/scaling/mean_loss.csv"
    output = smoke(work, "--forcerun", "adopt", "--", target, over=over, fails=True)
    assert "as family.csv next to the models says" in output and "tiny-a/step60" in output


# -------------------------------------------------------------------------------------------------- what reruns


def test_a_figure_option_reruns_figures_and_page_alone(plans):
    stages = ("scaling", "clusters", "calibration", "theory", "parity", "known_skills")
    for option in ({"dpi": 60}, {"width_inches": 5}):
        assert set(planned(plans, {"figures": option})) == {"page", *(f"figures_{stage}" for stage in stages)}, option


def test_other_cluster_numbers_rerun_clustering_and_what_follows(plans):
    assert set(planned(plans, {"qdg": {"n_clusters": [4, 16, 32]}})) == AFTER_EMBEDDING
    larger = planned(plans, {"qdg": {"n_clusters": [4, 16, 40]}})
    assert set(larger) == AFTER_EMBEDDING | {"enough", "embedding", "layout", "second_embedding", "second_layout"}


def test_other_cluster_numbers_make_the_labels_anew_and_nothing_before(work):
    results = work / "results/smoke"
    before = hashes(work)
    times = {path: path.stat().st_mtime_ns for path in results.rglob("*") if path.is_file()}
    over = {"qdg": {"n_clusters": [4, 16, 32]}}
    smoke(work, over=over)
    changed = {name for name, value in hashes(work).items() if before[name] != value}
    tables = {f"qdg/{name}" for name in ("labels.parquet", "descriptions.parquet", "rank_frequency.csv", "fits.json")}
    assert tables | {"report/summary.json"} <= changed
    assert all(name.startswith(("qdg/", "calibration/", "report/")) for name in changed)
    for name in (
        "qdg/affinity.npy", "qdg/features.npy", "qdg/embedding.npy", "qdg/layout.parquet",
    ):  # fmt: skip
        assert (results / name).stat().st_mtime_ns == times[results / name], name
    drawn = (results / "logs/figures_clusters.log").read_text()
    assert "spectrum is as it would be drawn" in drawn and "clusters is as" not in drawn
    assert sorted(pd.read_parquet(results / "qdg/labels.parquet")["n_clusters"].unique()) == [4, 16, 32]
    assert planned(work, over) == {}


def test_a_changed_function_of_the_library_reruns_the_stages_that_use_it(plans):
    replace(plans / "workflow/quanta/clustering/spectral.py", "overwrite_a=True", "overwrite_a=False")
    jobs = set(planned(plans))
    assert AFTER_EMBEDDING | {"embedding", "layout", "parity_qdg"} <= jobs
    before = {
        "texts",
        "tokens",
        "train",
        "losses",
        "mean_loss",
        "select",
        "gradients",
        "features",
        "affinity",
        "theory",
    }
    before |= {"parity_fresh", "parity_data", "figures_scaling", "figures_theory"}
    assert not jobs & (before | {"simulate", "calibrate", "untrained"}), "none of these clusters anything"


def test_a_changed_script_reruns_itself_and_what_follows(plans):
    replace(plans / "workflow/scripts/rank_frequency/rank_frequency.py", "from typing", "import math\nfrom typing")
    assert set(planned(plans)) == {
        *("rank_frequency", "second_rank_frequency", "figures_calibration", "figures_clusters", "summary", "page")
    }


def test_comments_rerun_nothing(plans):
    replace(plans / "workflow/quanta/clustering/membership.py", "def by_size(", "# largest first\ndef by_size(")
    replace(plans / "workflow/quanta/losses/forward.py", '"""Losses: ', '"""Losses, in nats: ')
    replace(plans / "workflow/scripts/clustering/labels.py", "from typing", "# why\nfrom typing")
    replace(plans / "config/smoke.yaml", "run: smoke", "# a remark\nrun: smoke")
    replace(plans / "slurm/config.yaml", "jobs: 100", "jobs: 7  # a remark")
    with (plans / "README.md").open("a") as stream:
        stream.write("\nmore words\n")
    assert planned(plans) == {}


def test_threads_memory_and_the_same_values_written_out_rerun_nothing(plans):
    over = {
        "resources": {"memory_factor": 2, "runtime_factor": 3, "gpu": 0},
        "seed": 0,
    }
    assert planned(plans, over) == {}


def test_other_parts_and_batches_of_losses_gradients_and_simulations_rerun_nothing(plans):
    over = {
        "losses": {"batch_tokens": 1024, "shards_by_model": [{"model": "tiny-c", "shards": 3}]},
        "qdg": {"shards": 5, "batch_tokens": 1024},
        "calibration": {"shards": 5},
    }
    assert planned(plans, over) == {}


def test_another_seed_trains_and_clusters_anew(plans):
    jobs = planned(plans, {"seed": 1})
    assert {"train", "train_dynamics", "gradients", "labels", "mean_loss", "rank_frequency"} <= set(jobs)
    assert not {"texts", "tokenizer", "tokens", "training_tokens"} & set(jobs)


def test_a_touch_reruns_nothing(plans):
    """Of whatever is in the repository or among the results; above 1 MB Snakemake goes by the time alone."""
    touched = set()
    for path in plans.rglob("*"):
        inside = path.relative_to(plans).parts
        if (
            path.is_file()
            and inside[0] != ".snakemake"
            and path.stat().st_size < 10**6
            and path.name != ".snakemake_timestamp"
        ):
            path.touch()
            touched.add(path.suffix)
    assert {
        ".py",
        ".smk",
        ".yaml",
        ".html",
        ".css",
        ".js",
        ".rst",
        ".csv",
        ".lock",
        ".npy",
        ".parquet",
        ".json",
    } <= touched
    assert planned(plans) == {}


@pytest.mark.parametrize(
    "lost",
    [["calibration/simulations.parquet", "parity/calibration/estimates.csv", "theory/fits.json", "qdg/stability.csv",
      "scaling/tokens_by_size.parquet"], ["calibration/fits.json"]],
    ids=["none made of another", "made of one of them"],
)  # fmt: skip
def test_a_lost_table_is_made_again_though_all_that_was_made_of_it_is_there(plans, lost):
    for name in lost:
        (plans / "results/smoke" / name).unlink()
    text = smoke(plans, "--dry-run")
    for name in lost:
        assert f"Reason: Missing output files: results/smoke/{name}" in text


def test_another_profile_and_other_cores_rerun_nothing(plans):
    assert planned(plans, None, cores=7) == {}
    assert "Nothing to be done" in snakemake(plans, "--profile", "slurm", "--configfile", SMOKE, "--dry-run")


def test_a_moved_clone_reruns_nothing(plans, tmp_path):
    moved = plans.rename(tmp_path / "another place")
    try:
        assert planned(moved) == {}
    finally:
        moved.rename(plans)


def release(folder, name, version):
    """Where a later release of a package seems to be installed, as a variable of the environment."""
    where = folder / f"elsewhere/{name}/{name.replace('-', '_')}-{version}.dist-info"
    where.mkdir(parents=True)
    (where / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return {"PYTHONPATH": str(where.parent)}


def test_another_release_of_a_package_whose_sources_are_the_corpus_reruns_all_that_reads_it(plans):
    jobs = set(planned(plans, env=release(plans, "networkx", "99.0")))
    assert {"texts", "tokenizer", "tokens", "train", "losses", "gradients", "labels"} <= jobs
    assert not {"parity_fresh", "parity_data", "theory", "toy"} & jobs


def test_another_release_of_a_package_that_computes_reruns_the_stages_that_compute_with_it(plans):
    jobs = set(planned(plans, env=release(plans, "scikit-learn", "99.0")))
    assert "labels" in jobs
    assert not {"texts", "tokens", "train", "losses", "gradients", "affinity", "theory", "parity_fresh"} & jobs
    assert planned(plans, env=release(plans, "filelock", "99.0")) == {}


def test_a_changed_file_of_texts_reruns_the_corpus_and_what_follows(fresh):
    lines = [json.dumps({"text": f"The text of document {i} is long enough to stay. " * 20}) + "\n" for i in range(60)]
    path = fresh / "texts.jsonl"
    path.write_text("".join(lines))
    over = {"corpus": {"source": "jsonl", "jsonl": {"path": "texts.jsonl"}, "documents": 5, "training_tokens": 6000}}
    target = "results/smoke/corpus/texts.parquet"
    smoke(fresh, "--", target, over=over)
    assert planned(fresh, over, "--", target) == {}
    path.touch()
    assert planned(fresh, over, "--", target) == {}
    path.write_text("".join(lines[:-1]))
    assert planned(fresh, over, "--", target) == {"texts": 1}
    assert {"tokenizer", "tokens", "training_tokens", "train"} <= set(planned(fresh, over))


def test_a_given_checkpoint_that_is_changed_in_place_is_taken_again(fresh):
    """Where no family.csv has its hash; files beside it that are not taken do not count."""
    for name in ("a", "b", "tokenizer"):
        saved(fresh / "given" / name, "metaspace")
        (fresh / "given" / name / "config.json").write_text('{"model_type": "gpt_neox"}')
        (fresh / "given" / name / "model.safetensors").write_bytes(save({"weight": np.zeros(4, dtype=np.float32)}))
    models = {"source": "folder", "folder": {"path": "given", "final_step": 60}}
    over = {"models": models, "dynamics": {"model": None}, "qdg": {"model": "a"}}
    targets = ("--", "results/smoke/models/a/step60", "results/smoke/models/b/step60")
    assert planned(fresh, over, *targets) == {"adopt": 2}, "the folder `tokenizer` is no model"
    smoke(fresh, *targets, over=over)
    (fresh / "given/b/notes.txt").write_text("none of the model")
    assert planned(fresh, over, *targets) == {}
    (fresh / "given/b/model.safetensors").write_bytes(save({"weight": np.ones(4, dtype=np.float32)}))
    assert planned(fresh, over, *targets) == {"adopt": 1}


def test_a_dry_run_says_why(plans):
    """Which key had which value, and which module of the library is another one."""
    text = smoke(plans, "--dry-run", over={"figures": {"dpi": 60}})
    assert re.search(r"Reason: Params have changed.*before: .*dpi.*80.* now: .*dpi.*60", text)
    replace(plans / "workflow/quanta/rank_frequency/zipf.py", "def sizes(", "ADDED = 1\n\n\ndef sizes(")
    text = smoke(plans, "--dry-run")
    reason = re.search(r"before: '(.*)' now: '(.*)'", text)
    before, now = (dict(part.rsplit(" ", 1) for part in reason[i].split(", ")) for i in (1, 2))
    assert [name for name in before if before[name] != now[name]] == ["rank_frequency.zipf"]


def test_each_row_of_the_table_of_reruns_names_a_test():
    rows = [line.split("|") for line in (ROOT / "docs/reruns.md").read_text().splitlines() if line.startswith("| ")]
    named = [row[-2].strip(" `") for row in rows if "test_" in row[-2]]
    assert len(named) >= 12 and all(callable(globals()[name]) for name in named)


# ---------------------------------------------------------------------------------------- kills and other cores

KILLS = {  # stage: (file that shows that it is at work, its unfinished output, whether the whole group is killed)
    "train": ("unfinished/tiny-b/step8/model.safetensors", "models/tiny-b", True),
    "losses": ("logs/losses/*/step60*.log", "losses", False),
    "gradients": ("logs/gradients/*.log", "qdg/features.part", True),
    "labels": ("logs/labels.log", "qdg/labels.parquet", True),
}


def marked(folder):
    """Outputs that Snakemake has marked as unfinished."""
    marks = [p for p in (folder / ".snakemake/incomplete").rglob("*") if p.is_file()]
    base = folder / ".snakemake/incomplete"
    names = ["".join(part.removeprefix("@") for part in mark.relative_to(base).parts) for mark in marks]
    return [base64.urlsafe_b64decode(name).decode() for name in names]


def kill_in_the_middle(folder, sign, group, arguments):
    """Start Snakemake, send SIGKILL as soon as the sign shows; the unfinished outputs, when all its jobs are gone."""
    results = folder / "results/smoke"
    with (folder / "killed.txt").open("w") as output:
        process = subprocess.Popen(
            command(*arguments), cwd=folder, env=environment(), stdout=output, stderr=output, start_new_session=True
        )
        while not list(results.glob(sign)):
            assert process.poll() is None, (folder / "killed.txt").read_text()[-6000:]
            time.sleep(0.005)
        children = psutil.Process(process.pid).children(recursive=True)
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    unfinished = marked(folder)
    assert children, "no job was running"
    _, alive = psutil.wait_procs(children, timeout=60)
    for orphan in alive:
        orphan.kill()
    assert not alive, "jobs outlive Snakemake"
    return unfinished


@pytest.fixture(scope="session")
def disturbed(tmp_path_factory):
    """The smoke run on one core, killed in every heavy stage, each time started again by the very same command."""
    folder = copy_of_the_repository(tmp_path_factory.mktemp("disturbed") / "quanta")
    arguments = ("--cores", "1", "--configfile", SMOKE)
    unfinished = {
        stage: kill_in_the_middle(folder, sign, group, arguments) for stage, (sign, _, group) in KILLS.items()
    }
    return folder, unfinished, snakemake(folder, *arguments)


def test_each_kill_hit_a_stage_at_work(disturbed):
    _, unfinished, _ = disturbed
    for stage, (_, output, _) in KILLS.items():
        assert any(output in name for name in unfinished[stage]), f"{stage}: {unfinished[stage]}"


def test_the_same_command_goes_on_after_a_kill(disturbed):
    folder, _, output = disturbed
    assert "An earlier run here was killed" in output
    assert "steps (100%) done" in output
    assert planned(folder) == {}
    assert not list((folder / "results").rglob(".*.npy")), "half files of killed jobs are removed"


def test_kills_and_the_number_of_cores_change_no_byte(finished, disturbed):
    expected, found = hashes(finished), hashes(disturbed[0])
    assert len(expected) > 40
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []


# ------------------------------------------------------------------------------------------- refused beforehand


def test_a_bad_configuration_is_refused_while_planning(fresh):
    """By the one call that all its checks are behind; test_config has every message."""
    text = smoke(fresh, "--dry-run", over={"qdg": {"treshold": 0.1}}, fails=True)
    for part in ("config, key qdg.treshold: unknown key", "write 'threshold'"):
        assert part in text
    assert "Traceback" not in text
    assert [path.name for path in (fresh / "results").iterdir()] == ["README.md"]


def test_what_the_machine_lacks_is_refused_before_any_job(fresh):
    """By the one call that all these checks are behind; test_surroundings has every message."""
    lock = fresh / "envs/requirements.lock"
    lock.write_text(re.sub(r"networkx==\S+", "networkx==1.0", lock.read_text()))
    text = smoke(fresh, fails=True)
    for part in ("networkx 1.0, as in the lock file", "corpus.python.versions: any"):
        assert part in text
    assert "Traceback" not in text
    assert "Finished jobid" not in text and not list(fresh.glob("results/*/corpus/*"))
    text = smoke(fresh, "--dry-run")
    told = text[text.index("This was a dry-run") :]
    assert "A run would stop before its first job." in told and "networkx 1.0, as in the lock file" in told
    assert not re.search(r"Reason: .{1500}", text), "reasons of a line or two"


def test_a_run_without_a_core_is_refused(fresh):
    """Snakemake waits for ever."""
    text = smoke(fresh, cores=0, fails=True)
    assert "--cores or --jobs: 0" in text and "Finished jobid" not in text


def test_too_few_tokens_are_named_after_selection_and_before_gradients(work):
    """On one core; on several, the first gradients start beside the check, and nothing after them."""
    over = {"qdg": {"threshold": 0.05}}
    counts = work / "results/smoke/qdg/selection.json"
    text = smoke(work, over=over, cores=1, fails=True)
    selected = json.loads(counts.read_text())["selected"]
    assert selected < 40, "the threshold of this test must leave too few tokens"
    assert f"{selected} tokens with a loss below 0.05 nats" in text
    assert "at least 40, which calibration and null models need" in text and "raise qdg.threshold" in text
    assert "Select tokens" in text and "Compute gradients of single tokens" not in text


def test_a_damaged_intermediate_file_is_named(work):
    """The file is given another content and the time that it had: only reading it can tell."""
    before = hashes(work)
    path = work / "results/smoke/qdg/embedding.npy"
    times = path.stat()
    path.write_bytes(path.read_bytes()[:-100])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    text = smoke(work, "--forcerun", "labels", fails=True)
    assert "Traceback" not in text
    end = text[text.index("labels failed; its log, results/smoke/logs/labels.log, ends with") :]
    assert "results/smoke/qdg/embedding.npy: results/smoke/qdg/embedding.npy has another content" in end
    assert "delete the file and start the run again" in end
    path.unlink()
    smoke(work)
    assert hashes(work) == before


# --------------------------------------------------------------------------------------------- other ways to run


def test_what_is_derived_for_the_documentation_is_fresh(fresh):
    """config/README.md and the table of packages; a page that is not is named."""
    check = [sys.executable, "docs/make.py", "--check"]
    here = {"cwd": fresh, "env": environment() | {"PYTHONPATH": "workflow"}, "capture_output": True, "text": True}
    done = subprocess.run(check, **here)
    assert done.returncode == 0, done.stderr
    replace(fresh / "docs/architecture.md", "| `corpus` | ", "| `texts` | ")
    replace(fresh / "config/README.md", "| `seed` |", "| `sed` |")
    replace(fresh / "docs/theory.md", "# Theory", "# Theory\n\nIn the default run α is 0.124.")
    done = subprocess.run(check, **here)
    assert done.returncode != 0
    assert "docs/architecture.md" in done.stderr and "config/README.md" in done.stderr and "make docs" in done.stderr
    assert "docs/theory.md: put <!--=name-->" in done.stderr


def test_the_slurm_profile_plans(fresh):
    text = snakemake(fresh, "--profile", "slurm", "--configfile", "config/train.yaml", "--dry-run")
    assert re.search(r"^train +4$", text, re.MULTILINE) and "Traceback" not in text


def test_parts_are_as_many_as_asked_for(fresh):
    text = smoke(fresh, "--dry-run", over={"losses": {"shards": 3, "shards_by_model": []}, "qdg": {"shards": 5}})
    assert re.search(r"^losses_part +18$", text, re.MULTILINE) and re.search(r"^gradients +5$", text, re.MULTILINE)


def test_neighbours_instead_of_all_pairs_make_a_whole_run(work):
    """Nothing before them is made anew, and no matrix of all tokens is left.

    That clusters are those of all pairs is a matter of tests/clustering/test_neighbours.py, where they are planted: on what these
    tiny models learn, which differs between processors, two seeds of k-means may differ as much.
    """
    qdg = work / "results/smoke/qdg"
    dense, vectors = pd.read_parquet(qdg / "labels.parquet"), np.load(qdg / "embedding.npy")
    over = {"qdg": {"graph": "neighbours", "neighbours": 100}}
    assert not {"gradients", "features", "select", "train", "affinity"} & set(planned(work, over))
    for name in ("affinity", "affinity_of_losses", "second/affinity", "second/untrained"):
        (qdg / f"{name}.npy").unlink()
    smoke(work, over=over)
    n = len(vectors)
    assert not [p for p in work.glob("results/smoke/**/*.npy") if np.load(p, mmap_mode="r").shape == (n, n)]
    assert np.load(qdg / "neighbours.npy").shape == (n, 100) and np.load(qdg / "embedding.npy").shape == vectors.shape
    found = pd.read_parquet(qdg / "labels.parquet")
    assert found[["token", "n_clusters"]].equals(dense[["token", "n_clusters"]])
    for k, part in found.groupby("n_clusters"):
        assert sorted(part["label"].unique()) == list(range(k)), "no cluster is empty"
    clusters = pd.read_parquet(qdg / "clusters.parquet")
    assert clusters["stability_halves"].notna().any() and clusters["skill"].notna().any()
    assert pd.read_csv(work / "results/smoke/calibration/nulls.csv").loc[0, "n_tokens"] == 120
    page = (work / "results/smoke/report/index.html").read_text()
    assert "near_16" in page and "within_16" in page, "the page has cosines of all tokens, from their features"


def test_clusters_are_followed_into_other_models_and_steps(work):
    results, over = work / "results/smoke", {"qdg": {"lineage": ["tiny-b", "tiny-b/8"]}}
    jobs = planned(work, over)
    assert jobs["relative"] == 2 and not {"gradients", "embedding", "labels"} & set(jobs), "nothing of the model's own"
    smoke(
        work, "--", *(f"results/smoke/{name}" for name in ("qdg/lineage.csv", "report/figures/lineage.png")), over=over
    )
    table = pd.read_csv(results / "qdg/lineage.csv")
    assert list(table["relative"].unique()) == ["tiny-b/step60", "tiny-b/step8", "other seed"]
    means = table.groupby("relative")[["score", "score_by_chance"]].mean()
    # how much more than chance hangs on what these tiny models have learned, and so on the processor
    assert (means["score"] > means["score_by_chance"]).all()


def test_exact_gradients_are_never_joined(fresh):
    text = smoke(fresh, "--dry-run", over={"qdg": {"mode": "exact"}})
    assert re.search(r"^exact_affinity +1$", text, re.MULTILINE)
    assert not re.search(r"^(gradients|features|affinity) +\d", text, re.MULTILINE)


# ------------------------------------------------------------------------------------------------- one model alone


def test_one_model_with_texts_of_ones_own_is_a_run(work):
    """As docs/own-models.md has it: a checkpoint without steps, a folder of texts, no sparse parity; the page says what is left out."""
    smoke_run, given = work / "results/smoke", work / "checkpoints/small"
    shutil.copytree(smoke_run / "models/tiny-c/step60", given)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(smoke_run / "corpus/tokenizer" / name, given)
    texts = pd.read_parquet(smoke_run / "corpus/texts.parquet")
    held_out = texts.loc[texts["split"] == "heldout", "text"]
    part = work / "texts/part-0.jsonl"
    part.parent.mkdir()
    part.write_text("".join(json.dumps({"text": text}) + "\n" for text in held_out), encoding="utf-8")
    over = {
        "run": "alone",
        "corpus": {"source": "jsonl", "jsonl": {"path": "texts"}, "heldout_share": 1},
        "models": {"source": "folder", "folder": {"path": "checkpoints"}},
        "dynamics": {"model": None, "further": []},
        "losses": {"shards_by_model": []},
        "qdg": {"model": "small"},
        "parity": {"run": False},
    }
    smoke(work, over=over)
    results = work / "results/alone"
    assert not (results / "parity").exists() and (results / "losses/small/step0.npy").is_file()
    for name in ("qdg/labels.parquet", "calibration/fits.json", "calibration/nulls.csv", "qdg/clusters.parquet"):
        assert (results / name).is_file(), name
    own, same = (
        np.load(run / name)
        for run, name in ((results, "losses/small/step0.npy"), (smoke_run, "losses/tiny-c/step60.npy"))
    )
    assert own.tobytes() == same.tobytes(), "the same checkpoint on the same texts"
    summary = json.loads((results / "report/summary.json").read_text())
    assert summary["numbers"]["alpha_n"]["value"] is None and summary["numbers"]["parity"] is None
    assert not any("α_N" in line or "no value" in line for line in summary["headline"])
    page = (results / "report/index.html").read_text(encoding="utf-8")
    assert len(summary["left_out"]) == 4 and all(line in page for line in summary["left_out"])
    figures = {path.stem for path in (results / "report/figures").glob("*.png")}
    assert {"clusters", "rank_frequency", "nulls", "stability", "calibration", "affinity"} <= figures
    assert not {name for name in figures if name.endswith("_size") or name.startswith("parity")}
    assert not {"mean_loss", "sharpness", "emergence", "learned", "affinities", "accounts"} & figures
    assert planned(work, over=over) == {}
    with part.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"text": "one more of them " * 40}) + "\n")
    again = planned(work, over=over)
    assert {"texts", "tokens", "losses", "gradients", "page"} <= set(again)
    assert not {"theory", "adopt", "toy", "beginning"} & set(again)
