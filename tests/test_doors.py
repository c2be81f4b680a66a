"""What others find a project by: citation, catalogue, automation, templates. Each is held to what it speaks of."""

import re
from pathlib import Path

import pytest
import quanta
import yaml

ROOT = Path(__file__).resolve().parent.parent


def read(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_citation_names_software_of_this_version_and_the_paper():
    """The keys that version 1.2.0 of the format requires, and those of a reference."""
    found = read("CITATION.cff")
    assert found["cff-version"] == "1.2.0" and found["type"] == "software"
    assert found["version"] == quanta.__version__ and found["license"] == "MIT"
    assert found["message"] and all("name" in one or "family-names" in one for one in found["authors"])
    (paper,) = found["references"]
    assert paper["title"] == "The Quantization Model of Neural Scaling" and len(paper["authors"]) == 4
    assert paper["type"] == "conference-paper" and "2303.13506" in paper["url"]


def test_automation_runs_what_the_project_runs_itself():
    steps = {
        name: [
            step.get("run", "")
            for job in read(f".github/workflows/{name}.yml")["jobs"].values()
            for step in job["steps"]
        ]
        for name in ("tests", "site")
    }
    assert "bash .ci/run" in steps["tests"] and (ROOT / ".ci/run").is_file()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in (run for runs in steps.values() for run in runs if run.startswith("make ")):
        assert re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE), command


def test_hooks_before_a_commit_are_commands_of_make_lint():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    for hook in repository["hooks"]:
        module = re.search(r"-m (\w+)", hook["entry"])
        if module:
            assert f"-m {module[1]} " in makefile or f"-m {module[1]}\n" in makefile, hook["id"]
        else:
            assert (ROOT / hook["entry"].split()[-2]).is_file(), hook["id"]


@pytest.mark.parametrize(
    "path", sorted(p.name for p in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if p.stem != "config")
)
def test_a_form_has_a_name_and_asks_something(path):
    form = read(f".github/ISSUE_TEMPLATE/{path}")
    assert form["name"] and form["description"]
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_a_report_of_a_defect_asks_for_settings_and_log():
    asked = {field["id"]: field["attributes"] for field in read(".github/ISSUE_TEMPLATE/bug.yml")["body"]}
    assert {"settings", "log", "machine"} <= set(asked)
    assert (ROOT / "CONTRIBUTING.md").is_file()


def test_the_catalogue_of_workflows_finds_what_it_wants():
    usage = read(".snakemake-workflow-catalog.yml")["usage"]
    assert usage["software-stack-deployment"]["conda"] and "--cores" in usage["mandatory-flags"]["flags"]
    for path in ("Snakefile", "config/README.md", "README.md", "LICENSE", "envs/quanta.yaml"):
        assert (ROOT / path).is_file(), path
