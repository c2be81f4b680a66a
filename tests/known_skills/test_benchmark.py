"""The benchmark scores the truth with 1 and chance with 0, takes new methods, and names what is wrong with them."""

import dataclasses

import numpy as np
import pytest
from quanta.errors import QuantaError
from quanta.known_skills import affinities, assignments, benchmark
from quanta.known_skills.evidence import Evidence, View, equally

GROUPS, EACH, PER_BLOCK = 4, 12, 60


def planted(signs=True, seed=0, disjoint=True):
    """Samples whose gradients lie on weights of their group, with a random sign of the whole."""
    rng = np.random.default_rng(seed)
    skills = np.repeat(np.arange(GROUPS), EACH)
    found = 0.02 * rng.standard_normal((len(skills), GROUPS * PER_BLOCK))
    for i, skill in enumerate(skills):
        where = slice(skill * PER_BLOCK, (skill + 1) * PER_BLOCK) if disjoint else slice(0, PER_BLOCK)
        found[i, where] += rng.standard_normal(PER_BLOCK)
    if signs:
        found *= rng.choice([-1, 1], len(skills))[:, None]
    view = View(
        found.astype(np.float32), rng.standard_normal((len(skills), 8)).astype(np.float32),
        {"all": slice(0, found.shape[1])}, {"all": rng.standard_normal((12, found.shape[1] // 12)).astype(np.float32)},
    )  # fmt: skip
    return Evidence(
        name="planted", skills=skills, views=(view,), untrained=view, curves=rng.random((len(skills), 4)),
        surface={"target": rng.integers(3, size=len(skills))}, context=rng.random((len(skills), 5)),
        skill_names=tuple("abcd"), frequencies=np.full(GROUPS, 1 / GROUPS), earlier=(view,),
    )  # fmt: skip


EVIDENCE = planted()


def test_the_truth_scores_one_and_random_labels_about_zero():
    rng = np.random.default_rng(1)
    skills = np.repeat(np.arange(8), 40)
    assert benchmark.score(7 - skills, skills)["adjusted_rand"] == 1
    assert benchmark.score(7 - skills, skills)["adjusted_mutual_information"] == pytest.approx(1)
    chance = [benchmark.score(rng.permutation(skills), skills) for _ in range(20)]
    for name in ("adjusted_rand", "adjusted_mutual_information"):
        assert abs(np.mean([one[name] for one in chance])) < 0.01


def test_samples_that_are_left_out_do_not_make_a_cluster():
    skills = np.repeat([0, 1], 10)
    labels = np.where(np.arange(20) % 2, skills, assignments.LEFT_OUT)
    found = benchmark.score(labels, skills)
    assert found["left_out"] == 0.5
    assert found["adjusted_rand"] < benchmark.score(skills, skills)["adjusted_rand"]
    assert found["adjusted_rand"] > benchmark.score(np.where(labels < 0, 2, labels), skills)["adjusted_rand"] - 0.2


@pytest.mark.parametrize("way", sorted(assignments.ASSIGNMENTS))
def test_skills_with_weights_of_their_own_are_found_whatever_the_signs(way):
    found = benchmark.table(EVIDENCE, affinities=["√|g|, attention, all nets"], assignments=[way])
    found = found[found["assignment"] == way]
    assert found["adjusted_rand"].item() > 0.95


def test_signs_hide_skills_from_the_cosine_and_not_from_magnitudes():
    """Each sample has a random direction on the weights of its skill: directions tell nothing, places do."""
    names = ["cosine", "√|g|, standardised"]
    found = benchmark.table(EVIDENCE, affinities=names, assignments=["average linkage"]).set_index("affinity")
    assert found.loc["√|g|, standardised", "adjusted_rand"] == 1
    assert found.loc["cosine", "adjusted_rand"] < 0.5


def test_magnitudes_see_nothing_where_skills_share_all_weights():
    found = benchmark.table(planted(disjoint=False), affinities=["√|g|, standardised"], assignments=["average linkage"])
    assert found["adjusted_rand"].max() < 0.2


@pytest.mark.parametrize("name", sorted(affinities.AFFINITIES))
def test_an_affinity_is_blind_to_the_scale_of_a_sample_and_keeps_the_order(name):
    scale = np.random.default_rng(2).uniform(0.1, 10, len(EVIDENCE)).astype(np.float32)
    view = EVIDENCE.views[0]
    scaled = dataclasses.replace(view, gradients=view.gradients * scale[:, None])
    other = dataclasses.replace(EVIDENCE, views=(scaled,), untrained=scaled, earlier=(scaled,))
    first, second = (benchmark.similarity_of(name, evidence) for evidence in (EVIDENCE, other))
    np.testing.assert_allclose(first, second, atol=2e-3)
    order = np.random.default_rng(3).permutation(len(EVIDENCE))
    np.testing.assert_allclose(
        benchmark.similarity_of(name, EVIDENCE.take(order)), first[np.ix_(order, order)], atol=2e-3
    )


def test_a_kronecker_product_undoes_a_mix_of_rows_and_of_columns():
    """Samples G = A Z B with white Z: the preconditioned gradients are as alike as the Z are, up to rotations."""
    rng = np.random.default_rng(4)
    white = rng.standard_normal((3000, 4, 5))
    left, right = np.diag([1, 2, 3, 4]), np.diag([1.0, 2, 3, 2, 1])
    mixed = left @ white @ right
    shape = np.zeros((4, 5), dtype=np.float32)

    def view(rows):
        flat = rows.reshape(len(rows), -1).astype(np.float32)
        return View(flat, flat, {"all": slice(0, 20)}, {"all": shape})

    expected = affinities.cosines_of(white.reshape(len(white), -1))[:200, :200]
    off = ~np.eye(200, dtype=bool)

    def agreement(found):
        return np.corrcoef(found[:200, :200][off], expected[off])[0, 1]

    assert agreement(affinities.kronecker(view(mixed))) > 0.95 > 0.8 > agreement(affinities.signed(view(mixed)))


def test_activation_times_gradient_is_read_off_weights_and_their_gradients():
    """A layer y = W a with the loss c·y: its inputs have a·∂a = a·(Wᵀc) and its outputs y·c, summed over positions."""
    rng = np.random.default_rng(5)
    weight, inputs, into = (rng.standard_normal(s) for s in ((3, 4), (2, 6, 4), (2, 6, 3)))
    gradients = np.einsum("npo,npi->noi", into, inputs).reshape(2, 12).astype(np.float32)
    view = View(gradients, gradients, {"w": slice(0, 12)}, {"w": weight.astype(np.float32)})
    reads = (inputs * (into @ weight)).sum(axis=1)
    writes = (into * (inputs @ weight.T)).sum(axis=1)
    np.testing.assert_allclose(affinities.contributions(view), np.concatenate([reads, writes], axis=1), rtol=1e-4)


def test_checkpoints_count_as_much_as_the_last_step():
    other = dataclasses.replace(EVIDENCE.views[0], gradients=EVIDENCE.views[0].gradients[::-1].copy())
    evidence = dataclasses.replace(EVIDENCE, earlier=(other, other))
    own, theirs = affinities.signed(EVIDENCE.views[0]), affinities.signed(other)
    np.testing.assert_allclose(
        benchmark.similarity_of("cosine, checkpoints", evidence), (own + 2 * theirs) / 3, atol=1e-5
    )
    assert affinities.needs_checkpoints([]) and affinities.needs_checkpoints(["cosine, checkpoints"])
    assert not affinities.needs_checkpoints(["cosine"])


def test_an_affinity_that_lacks_its_evidence_says_so():
    bare = dataclasses.replace(EVIDENCE, earlier=(), views=(dataclasses.replace(EVIDENCE.views[0], weights={}),))
    with pytest.raises(QuantaError, match="no gradients at earlier steps"):
        benchmark.table(bare, affinities=["cosine, checkpoints"])
    with pytest.raises(QuantaError, match="no weights"):
        benchmark.table(bare, affinities=["Kronecker"])


def test_a_view_is_looked_at_once_and_never_taken_for_another(monkeypatch):
    calls = []
    monkeypatch.setitem(affinities.OF_A_VIEW, "cosine", lambda view: calls.append(view) or affinities.signed(view))
    one, other = planted(seed=7), planted(seed=8)
    found = [benchmark.similarity_of(name, one) for name in ("cosine", "cosine, all nets", "cosine, checkpoints")]
    assert calls == [one.views[0]] and not found[0].flags.writeable
    assert (benchmark.similarity_of("cosine", other) != found[0]).any() and calls == [one.views[0], other.views[0]]


def test_affinities_that_are_one_matrix_are_clustered_once(monkeypatch):
    calls = []

    def counted(cosines, ks, seed):
        calls.append(ks)
        return {k: np.arange(len(cosines)) % k for k in ks}

    monkeypatch.setitem(assignments.ASSIGNMENTS, "counted", counted)
    names = ["√|g|, attention", "√|g|, attention, all nets", "cosine"]  # with one net the second is the first
    found = benchmark.table(EVIDENCE, affinities=names, assignments=["counted"], factors=[0.5, 1])
    assert len(calls) == 2
    assert set(found["affinity"]) >= set(names)


def test_a_method_is_added_by_one_function(monkeypatch):
    monkeypatch.setattr(affinities, "AFFINITIES", affinities.AFFINITIES.copy())
    monkeypatch.setattr(benchmark, "AFFINITIES", affinities.AFFINITIES)

    @affinities.affinity("my idea")
    def my_idea(evidence):
        return affinities.over_views(evidence, lambda view: np.log1p(np.abs(view.gradients)))

    found = benchmark.table(EVIDENCE, affinities=["my idea"], factors=[0.5, 1])
    mine = found[found["affinity"] == "my idea"]
    assert len(mine) == 2 * len(assignments.ASSIGNMENTS)
    assert set(mine["n_clusters"]) == {2, 4}
    with pytest.raises(QuantaError, match="a second affinity"):
        affinities.affinity("my idea")(my_idea)


def test_conditions_and_recovery_of_each_skill():
    names = list(dict.fromkeys(name for name, _ in benchmark.FOLLOWED))
    ways = [way for _, way in benchmark.FOLLOWED]
    natural = EVIDENCE.take(np.arange(6, 40))
    scores, skills = benchmark.under_conditions(
        EVIDENCE, natural, affinities=names, assignments=ways, noises=[1], fewer=[0.5]
    )
    assert set(scores["condition"]) == {"base", "noise 1", "0.5 of the samples", benchmark.NATURAL, benchmark.UNKNOWN}
    unknown = scores[(scores["condition"] == benchmark.UNKNOWN) & (scores["affinity"] == names[1])]
    assert set(unknown["n_clusters"]) == {GROUPS} and unknown["adjusted_rand"].max() > 0.9
    best = skills[(skills["affinity"] == names[1]) & (skills["assignment"] == ways[1])]
    assert best["recall"].mean() > 0.9 and best["precision"].mean() > 0.9
    assert set(best["samples"]) == {EACH}


def test_the_silhouette_finds_the_number_of_separate_groups_and_uses_no_truth():
    groups = np.repeat(np.arange(9), 16)
    cosines = np.where(groups[:, None] == groups, 0.6, 0.0)
    np.fill_diagonal(cosines, 1)
    assert assignments.number_by_silhouette(cosines, "average linkage", 0) in (8, 10)  # the candidates next to 9


def test_noise_drowns_skills():
    quiet, loud = (
        benchmark.table(evidence, affinities=["√|g|, standardised"], assignments=["average linkage"])[
            "adjusted_rand"
        ].max()
        for evidence in (EVIDENCE, EVIDENCE.with_noise(30, 0))
    )
    assert quiet > 0.95 and loud < 0.4


def test_what_is_not_registered_is_named():
    with pytest.raises(QuantaError, match=r"known_skills\.affinities: \['cosin'\]"):
        benchmark.table(EVIDENCE, affinities=["cosin"])
    with pytest.raises(QuantaError, match=r"known_skills\.assignments"):
        benchmark.table(EVIDENCE, affinities=["cosine"], assignments=["magic"])


def test_a_matrix_that_is_no_similarity_is_refused(monkeypatch):
    monkeypatch.setitem(affinities.AFFINITIES, "broken", lambda evidence: np.zeros((3, 3)))
    with pytest.raises(QuantaError, match="'broken' on planted"):
        benchmark.table(EVIDENCE, affinities=["broken"])


def test_parts_of_other_lengths_and_missing_labels_are_refused():
    with pytest.raises(QuantaError, match="'curves': 3"):
        dataclasses.replace(EVIDENCE, curves=np.zeros((3, 2)))
    with pytest.raises(QuantaError, match="5 labels"):
        benchmark.score(np.zeros(5, dtype=int), EVIDENCE.skills)


def test_equally_many_samples_of_each_skill_that_has_enough():
    skills = np.repeat([0, 1, 2], [10, 3, 8])
    kept = equally(skills, 5, seed=0)
    assert np.bincount(skills[kept]).tolist() == [5, 0, 5]
    with pytest.raises(QuantaError, match="0 skills with 11 samples"):
        equally(skills, 11, seed=0)
