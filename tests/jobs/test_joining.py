"""Another number of parts is no other result: Snakemake is told so, and makes nothing anew but what has to be."""

import json
import re
import subprocess

import pytest
from quanta.jobs import rerun_hash
from repository import command, environment
from support import ROOT

SNAKEFILE = """
import sys
from pathlib import Path
sys.path.insert(0, {library!r})
from quanta.jobs import rerun_hash
N, VALUE = config["number"], config.get("value", 1)
PARTS = [f"x.part{{i}}of{{N}}.txt" for i in range(N)]
if workflow.is_main_process:
    rerun_hash.keep_joined(Path(".snakemake/metadata"), "x.txt", PARTS)
rule all:
    default_target: True
    input: "y.txt"
rule part:
    input: "source.txt"
    output: temp("x.part{{i}}of{{n}}.txt")
    params: value=VALUE
    resources: batch_tokens=config.get("batch", 1)
    shell: "echo {{params.value}} > {{output}}"
rule whole:
    input: "source.txt", parts=PARTS
    output: "x.txt"
    params: value=VALUE
    shell: "cat {{input.parts}} > {{output}}"
rule after:
    input: "x.txt"
    output: "y.txt"
    shell: "cp {{input}} {{output}}"
"""


@pytest.mark.workflow
def test_other_parts_and_batches_rerun_nothing_and_other_params_rerun_all(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(library=str(ROOT / "workflow")))
    (tmp_path / "source.txt").touch()

    def jobs(*configuration, dry=True):
        done = subprocess.run(
            command("--cores", "1", *(["--dry-run"] if dry else []), "--config", *configuration),
            cwd=tmp_path, env=environment(), capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        text = done.stdout + done.stderr
        table = text.partition("Job stats:")[2].partition("total")[0]
        return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE) if name != "all"}

    assert jobs("number=2", dry=False) == {"after": 1, "part": 2, "whole": 1}
    assert jobs("number=3", "batch=7") == {}
    assert jobs("number=3", "value=2") == {"after": 1, "part": 3, "whole": 1}
    (tmp_path / "source.txt").write_text("changed")
    assert jobs("number=1") == {"after": 1, "part": 1, "whole": 1}


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", json.dumps({"input": ["a.npy"]})])
def test_a_record_of_something_else_is_left_alone(tmp_path, content):
    path = tmp_path / "eC50eHQ="  # x.txt
    if content is not None:
        path.write_text(content)
    assert not rerun_hash.keep_joined(tmp_path, "x.txt", ["x.part0of1.txt"])
    assert not path.exists() or path.read_text() == content


def test_only_parts_of_the_same_files_are_replaced(tmp_path):
    path = tmp_path / "eC50eHQ="
    path.write_text(json.dumps({"input": ["a.txt", "x.part0of2.npy", "x.part1of2.npy", "z.part0of2.npy"], "rule": "r"}))
    assert rerun_hash.keep_joined(tmp_path, "x.txt", ["x.part0of1.npy"])
    assert json.loads(path.read_text()) == {"input": ["a.txt", "x.part0of1.npy", "z.part0of2.npy"], "rule": "r"}
    assert not rerun_hash.keep_joined(tmp_path, "x.txt", ["x.part0of1.npy"])
