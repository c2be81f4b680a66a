# Needs: labels; the calibrated exponent, for comparison. Makes: qdg/rank_frequency.csv, qdg/fits.json.


rule rank_frequency:
    input:
        labels=rules.labels.output.labels,
        embedding=rules.embedding.output.embedding,
        selection=rules.select.output.tokens,
        offsets=rules.tokens.output.offsets,
        documents=rules.tokens.output.documents,
        calibration=f"{R}/calibration/fits.json",
    output:
        table=f"{R}/qdg/rank_frequency.csv",
        fits=f"{R}/qdg/fits.json",
    log:
        f"{R}/logs/rank_frequency.log",
    benchmark:
        f"{R}/benchmarks/rank_frequency.tsv"
    resources:
        mem_mb=needs.megabytes(1500),
        runtime=needs.minutes(240),
    params:
        **plan.assignment(),
        rank_shares=config["qdg"]["rank_shares"],
        draws=config["qdg"]["bootstrap"],
        show=config["qdg"]["show"],
        seed=config["seed"],
    message:
        "Fit the rank-frequency law of the clusters"
    script:
        "../workflow/scripts/rank_frequency/rank_frequency.py"
