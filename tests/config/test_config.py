import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from quanta.config import checks, schema
from quanta.config import members as settings
from quanta.errors import QuantaError
from quanta.models import neox_shape, weights
from support import OVER_PYTHIA, ROOT, SCHEMA, read, settled


def entries(schema=SCHEMA, name=""):
    """Every key of the schema with its entry, sections too."""
    for key, entry in schema["properties"].items():
        full = f"{name}.{key}" if name else key
        yield full, entry
        if entry.get("type") == "object":
            yield from entries(entry, full)


@pytest.mark.parametrize("name", ["config", "pythia", "smoke", "train", "family", "hub-example", *sorted(OVER_PYTHIA)])
def test_the_configurations_settle_over_the_default(name):
    base = schema.over(read("config.yaml"), read("pythia.yaml")) if name in OVER_PYTHIA else read("config.yaml")
    found = schema.settle(schema.over(base, read(f"{name}.yaml")), SCHEMA)
    assert set(found) == set(SCHEMA["properties"])
    assert found["qdg"]["model"] in settings.model_names(found)
    if found["dynamics"]["model"]:
        assert settings.saved_steps(found, found["dynamics"]["model"])[-1] == settings.final_step(found)
    if name in OVER_PYTHIA:
        assert found["run"] == name, "runs of several families lie side by side"


def test_pythia_is_the_papers_setting():
    found = schema.settle(schema.over(read("config.yaml"), read("pythia.yaml")), SCHEMA)
    names = settings.model_names(found)
    assert len(names) == 7 and names[0] == "pythia-70m-v0" and found["scaling"]["leave_out"] == [names[-1]]
    assert settings.final_step(found) == 143_000
    corpus, qdg = found["corpus"], found["qdg"]
    assert (corpus["documents"], corpus["context"], corpus["pieces"], corpus["take"]) == (
        200_000,
        1024,
        "first",
        "first",
    )
    assert (qdg["model"], qdg["threshold"], qdg["tokens"], qdg["show"], qdg["restarts"]) == (
        names[0],
        0.1,
        10_000,
        400,
        30,
    )
    published = [*range(10, 101, 10), *range(125, 301, 25), 350, *range(400, 1101, 100)]
    assert qdg["n_clusters"] == published


# what the paper states of its method, as far as one machine can follow it, and what CPUs are spared
DEFAULTS = {
    "seed": 0, "qdg.threshold": 0.1, "qdg.induction": "drop", "qdg.rank_shares": [0.01, 0.1], "qdg.restarts": 30,
    "scaling.monogenic_above_nats": 5.0, "scaling.monogenic_below_nats": 0.3, "scaling.density_bins": 3000, "parity.k": 3,
}  # fmt: skip


def test_an_empty_configuration_is_whole_and_has_the_papers_thresholds():
    """Every key has a value, none of them shared with the schema or another settled configuration."""
    found = settled()

    def at(config, key):
        for part in key.split("."):
            config = config[part]
        return config

    for key, _ in entries():
        at(found, key)
    assert {key: at(found, key) for key in DEFAULTS} == DEFAULTS
    found["qdg"]["n_clusters"].append(999)
    found["models"]["train"]["sizes"][0]["width"] = 1
    assert settled()["qdg"]["n_clusters"][-1] == 250 and settled()["models"]["train"]["sizes"][0]["width"] == 16


@pytest.mark.parametrize(
    "changes",
    [
        {"calibration": {"simulations": 200, "held_out": 100}},
        {"qdg": {"rank_shares": [0.1245, 0.5]}},  # ranks 249 and 250 have a cluster
        {"parity": {"alphas": [0.4, 0.123456, 1, 1e-7]}},
    ],
)
def test_what_is_just_possible_is_taken(changes):
    settled(**changes)


def test_the_schema_is_one_and_its_defaults_are_valid():
    Draft202012Validator.check_schema(SCHEMA)
    for key, entry in entries():
        assert list(Draft202012Validator(entry).iter_errors(entry["default"])) == [], key


def test_every_key_has_a_description_and_a_default_and_no_section_takes_unknown_keys():
    for key, entry in entries():
        assert entry.get("description", "").strip(), key
        assert "default" in entry, key
        if entry.get("type") == "object":
            assert entry["additionalProperties"] is False, key


def test_the_description_names_every_key_with_its_default():
    text = (ROOT / "config/README.md").read_text(encoding="utf-8")
    for key, entry in entries():
        if entry.get("type") == "object":
            assert f"## `{key}`" in text
        else:
            assert f"| `{key}` |" in text and entry["description"].replace("|", "\\|") in text, key


def test_settling_is_stable_and_orders_keys():
    found = settled(qdg={"tokens": 500, "model": "neox-150k"}, seed=3)
    assert list(found) == list(SCHEMA["properties"])
    assert list(found["qdg"]) == list(SCHEMA["properties"]["qdg"]["properties"])
    again = schema.settle(found, SCHEMA)
    assert json.dumps(again) == json.dumps(found)
    given_backwards = settled(seed=3, qdg={"model": "neox-150k", "tokens": 500})
    assert json.dumps(given_backwards) == json.dumps(found)


def test_settling_leaves_the_given_configuration_as_it_was():
    given = {"qdg": {"tokens": 500}}
    schema.settle(given, SCHEMA)
    assert given == {"qdg": {"tokens": 500}}


@examples(max_examples=50)
@given(key=st.sampled_from([k for k, e in entries() if e.get("type") != "object"]), cut=st.integers(0, 30))
def test_a_misspelt_key_is_answered_with_the_right_one(key, cut):
    """One letter left out, anywhere in the configuration."""
    *sections, name = key.split(".")
    cut %= len(name)
    wrong = name[:cut] + name[cut + 1 :]
    known = SCHEMA
    for section in sections:
        known = known["properties"][section]
    if wrong in known["properties"] or len(name) < 4:
        return
    config = {wrong: 1}
    for section in reversed(sections):
        config = {section: config}
    with pytest.raises(QuantaError) as caught:
        schema.settle(config, SCHEMA)
    error = caught.value
    assert error.where == f"config, key {'.'.join([*sections, wrong])}"
    assert error.found == "unknown key" and name in error.expected
    assert error.mend == f"write {name!r}"


@examples(max_examples=50)
@given(key=st.sampled_from([k for k, e in entries()]))
def test_a_value_of_a_wrong_type_is_named_with_its_key(key):
    config = {"neither": "text", "nor": "number"}
    if dict(entries())[key].get("type") == "object":
        config = [1]
    for section in reversed(key.split(".")):
        config = {section: config}
    with pytest.raises(QuantaError) as caught:
        schema.settle(config, SCHEMA)
    error = caught.value
    assert error.where == f"config, key {key}" and error.expected and error.mend


# (changes, key that must be named, what must be found in the message, what the mend must say)
REFUSED = [
    ({"qdg": {"n_clusters": []}}, "qdg.n_clusters", "at least 1 entries", "change the value"),
    ({"qdg": {"n_clusters": [10, 30, 20, 100]}}, "qdg.n_clusters", "rising", "write [10, 20, 30, 100]"),
    ({"qdg": {"n_clusters": [10, 10, 100]}}, "qdg.n_clusters", "each once", "write [10, 100]"),
    ({"qdg": {"n_clusters": [1, 100]}}, "qdg.n_clusters.0", "at least 2", "change the value"),
    ({"qdg": {"tokens": 250}}, "qdg.n_clusters", "250 clusters of 250 tokens", "raise qdg.tokens"),
    ({"qdg": {"tokens": 90}}, "qdg.n_clusters", "250 clusters of 90 tokens", "raise qdg.tokens"),
    ({"qdg": {"model": "neox-450"}}, "qdg.model", "'neox-450'", "write 'neox-450k'"),
    ({"qdg": {"model": "gpt2"}}, "qdg.model", "a model of the family: neox-7k", "choose one of them"),
    ({"qdg": {"show": 15}}, "qdg.show", "one of qdg.n_clusters", "choose one"),
    ({"qdg": {"second": "whitened", "mode": "exact"}}, "qdg.second", "whitened of exact gradients", "qdg.mode to sketch"),
    ({"qdg": {"graph": "neighbours", "mode": "exact"}}, "qdg.graph", "exact gradients", "set qdg.mode to sketch"),
    ({"qdg": {"graph": "neighbours", "neighbours": 2000}}, "qdg.neighbours", "2000 of 2000 tokens", "lower it"),
    ({"qdg": {"graph": "neighbours", "tokens": 251}}, "qdg.n_clusters", "at most N − 2", "take the large numbers out"),
    ({"qdg": {"graph": "neighbours"}, "calibration": {"tokens": 100}}, "qdg.show", "a sample of 100", "raise calibration"),
    ({"qdg": {"lineage": ["neox-15k"]}}, "qdg.lineage.0", "'neox-15k'", "write"),
    ({"qdg": {"lineage": ["neox-150k", "neox-450k"]}}, "qdg.lineage.1", "'neox-450k'", "choose another"),
    ({"qdg": {"lineage": ["neox-150k/3"]}}, "qdg.lineage.0", "'neox-150k/3'", "dynamics.steps"),
    ({"qdg": {"lineage": ["neox-150k/"]}}, "qdg.lineage.0", "matches", "change"),
    ({"qdg": {"rank_shares": [0.2, 0.1]}}, "qdg.rank_shares", "[0.2, 0.1]", "swap"),
    ({"qdg": {"rank_shares": [0.1]}}, "qdg.rank_shares", "at least 2 entries", "change"),
    ({"qdg": {"rank_shares": [0.125, 0.5]}}, "qdg.rank_shares", "ranks 250 to 1000 of 2000 tokens", "add larger numbers"),
    ({"qdg": {"rank_shares": [0.01, 0.0101]}}, "qdg.rank_shares", "at least two ranks", "lower the shares"),
    ({"qdg": {"features": 1024}}, "qdg.features", "1024", "write 1025"),
    ({"calibration": {"simulations": 200, "held_out": 101}}, "calibration.held_out", "101 of 200", "to 201"),
    ({"parity": {"alphas": [0.4, 0.1234567]}}, "parity.alphas.1", "at most six digits", "write 0.123457"),
    ({"qdg": {"threshold": 0}}, "qdg.threshold", "more than 0", "change"),
    ({"qdg": {"threshold": "0.1"}}, "qdg.threshold", "'0.1'", "--configfile"),
    ({"qdg": {"mode": "sketchy"}}, "qdg.mode", "['sketch', 'exact']", "change"),
    ({"qdg": {"tokens": True}}, "qdg.tokens", "True", "change"),
    ({"dynamics": {"model": "neox-2m"}}, "dynamics.model", "'neox-2m'", "write"),
    ({"dynamics": {"steps": [8, 4, 2048]}}, "dynamics.steps", "rising steps", "sort them"),
    ({"dynamics": {"steps": [8, 64]}}, "dynamics.steps", "end at the final one, 2048", "end with 2048"),
    ({"dynamics": {"steps": []}}, "dynamics.steps", "rising steps", "2048"),
    ({"scaling": {"leave_out": ["neox-8k"]}}, "scaling.leave_out.0", "'neox-8k'", "write 'neox-7k'"),
    (
        {"scaling": {"leave_out": ["neox-7k", "neox-25k", "neox-150k", "neox-450k"]}},
        "scaling.leave_out", "1 models are left", "leave out fewer",
    ),
    ({"corpus": {"python": {"distributions": []}}}, "corpus.python.distributions", "at least 1 entries", "change"),
    ({"corpus": {"source": "jsonl"}}, "corpus.jsonl.path", "not set", "set it"),
    ({"corpus": {"heldout_share": 1}}, "corpus.heldout_share", "between 0 and 1", "0.05"),
    ({"corpus": {"tokenizer": {"vocabulary": 100}}}, "corpus.tokenizer.vocabulary", "at least 257", "change"),
    ({"models": {"source": "hub"}}, "models.hub.members", "an empty list", "list them"),
    ({"models": {"source": "folder"}}, "models.folder.path", "not set", "set it"),
    ({"models": {"source": "folder", "folder": {"path": "/no/such"}}}, "models.folder.path", "/no/such", "existing folder"),
    ({"losses": {"shards": "many"}}, "losses.shards", "^auto$", "change"),
    ({"run": "../elsewhere"}, "run", "a text that matches", "change"),
    ({"run": ""}, "run", "a text that matches", "change"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "key", "found", "mend"), REFUSED, ids=[f"{i}-{r[1]}" for i, r in enumerate(REFUSED)]
)
def test_bad_values_are_refused_with_key_expectation_and_mend(changes, key, found, mend):
    with pytest.raises(QuantaError) as caught:
        settled(**changes)
    error = caught.value
    assert error.where == f"config, key {key}"
    assert found in f"{error.found} {error.expected}"
    assert mend in error.mend


def sizes(**change):
    size = {"name": "a", "width": 16, "layers": 1, "heads": 2, "learning_rate": 0.01}
    return {"models": {"train": {"sizes": [size, {**size, "name": "b", **change}]}}, "qdg": {"model": "a"}}


@pytest.mark.parametrize(
    ("change", "key", "found"),
    [
        ({"name": "a"}, "models", "'a' twice"),
        ({"width": 20, "heads": 4}, "models.train.sizes.1", "width 20 with 4 heads"),
        ({"depth": 3}, "models.train.sizes.1.depth", "unknown key"),
        ({"learning_rate": -1}, "models.train.sizes.1.learning_rate", "more than 0"),
    ],
)
def test_a_bad_size_of_the_ladder_is_named_by_its_place(change, key, found):
    with pytest.raises(QuantaError) as caught:
        settled(**sizes(**change), dynamics={"model": "a"})
    assert caught.value.where == f"config, key {key}"
    assert found in f"{caught.value.found} {caught.value.expected}"


def test_a_folder_of_models_names_the_family(tmp_path):
    """Folders of models, whole or not: not the tokenizer that adopt.py lets them share, nor others beside them."""
    for name in ("b-large", "a-small/step10", ".hidden", "tokenizer", "notes", "c-no-configuration"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("b-large/config.json", "c-no-configuration/model.safetensors", ".hidden/config.json"):
        (tmp_path / name).write_text("{}")
    for name in ("tokenizer/tokenizer.json", "tokenizer/config.json", "notes/step by step.txt", "README"):
        (tmp_path / name).write_text("no model")
    models = {"source": "folder", "folder": {"path": str(tmp_path), "final_step": 10}}
    found = settled(models=models, qdg={"model": "a-small"}, dynamics={"model": None})
    assert settings.model_names(found) == ["a-small", "b-large", "c-no-configuration"]
    assert settings.saved_steps(found, "b-large") == [10]


def one_model(path):
    models = {"source": "folder", "folder": {"path": str(path)}}
    with pytest.raises(QuantaError, match=r"models\.folder\.path: .* is the folder of one model") as caught:
        settled(models=models, qdg={"model": "mine"}, dynamics={"model": None})
    return caught.value.mend


def test_a_models_own_folder_in_place_of_the_one_above_it_is_said_with_what_to_write(tmp_path):
    """Most people have one checkpoint and give its path."""
    own, steps = tmp_path / "here/mine", tmp_path / "there/large"
    for folder in (own, steps / "step1000", steps / "step2000"):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    assert one_model(own) == f"set it to {own.parent}, and qdg.model to mine"
    assert one_model(steps) == f"set it to {steps.parent}, and qdg.model to large"
    (own.parent / "other").mkdir()
    (own.parent / "other/model.safetensors").write_bytes(b"")
    linked = f"mkdir checkpoints && ln -s {own} checkpoints/mine, set it to checkpoints, and qdg.model to mine"
    assert one_model(own) == linked, "another model is in the folder above it"
    assert one_model(steps / "step1000").endswith("qdg.model to model"), "a step is no name of a model"


def test_a_tilde_is_the_home_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    found = settled(corpus={"jsonl": {"path": "~/texts"}}, figures={"labels": "~/labels.csv"})
    assert found["corpus"]["jsonl"]["path"] == f"{tmp_path}/texts"
    assert found["figures"]["labels"] == f"{tmp_path}/labels.csv"


# ------------------------------------------------------------------------------------------- a folder with a table


def given_family(folder: Path, rows: str) -> dict[str, Any]:
    for name in ("big", "small", "small-seed1", "tokenizer"):
        (folder / name).mkdir(parents=True)
    (folder / "family.csv").write_text("model,step,seed,sha256\n" + rows)
    models = {"source": "folder", "folder": {"path": str(folder), "final_step": 20}}
    return {"models": models, "dynamics": {"model": "big", "steps": [5, 20]}, "qdg": {"model": "big"}}


def test_the_table_of_a_given_folder_says_order_seeds_and_hashes(tmp_path):
    rows = "small,20,0,aa\nsmall-seed1,20,1,bb\nbig,5,0,cc\nbig,20,0,dd\n"
    found = schema.settle(given_family(tmp_path / "family", rows), SCHEMA)
    assert settings.model_names(found) == ["small", "small-seed1", "big"]  # and no model called tokenizer
    assert [settings.described(found, name, 20)["seed"] for name in settings.model_names(found)] == [0, 1, 0]
    assert settings.expected_hash(found, "big", 5) == "cc"
    assert settings.expected_hash(found, "big", 6) is None


def test_a_given_table_without_hashes_is_refused(tmp_path):
    with pytest.raises(QuantaError, match=r"family\.csv"):
        schema.settle(given_family(tmp_path / "family", "small,20,0,\n"), SCHEMA)


@pytest.mark.parametrize(
    "row", ["../../../x,20,0,aa", "/etc,20,0,aa", ".hidden,20,0,aa", "a b,20,0,aa", "big,../5,0,aa"]
)
def test_a_given_table_cannot_lead_out_of_the_run(tmp_path, row):
    """Names become output folders, which Snakemake removes when a job fails."""
    with pytest.raises(QuantaError, match=r"family\.csv: model '[^']*' at step '[^']*'"):
        schema.settle(given_family(tmp_path / "family", f"big,20,0,dd\n{row}\n"), SCHEMA)


def test_names_that_differ_in_case_alone_are_refused(tmp_path):
    """They are one folder on macOS and Windows."""
    with pytest.raises(QuantaError, match="differ in more than case"):
        schema.settle(given_family(tmp_path / "family", "big,20,0,aa\nBig,20,1,bb\n"), SCHEMA)


def test_a_given_checkpoint_that_is_changed_in_place_is_another(tmp_path):
    """Weights of the same length too: what `adopt` has as a param."""
    for name in ("small/step5/config.json", "small/step5/model.safetensors", "tokenizer/tokenizer.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    seen = [weights.files_given(tmp_path / "small", 5, only_step=5)]
    assert [name for name, _, _ in seen[0]] == [
        "small/step5/config.json", "small/step5/model.safetensors", "tokenizer/tokenizer.json",
    ]  # fmt: skip
    (tmp_path / "small/step5/README.md").write_text("no part of it")
    assert weights.files_given(tmp_path / "small", 5, only_step=5) == seen[0]
    for name in ("small/step5/model.safetensors", "tokenizer/tokenizer.json"):
        (tmp_path / name).write_text("two")
        os.utime(tmp_path / name, ns=(len(seen), len(seen)))
        seen.append(weights.files_given(tmp_path / "small", 5, only_step=5))
        assert seen[-1] != seen[-2]
    assert weights.files_given(tmp_path / "small", 6, only_step=6) == []


# ------------------------------------------------------------------------------------------------ learning rates


def test_learning_rates_follow_the_rule_and_a_size_may_have_its_own():
    sizes = [
        {"name": "a", "width": 16, "layers": 2, "heads": 2},
        {"name": "b", "width": 64, "layers": 3, "heads": 4},
        {"name": "c", "width": 64, "layers": 3, "heads": 4, "learning_rate": 0.5, "seed": 2},
    ]
    train = {"sizes": sizes, "rate_at_100k": 0.01, "rate_exponent": -0.5}
    given = {"models": {"source": "train", "train": train}, "dynamics": {"model": None}, "qdg": {"model": "a"}}
    found = schema.settle(given, SCHEMA)
    assert [neox_shape.parameters(size) for size in sizes[:2]] == [6592, 150080]
    rates = [settings.trained(found, name)["learning_rate"] for name in "abc"]
    assert rates[0] / rates[1] == pytest.approx((6592 / 150080) ** -0.5, rel=0.01)
    assert rates[2] == 0.5 and settings.trained(found, "c")["seed"] == 2
    assert settings.described(found, "c", settings.final_step(found))["seed"] == 2


def test_steps_of_further_models_are_evaluated():
    dynamics = {"model": "neox-150k", "further": ["neox-7k"], "steps": [8, 2048]}
    found = schema.settle({"dynamics": dynamics}, SCHEMA)
    assert settings.followed(found) == ["neox-150k", "neox-7k"]
    assert settings.saved_steps(found, "neox-7k") == [8, 2048]
    assert settings.saved_steps(found, "neox-25k") == [2048]
    with pytest.raises(QuantaError, match=r"dynamics\.further\.0"):
        schema.settle({"dynamics": {"further": ["neox-8k"]}}, SCHEMA)


def test_the_settings_for_many_tokens_that_the_documentation_shows_are_taken():
    text = (ROOT / "docs/many-tokens.md").read_text(encoding="utf-8")
    found = schema.settle(yaml.safe_load(text.split("```yaml\n")[1].split("```")[0]), SCHEMA)
    assert found["qdg"]["graph"] == "neighbours"


@pytest.mark.parametrize("name", ["a{model}.jsonl", "{", "x}"])
def test_a_name_that_snakemake_would_take_for_a_wildcard_is_refused(name):
    config = settled(corpus={"jsonl": {"path": name}})
    with pytest.raises(QuantaError, match=r"corpus\.jsonl\.path"):
        checks.check_names(config)
    checks.check_names(settled(corpus={"jsonl": {"path": "any $(name) 'at' all"}}))


@pytest.mark.parametrize(
    "content", [b"It was a dark night.\n", b"\xef\xbb\xbf\n  Chapter 1", b'"text"\n', b"text\nplain\n"]
)
def test_a_file_of_plain_text_is_refused_while_planning_with_the_ways_to_give_it(tmp_path, content):
    """Before this a dry run planned it, and the job that reads it named a broken line."""
    path = tmp_path / "book.txt"
    path.write_bytes(content)
    with pytest.raises(QuantaError, match=r"corpus\.jsonl\.path: .*book\.txt begins with") as caught:
        settled(corpus={"source": "jsonl", "jsonl": {"path": str(path)}})
    assert "into a folder" in caught.value.mend and "JSON Lines" in caught.value.mend


@pytest.mark.parametrize(
    "content", [b'{"text": "a"}\n', b'\xef\xbb\xbf\n\n{"text": "a"}', b"", b"[1]", '{"a": 1}'.encode("utf-16")]
)
def test_what_the_reader_takes_or_names_itself_is_planned(tmp_path, content):
    for name in ("rows.txt", "rows.jsonl"):
        (tmp_path / name).write_bytes(content)
        settled(corpus={"source": "jsonl", "jsonl": {"path": str(tmp_path / name)}})
    (tmp_path / "rows.jsonl.gz").write_bytes(b"\x1f\x8b")
    for path in (tmp_path, tmp_path / "absent.txt", tmp_path / "rows.jsonl.gz"):
        settled(corpus={"source": "jsonl", "jsonl": {"path": str(path)}})
