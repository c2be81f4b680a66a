# Quanta: clusters of tokens that a language model handles alike, their law, and when they are learned.
# The paper's pipeline in its order; each stage is one file in rules/, named as its package in workflow/quanta/.

import sys

from snakemake.utils import min_version

min_version("9.20")
sys.path.insert(0, f"{workflow.basedir}/workflow")


configfile: "config/config.yaml"


# `--resources gpu=2` bounds the jobs of one machine, and not those of a cluster
resource_scopes:
    gpu="local",


include: "rules/run.smk"
include: "rules/corpus.smk"
include: "rules/models.smk"
include: "rules/losses.smk"
include: "rules/scaling.smk"
include: "rules/gradients.smk"
include: "rules/affinity.smk"
include: "rules/clustering.smk"
include: "rules/calibration.smk"
include: "rules/rank_frequency.smk"
include: "rules/validation.smk"
include: "rules/catalogue.smk"
include: "rules/second.smk"
include: "rules/interventions.smk"
include: "rules/theory.smk"
include: "rules/parity.smk"
include: "rules/known_skills.smk"
include: "rules/figures.smk"
include: "rules/report.smk"


every_rule.complete(workflow.rules, Path(workflow.basedir) / "rules")
TARGETS = [rules.page.output.page, rules.summary.output.summary, *figures.files("png", "pdf", "csv")]


rule all:
    default_target: True
    input:
        page=rules.page.output.page,
        summary=rules.summary.output.summary,
        figures=figures.files("png", "pdf", "csv"),
        tables=plan.further_tables(),
        promised=plan.promised(),
        behind=every_rule.tables_behind(workflow.rules, TARGETS, but=f"{R}/models/{{"),
    localrule: True
    message:
        "The run {config[run]} is complete"


# only the sparse-parity part: `snakemake --cores 2 parity`
rule parity:
    input:
        rules.parity_fits.output,
        scores=parity.tables("qdg", "scores.csv"),
        figures=figures.files("png", of="parity"),
    localrule: True
    message:
        "Sparse parity is complete"


# the benchmark on known skills alone: `snakemake --cores 2 known_skills`
rule known_skills:
    input:
        rules.known_skills_scores.output,
        figures=figures.files("png", of="known_skills"),
    localrule: True
    message:
        "All of the known skills is there"


onstart:
    start()


onsuccess:
    print(closing.done(Path(R)), file=sys.stderr)


onerror:
    print(closing.last_words(log), end="", file=sys.stderr)
