import ast
import json
import re
import subprocess
import sys

import pytest
import yaml
from quanta.config.plan import LOSSES_JOBS
from quanta.jobs import rerun_hash
from repository import copy_of_the_repository, environment
from support import ROOT, SCRIPTS

NAMES = sorted(path.relative_to(SCRIPTS).with_suffix("").as_posix() for path in SCRIPTS.rglob("*.py"))
RULES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "rules").glob("*.smk"))}
USED = set(re.findall(r'"\.\./workflow/scripts/([\w/]+)\.py"', "".join(RULES.values())))
DRAWN = {name.replace("/", "/figure_") for name in re.findall(r'figures\.draw\(\s*"([\w/]+)"', RULES["figures.smk"])}


def test_every_script_is_a_rules_and_every_rule_has_its_script():
    assert len(NAMES) >= 26
    assert len(DRAWN) >= 20
    assert set(NAMES) == USED | DRAWN


@pytest.mark.parametrize("name", NAMES)
def test_a_script_is_a_docstring_and_a_main(name):
    tree = ast.parse((SCRIPTS / f"{name}.py").read_text(encoding="utf-8"))
    docstring = ast.get_docstring(tree)
    assert docstring and "Makes:" in docstring
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    main = functions["main"]
    assert [argument.arg for argument in main.args.args] == ["inputs", "outputs", "params"]
    imports_work = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    for node in tree.body[1:-1]:
        constant = isinstance(node, ast.Assign) and not any(isinstance(n, ast.Call) for n in ast.walk(node.value))
        assert isinstance(node, imports_work) or constant, f"line {node.lineno} does work when the script is imported"
    last = tree.body[-1]
    assert isinstance(last, ast.If) and ast.unparse(last.test) == "__name__ == '__main__'"
    assert ast.unparse(last.body[0]) == "run(main, snakemake)"
    imported = {a for n in ast.walk(tree) if isinstance(n, ast.Import) for a in (x.name for x in n.names)}
    assert "snakemake" not in imported and "quanta" not in imported, "the code hash follows `from quanta import …`"


def test_whoever_runs_a_given_model_reads_what_stands_before_each_document():
    """Losses by one context and gradients by another would be refused, or worse, agree by chance."""
    runs = [name for name in NAMES if "pretrained.load(" in (SCRIPTS / f"{name}.py").read_text(encoding="utf-8")]
    runs.remove("models/export")  # of models that were trained here, which have nothing there
    runs.remove("gradients/probe")  # of random tokens
    assert len(runs) == 8
    for name in runs:
        text = (SCRIPTS / f"{name}.py").read_text(encoding="utf-8")
        assert "load_tokens(inputs.tokens, inputs.offsets, inputs.beginning)" in text, name
        rules = [
            rule for file in RULES.values() for rule in re.split(r"\n *(?:use )?rule\b", file) if f"{name}.py" in rule
        ]
        assert rules and all("**contexts" in rule for rule in rules), name


def test_importing_all_scripts_writes_and_computes_nothing(tmp_path):
    code = f"""
import importlib.util, pathlib, sys
sys.path.insert(0, {str(ROOT / "workflow")!r})
before = sorted(pathlib.Path().iterdir())
for path in sorted(pathlib.Path({str(SCRIPTS)!r}).rglob("*.py")):
    spec = importlib.util.spec_from_file_location("s_" + path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert callable(module.main), path
assert sorted(pathlib.Path().iterdir()) == before
"""
    here = tmp_path / "here"
    here.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=here,
        capture_output=True,
        text=True,
        env={"PATH": "", "MPLBACKEND": "agg", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def rules():
    """(rule, its text) of every rule of the pipeline, `use rule … with` and rules written in a loop included."""
    for text in RULES.values():
        parts = re.split(r"^ *(?:rule|use rule \w+ as)( \w+)?(?::| with:)$", text, flags=re.MULTILINE)
        for name, body in zip(parts[1::2], parts[2::2], strict=True):
            yield (name.strip() if name else re.search(r'name:\s+f"(\w+)_\{', body)[1]), body


BASES = dict(re.findall(r"use rule (\w+) as (\w+) with:", "".join(RULES.values())))
BASES = {heir: rule for rule, heir in BASES.items()}


@pytest.mark.parametrize(("name", "text"), list(rules()), ids=[name for name, _ in rules()])
def test_every_rule_declares_what_it_needs_or_has_it_of_the_rule_that_it_is_made_of(name, text):
    assert "output:" in text, f"{name} has no output of its own"
    if name in BASES:
        # files of the base rule are those of other wildcards, or the two rules would write the same ones
        assert "log:" in text or "wildcard_constraints:" in text, f"{name} would write the log of {BASES[name]}"
        text += dict(rules())[BASES[name]]
    for wanted in ("log:", "resources:", "mem_mb=", "runtime=", "message:", "script:"):
        assert wanted in text, f"{name} has no {wanted}"


def test_only_models_and_the_neighbours_of_many_tokens_ask_for_a_gpu():
    asking = {name for name, text in rules() if "gpu=GPU" in text}
    models = {
        "train",
        "losses",
        "probe",
        "gradients",
        "second_statistics",
        "second_gradients",
        "exact_affinity",
        "interventions",
        "untrained",
        "parity_fresh",
        "parity_data",
    }
    assert asking == models | {"losses_together", "neighbours", "relative"}


def test_the_slurm_profile_knows_the_stages_that_ask_for_a_gpu():
    profile = yaml.safe_load((ROOT / "slurm/config.yaml").read_text(encoding="utf-8"))
    asking = {name for name, text in rules() if "gpu=GPU" in text}
    inherits = dict(re.findall(r"use rule (\w+) as (\w+) with:", "".join(RULES.values())))
    asking = asking - {"losses_together"} | {f"losses_together_{number}" for number in range(LOSSES_JOBS)}
    assert set(profile["set-resources"]) == asking | {heir for rule, heir in inherits.items() if rule in asking}
    assert len({id(settings) for settings in profile["set-resources"].values()}) == 1, "one place to set them all"
    assert not (ROOT / "profiles/default").exists(), "it would win over --profile slurm"


def test_only_these_rules_inherit_their_resources():
    inheriting = re.findall(r"use rule \w+ as (\w+) with:", "".join(RULES.values()))
    seconds = [name for name in inheriting if name.startswith("second_")]  # of as many tokens as the first's
    assert sorted(set(inheriting) - set(seconds)) == ["losses_part", "train_dynamics", "training_tokens"]
    assert len(seconds) == 9


ASK = """
import json
print("RULES " + json.dumps([
    [one.name, str(one.script or ""), str(one.conda_env), [one.params[i] for i, name in enumerate(one.params.keys()) if name == "code"]]
    for one in workflow.rules
]))
"""


@pytest.mark.workflow
def test_every_rule_with_a_script_has_the_hash_of_what_it_imports_and_its_environment(tmp_path):
    """Rules written in a loop and those made of another rule too."""
    folder = copy_of_the_repository(tmp_path / "quanta")
    with (folder / "Snakefile").open("a", encoding="utf-8") as snakefile:
        snakefile.write(ASK)
    command = [sys.executable, "-m", "snakemake", "--list"]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=True)
    found = json.loads(re.search(r"RULES (.*)", done.stdout)[1])
    assert len(found) > 50 and {"losses_together_0", "losses_part", "figures_parity"} <= {name for name, *_ in found}
    for name, script, conda, code in found:
        if not script:
            assert name in {"all", "known_skills", "parity"}
            continue
        assert conda.endswith("envs/quanta.yaml") and (folder / "rules" / conda).resolve().is_file(), name
        path = (folder / "rules" / script).resolve()
        assert code == [rerun_hash.code_hash(path, folder / "workflow/quanta")], name


def test_no_file_of_rules_is_long():
    """A stage fits on a few screens, and what all rules have is said once."""
    lengths = {name: len(text.splitlines()) for name, text in RULES.items()}
    assert max(lengths.values()) <= 350 and sum(lengths.values()) <= 2450
    assert not re.search(r"threads: 1$|gpu=0|conda:|code=code", "".join(RULES.values()), re.MULTILINE)
