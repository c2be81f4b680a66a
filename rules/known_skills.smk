# Needs: the nets of the made languages in resources/known_skills; of further languages they are trained here.
# Makes: known_skills/ — scores of affinities and assignments on sets whose skills are known.


rule known_skills_parity:
    output:
        scores=f"{R}/known_skills/parity/{{known}}/scores.csv",
        skills=f"{R}/known_skills/parity/{{known}}/skills.csv",
    log:
        f"{R}/logs/known_skills_parity/{{known}}.log",
    benchmark:
        f"{R}/benchmarks/known_skills_parity/{{known}}.tsv"
    resources:
        mem_mb=needs.megabytes(2000),
        runtime=needs.minutes(60),
    params:
        methods=canonical({key: skills[key] for key in METHODS}),
        parity=canonical({key: value for key, value in skills["parity"].items() if key != "seeds"}),
        known="{known}",
        seed=config["seed"],
    message:
        "Find the known tasks of parity, problem {wildcards.known}"
    script:
        "../workflow/scripts/known_skills/parity.py"


rule known_skills_nets:
    output:
        nets=f"{R}/known_skills/nets/language-{{known}}.npz",
    log:
        f"{R}/logs/known_skills_nets/{{known}}.log",
    benchmark:
        f"{R}/benchmarks/known_skills_nets/{{known}}.tsv"
    resources:
        mem_mb=needs.megabytes(2000),
        runtime=needs.minutes(60),
    params:
        known="{known}",
    message:
        "Train nets on the made language {wildcards.known}"
    script:
        "../workflow/scripts/known_skills/nets.py"


rule known_skills_language:
    input:
        nets=known_skills_nets,
    output:
        scores=f"{R}/known_skills/language/{{known}}/scores.csv",
        skills=f"{R}/known_skills/language/{{known}}/skills.csv",
    log:
        f"{R}/logs/known_skills_language/{{known}}.log",
    benchmark:
        f"{R}/benchmarks/known_skills_language/{{known}}.tsv"
    resources:
        mem_mb=needs.megabytes(4000),
        runtime=needs.minutes(60),
    params:
        methods=canonical({key: skills[key] for key in METHODS}),
        samples_per_skill=skills["samples_per_skill"],
        known="{known}",
        seed=config["seed"],
    message:
        "Find the known skills of the made language {wildcards.known}"
    script:
        "../workflow/scripts/known_skills/language.py"


rule known_skills_scores:
    input:
        scores=known_skills_tables("scores.csv"),
        skills=known_skills_tables("skills.csv"),
    output:
        scores=f"{R}/known_skills/scores.csv",
        skills=f"{R}/known_skills/skills.csv",
    log:
        f"{R}/logs/known_skills_scores.log",
    resources:
        mem_mb=needs.megabytes(500),
        runtime=needs.minutes(5),
    message:
        "Scores on all sets of known skills"
    script:
        "../workflow/scripts/known_skills/scores.py"
