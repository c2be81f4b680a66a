import json
import os
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
import quanta
from hostile import MEMBERS, SHOW, write
from quanta import results
from quanta.errors import QuantaError
from support import ROOT
from tokenizers import Tokenizer

EVERY = {**{n: r for n, r in vars(results.Run).items() if isinstance(r, results.Result)},
         **{f"fits.{n}": r for n, r in vars(results.Fits).items() if isinstance(r, results.Result)}}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("results") / "results/small")


@pytest.fixture
def run(folder):
    return quanta.load(folder)


def python(code, **environment):
    """A fresh interpreter; its output."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_quanta_imports_nothing_and_loading_a_run_no_torch(folder):
    """Torch costs four seconds; a notebook that only reads should not pay them."""
    code = "import sys; before = set(sys.modules); import quanta; print(len({m.split('.')[0] for m in set(sys.modules) - before} - {'quanta', 'os', 'typing', 'collections', 're', 'enum'} - set(sys.stdlib_module_names)))"
    assert python(code, PYTHONPATH=str(ROOT / "workflow")) == "0\n"
    code = f"import quanta, sys; run = quanta.load({str(folder)!r}); run.context(3); print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    assert python(code, PYTHONPATH=str(ROOT / "workflow")) == "False False\n"


def test_tables_are_frames_and_arrays_are_memory_maps_of_the_files(run, folder):
    assert run.tokens.equals(pd.read_parquet(folder / "qdg/tokens.parquet"))
    assert run.family.equals(pd.read_csv(folder / "models/family.csv"))
    for array, path in ((run.affinity, "qdg/affinity.npy"), (run.losses("large"), "losses/large/step4.npy")):
        assert isinstance(array, np.memmap) and not array.flags.writeable
        assert np.array_equal(array, np.load(folder / path), equal_nan=True)
    assert run.fits.qdg == json.loads((folder / "qdg/fits.json").read_text())
    assert run.affinity is run.affinity, "read once"


def test_nothing_is_read_before_it_is_asked_for(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "qdg/labels.parquet").write_bytes(b"damaged")
    run = quanta.load(copy)
    assert "labels" in repr(run) and len(run.tokens) == 96
    with pytest.raises(QuantaError, match=r"labels\.parquet: not a readable table"):
        _ = run.labels


def test_a_context_is_the_documents_own_text_and_its_target_the_selected_token(run, folder):
    tokenizer = Tokenizer.from_file(str(folder / "corpus/tokenizer/tokenizer.json"))
    for token in (0, 40, 95):
        row = run.tokens[["document", "position", "token_id"]].loc[token]
        ids = run.corpus.document(row["document"])
        context = run.context(token)
        near = ids[max(row["position"] - 64, 0) : row["position"] + 17].tolist()
        whole = context.before + context.target + context.after
        # characters that are cut at an end or lie in several tokens stand as \\x.. here, as a sign of damage there
        ascii_of = [re.sub(r"\\x[0-9a-f]{2}|[^\x00-\x7f]", "", text) for text in (whole, tokenizer.decode(near))]
        assert ascii_of[0] == ascii_of[1]
        assert str(context) == f"{context.before}▸{context.target}◂{context.after}"
        assert ids[row["position"]] == row["token_id"]


def test_losses_of_tokens_are_those_of_the_models_at_their_places(run, folder):
    table = run.token_losses
    assert list(table.index) == MEMBERS and list(table.columns) == list(range(96))
    for model, step in MEMBERS:
        losses = np.load(folder / f"losses/{model}/step{step}.npy")
        for token in (0, 17, 95):
            row = run.tokens[["document", "position"]].loc[token]
            flat = np.load(folder / "corpus/offsets.npy")[row["document"]] + row["position"]
            assert table.loc[(model, step), token] == losses[flat]
    assert np.array_equal(run.losses("small"), run.losses("small", 4), equal_nan=True), "the last step, unless asked"


def test_clusters_part_the_tokens(run):
    labels = run.clustering(SHOW)
    parts = [run.cluster(SHOW, label) for label in sorted(labels.unique())]
    assert sorted(token for part in parts for token in part.index) == list(range(96))
    assert [len(part) for part in parts] == labels.value_counts().sort_index().tolist()
    assert parts[1]["target"].iloc[0] == run.context(parts[1].index[0]).target


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda run: run.mean_loss, ["scaling/mean_loss.csv: this run has not made it", "snakemake --cores all results/small/scaling/mean_loss.csv"]),
        (lambda run: run.fits.parity, ["parity/fits.json: this run has not made it", "sparse parity"]),
        (lambda run: run.losses("larg"), ["model: 'larg'", "small, middle, large", "write large"]),
        (lambda run: run.losses("small", 3), ["step of small: 3", "one of 1, 2, 4"]),
        (lambda run: run.clustering(5), ["n_clusters: 5", "one of 2, 4, 8"]),
        (lambda run: run.cluster(4, 4), ["label: 4", "0 to 3"]),
        (lambda run: run.context(96), ["token: 96", "0 to 95"]),
        (lambda run: run.context(-1), ["token: -1", "0 to 95"]),
        (lambda run: run.context_at(24, 0), ["document: 24", "0 to 23"]),
        (lambda run: run.context_at(0, 10**6), ["position: 1000000"]),
        (lambda run: run.figure("cluster"), ["figure: 'cluster'", "clusters, emergence", "write clusters"]),
        (lambda run: run.read("qdg/absent.csv"), ["qdg/absent.csv: this run has not made it"]),
        (lambda run: run.read("report/index.html"), [".html", ".csv, .parquet, .json or .npy"]),
        (lambda run: quanta.load(run.folder.parent / "smal"), ["smal: no such folder", "small"]),
        (lambda run: quanta.load(run.folder.parent), ["holds no results", "small"]),
    ],
)  # fmt: skip
def test_what_is_not_there_is_named_with_what_mends_it(run, ask, words):
    with pytest.raises(QuantaError) as found:
        ask(run)
    for part in [*words, "expected:", "fix:"]:
        assert part in str(found.value)


def test_its_form_lists_what_there_is_and_what_there_is_not(run, folder):
    text = repr(run)
    there, lacking = text.split("not made by this run: ")
    for name, result in EVERY.items():
        if "." not in name:
            made = (folder / result.path).exists()
            assert (f"\n  {name} " in there) == made and (name in lacking.split("\n")[0].split(", ")) != made, name
    assert "fitted numbers: scaling, qdg\n" in text


def test_a_plot_is_the_reports_picture_with_its_numbers(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "results/copy")
    (copy / "report/figures/clusters.png").write_bytes(b"\x89PNG picture")
    found = quanta.load(copy).plot("clusters")
    assert found._repr_png_() == b"\x89PNG picture" and found.pdf.name == "clusters.pdf"
    assert found.data.equals(quanta.load(copy).figure("clusters"))
    assert "figure clusters: " in repr(found) and "a figure of the report: clusters, emergence" in repr(
        quanta.load(copy)
    )
    with pytest.raises(QuantaError, match="write clusters"):
        quanta.load(copy).plot("cluster")


@pytest.mark.parametrize("name", EVERY)
def test_every_result_is_a_documented_file(name):
    text = (ROOT / "results/README.md").read_text(encoding="utf-8")
    assert EVERY[name].path in text, EVERY[name].path


def test_the_notebook_is_committed_without_output():
    notebook = json.loads((ROOT / "docs/notebook/results.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])


def test_an_installed_quanta_is_this_one(tmp_path):
    """`pip install --no-deps -e .`, as the notebook says; the wheel holds the path to the library."""
    setuptools = pytest.importorskip("setuptools", "77", reason="pip would fetch setuptools")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, tmp_path)
    shutil.copytree(
        ROOT / "workflow/quanta", tmp_path / "workflow/quanta", ignore=shutil.ignore_patterns("__pycache__")
    )
    code = "import sys; from setuptools import build_meta; print(build_meta.build_editable(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, (setuptools.__version__, done.stderr)
    wheel = zipfile.ZipFile(tmp_path / done.stdout.strip().split("\n")[-1])
    paths = [wheel.read(name).decode().strip() for name in wheel.namelist() if name.endswith(".pth")]
    assert paths
    site = tmp_path / "site"
    wheel.extractall(site)
    code = f"import site; site.addsitedir({str(site)!r}); import quanta; print(quanta.__file__, quanta.load.__name__)"
    assert python(code, PYTHONPATH="") == f"{tmp_path}/workflow/quanta/__init__.py load\n"
