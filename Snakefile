# Quanta: how the ability of a family of language models is made of discrete skills.
# The paper's pipeline in its order; each stage is one file in rules/.

import sys

from snakemake.utils import min_version

min_version("9.20")
sys.path.insert(0, f"{workflow.basedir}/workflow")


configfile: "config/config.yaml"


# `--resources gpu=2` bounds the jobs of one machine, and not those of a cluster
resource_scopes:
    gpu="local",


include: "rules/common.smk"
include: "rules/corpus.smk"
include: "rules/models.smk"
include: "rules/losses.smk"
include: "rules/scaling.smk"
include: "rules/qdg.smk"
include: "rules/calibration.smk"
include: "rules/breakdown.smk"
include: "rules/clusters.smk"
include: "rules/theory.smk"
include: "rules/parity.smk"
include: "rules/figures.smk"
include: "rules/report.smk"


rule all:
    default_target: True
    input:
        page=rules.page.output.page,
        summary=rules.summary.output.summary,
        figures=figure_files(),
        tables=further_tables(),
        promised=promised(),
        behind=tables_behind([rules.page.output.page, rules.summary.output.summary, *figure_files()]),
    localrule: True
    message:
        "All of the run {config[run]} is there"


# the room of sparse parity alone: `snakemake --cores 2 parity`
rule parity:
    input:
        rules.parity_fits.output,
        scores=parity_tables("qdg", "scores.csv"),
        figures=[figure(one["name"]) for one in DRAWN["parity"]],
    localrule: True
    message:
        "All of sparse parity is there"


onstart:
    check_surroundings()


onsuccess:
    print(closing_words(), file=sys.stderr)


onerror:
    print(last_words(log), end="", file=sys.stderr)
