"""What a settled configuration comes to: members, files, jobs that share work, and what jobs ask for."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from gguf_files import small_llama, write_gguf
from quanta.config import costs, demands, requests, schema
from quanta.config.parity_plan import ParityPlan
from quanta.config.plan import LOSSES_JOBS, Plan, canonical
from quanta.config.requests import Requests
from quanta.errors import QuantaError
from quanta.interventions import direction
from support import OVER_PYTHIA, ROOT, SCHEMA, over_default, read, settled


@pytest.fixture(scope="module")
def default():
    return Plan(schema.settle(read("config.yaml"), SCHEMA))


@pytest.fixture(scope="module")
def pythia():
    return Plan(schema.settle(over_default(read("pythia.yaml")), SCHEMA))


def plan_of(name, **changes):
    return Plan(schema.settle(over_default(read(name) | changes), SCHEMA))


def test_the_members_of_the_default_run_are_its_sizes_seeds_and_steps(default):
    assert default.folder == "results/mini" and default.source == "folder"
    assert len(default.members) == 40 and default.first_seed() == [m for m in default.models if "seed" not in m]
    steps = [step for model, step in default.members if model == default.dynamics]
    assert len(steps) > 10 and steps[-1] == default.final
    assert default.on_axis("size") == [(model, default.final) for model in default.first_seed()]
    assert default.losses([("a", 3)]) == ["results/mini/losses/a/step3.npy"]
    assert {name for name, _ in default.learning_axes()} == {*(f"step of {m}" for m in default.followed), "size"}
    assert len(default.learning_members()) == len(set(default.learning_members()))


def test_every_member_has_its_losses_from_one_job(default, pythia):
    for plan in (default, pythia):
        jobs = plan.losses_jobs
        named = [*jobs.alone, *jobs.parted, *(member for run in jobs.together for member in run)]
        assert sorted(named) == sorted(f"{model}/step{step}" for model, step in plan.members)
        assert len(jobs.together) <= LOSSES_JOBS
    assert default.clustered in default.losses_jobs.alone, "what is clustered waits for no other member"
    assert all(default.shards(member) == 1 for member in default.losses_jobs.alone)
    assert all(pythia.shards(member) > 1 for member in pythia.losses_jobs.parted)


def test_parts_are_named_by_their_number():
    plan = Plan(settled(losses={"shards": 3}, models={"source": "train"}))
    member = f"{plan.models[0]}/step{plan.final}"
    assert plan.losses_parts(member) == [f"{plan.folder}/losses/{member}.part{i}of3.npy" for i in range(3)]
    assert plan.losses_parts_of(SimpleNamespace(member=member)) == plan.losses_parts(member)
    assert member in plan.losses_jobs.parted


def test_without_a_matrix_of_all_pairs_what_needs_one_has_a_sample(default):
    many = plan_of(
        "config.yaml",
        qdg={**read("config.yaml")["qdg"], "graph": "neighbours", "tokens": 50_000, "rank_shares": [1e-3, 4e-3]},
    )
    assert default.held == default.config["qdg"]["tokens"] and default.affinity.endswith("qdg/affinity.npy")
    assert many.held == many.config["calibration"]["tokens"] and many.affinity.endswith("qdg/affinity_sample.npy")
    assert "results/mini/qdg/affinity.npy" in default.promised() and not any("affinity" in p for p in many.promised())


def test_the_second_clustering_has_gradients_of_its_own_where_it_is_of_magnitudes():
    parts = Plan(settled(qdg={"second": "standardised", "shards": 2})).second_parts()
    assert [Path(part).name for part in parts] == ["features.part0of2.npy", "features.part1of2.npy"]
    assert all(Path(part).parent.as_posix().endswith("qdg/second") for part in parts)
    assert Plan(settled(qdg={"second": "magnitudes", "shards": 3})).second_parts()
    for kind in ("absolute", "whitened"):
        plan = Plan(settled(qdg={"second": kind}))
        assert plan.second == kind and plan.second_parts() == []
    assert Plan(settled()).second is None and Plan(settled()).second_parts() == []


def test_how_the_second_clustering_is_assigned_follows_its_kind_or_is_asked_for():
    given = {"method": "kmeans", "seed": 3}
    asked = {
        ("standardised", "auto"): "angular",
        ("attention", "auto"): "neighbours",
        ("attention", "linkage"): "linkage",
        ("whitened", "linkage"): "linkage",
    }
    for (kind, assign), graph in asked.items():
        plan = Plan(settled(qdg={"second": kind, "second_assign": assign}))
        assert plan.second_assignment(given) == given | {"graph": graph}
    assert Plan(settled(qdg={"second": "attention", "shards": 2})).second_parts()


def test_without_a_matrix_of_all_pairs_the_second_clustering_is_left_out_and_that_is_told():
    plan = Plan(settled(qdg={"second": "standardised", "graph": "neighbours", "tokens": 3000}))
    assert plan.second is None and any("second clustering" in line for line in plan.left_out())
    assert not any("second clustering" in line for line in Plan(settled()).left_out())


def test_a_rule_of_the_first_clustering_reads_and_makes_the_second_s_files():
    plan = Plan(settled())
    first, second = f"{plan.folder}/qdg", f"{plan.folder}/qdg/second"
    given = {
        "affinity": f"{first}/affinity.npy",
        "selection": f"{first}/tokens.parquet",
        "many": [f"{first}/labels.parquet", f"{plan.folder}/labels.parquet"],
    }
    assert plan.of_second(given) == {
        "affinity": f"{second}/affinity.npy",
        "selection": f"{first}/tokens.parquet",
        "many": [f"{second}/labels.parquet", f"{plan.folder}/labels.parquet"],
    }


def test_params_change_with_their_content_alone(default):
    assert canonical({"b": 1, "a": 2}) == canonical({"a": 2, "b": 1}) == '{"a": 2, "b": 1}'
    looks = [Plan(settled(figures={"dpi": dpi}, models={"source": "train"})).look() for dpi in (80, 80, 90)]
    assert looks[0] == looks[1] != looks[2]
    assert json.loads(default.members_on_axis(SimpleNamespace(axis="size"))) == [
        list(m) for m in default.on_axis("size")
    ]
    assert set(default.assignment()) == {"method", "rows", "restarts"}


def test_models_that_are_not_trained_here_bring_tokenizer_and_curves(default):
    trained = Plan(settled(models={"source": "train"}))
    assert trained.tokenizer_given() == trained.tokenizers_compared() == []
    assert default.tokenizer_given() == [f"results/mini/models/{default.models[0]}/step{default.final}"]
    assert trained.curves(["a"]) == [f"{trained.folder}/models/a/curve.csv"]
    assert len(default.curves(default.first_seed())) == len(default.first_seed())


def test_jobs_ask_for_more_with_each_attempt_and_by_the_factors():
    plain, wide = (
        Requests(Plan(settled(models={"source": "train"}, resources={"memory_factor": f, "runtime_factor": 2 * f})))
        for f in (1, 3)
    )
    for request, factor in ((plain, 1), (wide, 3)):
        assert [request.megabytes(1000)(None, attempt) for attempt in (1, 2)] == [1000 * factor, 2000 * factor]
        assert request.minutes(10)(None, 1) == 20 * factor


def test_what_a_job_asks_for_follows_the_model_that_the_wildcards_name(pythia):
    needs = Requests(pythia)
    small, large = pythia.models[0], pythia.models[-1]
    for resource in (needs.losses_mb(unknown=1, least=1), needs.losses_minutes(unknown=1, least=1)):
        asked = [resource(SimpleNamespace(member=f"{model}/step{pythia.final}"), 1) for model in (small, large)]
        assert 1 < asked[0] < asked[1]
    gradients = needs.gradients_minutes(unknown=1, least=1)
    whole, part = gradients(SimpleNamespace(), 1), gradients(SimpleNamespace(shard="0", shards="10"), 1)
    assert 1 < part < whole, "of qdg.model, where no model is named"


def test_a_model_of_unknown_size_asks_for_what_the_rule_says(tmp_path):
    for name in "abc":
        (tmp_path / name / "step0").mkdir(parents=True)
    plan = Plan(
        settled(
            models={"source": "folder", "folder": {"path": str(tmp_path), "final_step": 0}},
            dynamics={"model": None},
            qdg={"model": "a"},
        )
    )
    assert plan.models == ["a", "b", "c"] and plan.size("a") is None
    assert Requests(plan).losses_mb(unknown=4321, least=1500)(SimpleNamespace(member="a/step0"), 1) == 4321


def test_the_size_of_a_given_model_is_read_from_the_headers_of_its_weights(tmp_path):
    """So that `auto` makes as many parts as the work is worth, and memory and time follow."""
    rows, width, layers = 49152, 576, 30  # SmolLM2-135M's shape; a header promises data that nobody reads
    shapes = {"model.embed_tokens.weight": [rows, width]}
    for i in range(layers):
        shapes |= {
            f"model.layers.{i}.self_attn.weight": [2 * width, width],
            f"model.layers.{i}.mlp.weight": [8 * width, width],
        }
    entries = {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    header = json.dumps(entries).encode()
    plan = given(tmp_path, "small", qdg={"model": "small"}, corpus={"documents": 3000, "context": 256})
    assert plan.size("small") is None and plan.gradients_shards() == plan.shards("small/step0") == 1
    (tmp_path / "small/model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    known = Plan(plan.config)
    parameters = layers * 10 * width**2
    assert (
        known.size("small") == demands.Size(width, layers, parameters, rows) and known.parameters("small") == parameters
    )
    assert known.gradients_shards() > 4 and known.shards("small/step0") > 4
    assert len(known.features_parts()) == known.gradients_shards()
    needs = Requests(known)
    asked = needs.losses_mb(unknown=1, least=1)(SimpleNamespace(member="small/step0"), 1)
    assert asked > 4 * (parameters + rows * width) / 1e6


def test_taking_a_gguf_file_asks_for_its_weights_in_float32(tmp_path):
    plan = given(tmp_path, "small")
    assert Requests(plan).adopt_mb()(SimpleNamespace(model="small", step="0"), 1) == 200
    (tmp_path / "small/config.json").unlink()
    write_gguf(tmp_path / "small/a.gguf", small_llama())
    assert Requests(Plan(plan.config)).adopt_mb()(SimpleNamespace(model="small", step="0"), 1) >= 1500


def test_gradients_are_probed_before_losses_unless_they_are_known(default, pythia, tmp_path):
    assert default.probed() is None and default.before_losses() == default.tokenizers_compared()
    assert Plan(settled(models={"source": "train"})).before_losses() == []
    assert pythia.probed() in pythia.before_losses(), "what the hub has is not known"
    plan = given(tmp_path, "small")
    assert plan.before_losses() == [f"{plan.folder}/models/tokenizers.json", f"{plan.folder}/models/probe.json"]
    (tmp_path / "small/config.json").write_text('{"model_type": "gpt_neox"}')
    assert plan.probed() is None


def test_members_in_one_job_ask_for_the_largest_memory_and_all_their_time(default):
    needs, together = Requests(default), default.losses_jobs.together[0]
    alone = [
        (needs.losses_mb(unknown=1, least=1)(one, 1), needs.losses_minutes(unknown=1, least=1)(one, 1))
        for one in (SimpleNamespace(member=member) for member in together)
    ]
    asked = needs.losses_mb(unknown=1, least=1, of=together), needs.losses_minutes(unknown=1, least=1, of=together)
    assert asked[0](None, 1) == max(mb for mb, _ in alone)
    assert sum(m for _, m in alone) <= asked[1](None, 1) <= sum(m + 1 for _, m in alone)


def test_parity_has_a_net_for_each_alpha_and_replicate():
    plan = ParityPlan(settled(parity={"alphas": [0.2, 0.4], "alpha": 0.4, "replicates": 3}), "results/x")
    assert plan.shown == "alpha0.4/0" and plan.is_shown(SimpleNamespace(alpha="0.4", replicate="0"))
    assert not plan.is_shown(SimpleNamespace(alpha="0.2", replicate="0"))
    assert len(plan.nets()) == len(plan.tables("fresh", "curves.parquet")) == 6
    assert plan.tables("fresh", "nets.csv")[-1] == "results/x/parity/fresh/alpha0.4/2/nets.csv"
    assert plan.seed(SimpleNamespace(replicate="2")) - plan.seed(SimpleNamespace(replicate="0")) == 2
    assert plan.alpha(SimpleNamespace(alpha="0.2")) == 0.2
    none = ParityPlan(settled(parity={"data": {"sizes": []}}), "results/x")
    assert none.sweeps == ["fresh"] and len(plan.sweep_tables("nets.csv")) == 12


# ------------------------------------------------------------------------------------------- one model, given folders


def given(folder, *checkpoints, **changes):
    """The plan over a folder of models with these checkpoints, laid over `custom.yaml` as a user does."""
    for name in checkpoints:
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text("{}")
    base = schema.over(over_default(read("custom.yaml")), {"models": {"folder": {"path": str(folder)}}})
    return Plan(schema.settle(schema.over(base, changes), SCHEMA))


def test_one_model_is_a_run_without_anything_over_sizes(tmp_path):
    plan = given(tmp_path, "small")
    assert plan.members == [("small", 0)] and plan.axes == [] and plan.learning_axes() == []
    assert not plan.curves_compared and not plan.emerges
    told = plan.left_out()
    assert len(told) == 5
    for words in (
        "α_N",
        "When clusters are learned",
        "needs 3 checkpoints, and this run has 1",
        "parity.run",
        "known_skills.run",
    ):
        assert any(words in line for line in told), words


def test_one_model_with_steps_has_the_axis_of_steps(tmp_path):
    steps = [f"small/step{step}" for step in (0, 10, 20)]
    plan = given(tmp_path, *steps, dynamics={"model": "small", "steps": [0, 10, 20]})
    assert plan.axes == ["step"] and plan.emerges and plan.curves_compared
    assert [name for name, _ in plan.learning_axes()] == ["step of small"]
    assert not any("learned" in line for line in plan.left_out())


def test_two_models_have_sizes_and_too_few_curves_for_an_affinity(tmp_path):
    plan = given(tmp_path, "small", "large")
    assert plan.axes == ["size"] and not plan.curves_compared
    assert [re.split(" (?:is|are) left out", line)[0] for line in plan.left_out()] == [
        "The affinity from loss curves", "Sparse parity", "Known skills"
    ]  # fmt: skip


def test_nothing_is_left_out_of_the_default_run(default):
    assert default.left_out() == [] and default.axes == ["size", "step"]


def test_the_final_step_is_that_of_the_step_folders(tmp_path):
    assert given(tmp_path / "a", "small").final == 0
    assert given(tmp_path / "b", "small/step1000").final == 1000
    mixed = given(tmp_path / "c", "small", "large/step1000", "large/step2000")
    assert mixed.final == 2000 and mixed.members == [("large", 2000), ("small", 2000)]
    assert (
        given(tmp_path / "d", "small/step1000", "small/step2000", models={"folder": {"final_step": 1000}}).final == 1000
    )


def test_models_that_end_at_different_steps_need_a_word(tmp_path):
    with pytest.raises(QuantaError) as caught:
        given(tmp_path, "large/step1000", "small/step1000", "small/step2000")
    error = caught.value
    assert (
        error.where == "config, key models.folder.final_step" and error.mend == "set it to a step that all of them have"
    )
    assert "large ends at step 1000 and small at step 2000" in error.found


RUNS_PARITY = {"config", "smoke", "known-skills", "parity", "parity-cpu", "parity-steps", "train", "family"}


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.stem)
def test_sparse_parity_runs_where_a_configuration_asks_for_it(path):
    if path.stem == "schema":
        return
    config = over_default(read("pythia.yaml")) if path.stem in OVER_PYTHIA else read("config.yaml")
    plan = ParityPlan(settled(parity=schema.over(config, read(path.name))["parity"]), "results/x")
    assert plan.asked == (path.stem in RUNS_PARITY)
    assert bool(plan.reported()) == plan.asked


def test_a_cluster_is_inserted_into_earlier_steps_else_into_smaller_models():
    config = over_default({})
    plan = Plan(settled(**config))
    assert plan.unlearned()[0] == ("neox-1m", 0) and plan.unlearned()[-1] == ("neox-1m", 6144)
    unfollowed = Plan(settled(**schema.over(config, {"dynamics": {"model": None}})))
    assert unfollowed.unlearned() == [(name, 8192) for name in ("neox-7k", "neox-25k", "neox-150k", "neox-450k")]


def test_params_of_interventions_part_the_settings_between_the_rules():
    plan = Plan(settled(**over_default({})))
    halves, moves, alone = (plan.interventions_of(rule) for rule in ("halves", "interventions", "alone"))
    assert set(halves) & set(moves) == {"clusterings", "show", "earlier"} and set(alone) == {"clusterings", "show"}
    assert set(halves) | set(moves) | {"run", "shards"} >= set(plan.config["interventions"])


def test_a_run_without_interventions_says_so():
    told = Plan(settled(**over_default({"interventions": {"run": False}}))).left_out()
    assert [line.split(" is left out")[0] for line in told] == ["Whether clusters can be removed alone"]


def test_noise_asks_for_memory_of_its_own(pythia):
    def megabytes(draws):
        config = pythia.config | {"interventions": pythia.config["interventions"] | {"noise_draws": draws}}
        return Requests(Plan(config)).interventions_mb(unknown=1, least=1)(SimpleNamespace(shard="0", shards="1"), 1)

    assert 1 < megabytes(0) < megabytes(1) == megabytes(4), "one noise is held at a time"


def test_what_is_asked_for_noise_is_what_noise_holds():
    assert (requests.NOISE_ROWS, requests.NOISE_NUMBERS) == (direction.AT_ONCE, direction.LARGEST)
    written = (ROOT / "workflow/scripts/interventions/interventions.py").read_text(encoding="utf-8")
    assert f"REFERENCE = {costs.REFERENCE} " in written
