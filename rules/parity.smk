# Needs: nothing but the configuration.
# Makes: parity/ — curves of nets on sparse parity, exponents beside the theory's, QDG held against the true tasks.

PARITY = config["parity"]
PROBLEM = {key: PARITY[key] for key in ("n_tasks", "n_bits", "k")}
TRAINING = {
    key: PARITY[key]
    for key in ("learning_rate", "weight_decay", "precision", "evaluations", "held_out_per_task", "checkpoint_every")
}
ALPHAS = [f"{alpha:g}" for alpha in PARITY["alphas"]]
REPLICATES = [str(number) for number in range(PARITY["replicates"])]


wildcard_constraints:
    alpha="|".join(map(re.escape, ALPHAS)),
    replicate="|".join(REPLICATES),


def parity_seed(wildcards):
    """Each replicate has its own seed, the same for every α: tasks and weights are shared, frequencies are not."""
    return config["seed"] + int(wildcards.replicate)


def parity_tables(kind, name):
    """A table of every α and replicate."""
    return expand(f"{R}/parity/{kind}/alpha{{alpha}}/{{replicate}}/{name}", alpha=ALPHAS, replicate=REPLICATES)


rule parity_fresh:
    output:
        curves=f"{R}/parity/fresh/alpha{{alpha}}/{{replicate}}/curves.parquet",
        nets=f"{R}/parity/fresh/alpha{{alpha}}/{{replicate}}/nets.csv",
        weights=f"{R}/parity/fresh/alpha{{alpha}}/{{replicate}}/widest.npz",
    log:
        f"{R}/logs/parity_fresh/alpha{{alpha}}/{{replicate}}.log",
    benchmark:
        f"{R}/benchmarks/parity_fresh/alpha{{alpha}}/{{replicate}}.tsv"
    threads: 1
    resources:
        mem_mb=megabytes(2000),
        runtime=minutes(600),
        gpu=config["resources"]["gpu"],
    params:
        problem=of(PROBLEM),
        training=of(TRAINING),
        widths=PARITY["widths"],
        steps=PARITY["steps"],
        batch_size=PARITY["batch_size"],
        alpha=lambda wildcards: float(wildcards.alpha),
        seed=parity_seed,
        checkpoint=f"{R}/parity/checkpoints/fresh-alpha{{alpha}}-{{replicate}}.pt",
        code=code("parity_fresh"),
    message:
        "Train nets of all widths on parity, α = {wildcards.alpha}, replicate {wildcards.replicate}"
    script:
        "../workflow/scripts/parity_fresh.py"


rule parity_data:
    output:
        curves=f"{R}/parity/data/alpha{{alpha}}/{{replicate}}/curves.parquet",
        nets=f"{R}/parity/data/alpha{{alpha}}/{{replicate}}/nets.csv",
    log:
        f"{R}/logs/parity_data/alpha{{alpha}}/{{replicate}}.log",
    benchmark:
        f"{R}/benchmarks/parity_data/alpha{{alpha}}/{{replicate}}.tsv"
    threads: 1
    resources:
        mem_mb=megabytes(2000),
        runtime=minutes(600),
        gpu=config["resources"]["gpu"],
    params:
        problem=of(PROBLEM),
        training=of(TRAINING),
        data=of(PARITY["data"]),
        batch_size=PARITY["batch_size"],
        alpha=lambda wildcards: float(wildcards.alpha),
        seed=parity_seed,
        checkpoint=f"{R}/parity/checkpoints/data-alpha{{alpha}}-{{replicate}}",
        code=code("parity_data"),
    message:
        "Train nets on fixed training sets, α = {wildcards.alpha}, replicate {wildcards.replicate}"
    script:
        "../workflow/scripts/parity_data.py"


rule parity_fits:
    input:
        curves=parity_tables("fresh", "curves.parquet") + parity_tables("data", "curves.parquet"),
        nets=parity_tables("fresh", "nets.csv") + parity_tables("data", "nets.csv"),
    output:
        fits=f"{R}/parity/fits.json",
        points=f"{R}/parity/points.csv",
        emergence=f"{R}/parity/emergence.csv",
    log:
        f"{R}/logs/parity_fits.log",
    benchmark:
        f"{R}/benchmarks/parity_fits.tsv"
    threads: 1
    resources:
        mem_mb=megabytes(3000),
        runtime=minutes(30),
        gpu=0,
    params:
        fit=of(PARITY["fit"]),
        seed=config["seed"],
        code=code("parity_fits"),
    message:
        "Fit exponents, convergence and emergence on parity"
    script:
        "../workflow/scripts/parity_fits.py"


rule parity_qdg:
    input:
        weights=rules.parity_fresh.output.weights,
        curves=rules.parity_fresh.output.curves,
        nets=rules.parity_fresh.output.nets,
    output:
        scores=f"{R}/parity/qdg/alpha{{alpha}}/{{replicate}}/scores.csv",
        tasks=f"{R}/parity/qdg/alpha{{alpha}}/{{replicate}}/tasks.csv",
        pairs=f"{R}/parity/qdg/alpha{{alpha}}/{{replicate}}/pairs.csv",
        envelopes=f"{R}/parity/qdg/alpha{{alpha}}/{{replicate}}/envelopes.csv",
    log:
        f"{R}/logs/parity_qdg/alpha{{alpha}}/{{replicate}}.log",
    benchmark:
        f"{R}/benchmarks/parity_qdg/alpha{{alpha}}/{{replicate}}.tsv"
    threads: 1
    resources:
        mem_mb=megabytes(3000),
        runtime=minutes(60),
        gpu=0,
    params:
        problem=of(PROBLEM),
        qdg=of(PARITY["qdg"]),
        shown=lambda wildcards: float(wildcards.alpha) == PARITY["alpha"] and wildcards.replicate == "0",
        alpha=lambda wildcards: float(wildcards.alpha),
        seed=parity_seed,
        code=code("parity_qdg"),
    message:
        "Hold QDG against the true tasks, α = {wildcards.alpha}, replicate {wildcards.replicate}"
    script:
        "../workflow/scripts/parity_qdg.py"


rule parity:
    input:
        rules.parity_fits.output,
        scores=parity_tables("qdg", "scores.csv"),
    localrule: True
