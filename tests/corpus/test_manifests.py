import json
from importlib import metadata

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quanta.corpus import manifests, splitting
from quanta.errors import QuantaError
from quanta.storage import files
from support import names, script

FILES = {f"{name}/{i}.py": f"# {name}, file {i}\n" + "x = 1\n" * i for name in ("one", "two") for i in range(40)}
VERSIONS = {"one": "1.0", "two": "2.0+cpu"}


def of_files(files):
    return [splitting.Document(source, text) for source, text in files.items()]


@pytest.fixture(scope="module")
def trained():
    """The corpus that models were trained on, and its manifest."""
    table = splitting.documents_table(of_files(FILES), 0.3)
    return table.set_index("source"), manifests.of(table, VERSIONS)


def test_a_manifest_comes_back_from_its_file(trained, tmp_path):
    # digits alone, an exponent, a version that looks like a number: text all the same
    manifest = trained[1].copy()
    manifest.loc[0, "sha256"], manifest.loc[1, "sha256"] = "0000000000000012", "12345678901234e5"
    files.write_table(tmp_path / "manifest.csv", manifest)
    found = manifests.read(tmp_path / "manifest.csv")
    pd.testing.assert_frame_equal(found, manifest, check_dtype=False)
    assert found["source"].is_monotonic_increasing and found["characters"].sum() == sum(map(len, FILES.values()))
    assert set(found["version"]) == set(VERSIONS.values())


@pytest.mark.parametrize(("old", "new"), [("training", "taining"), ("heldout", "training"), ("one/1.py", "one/0.py")])
def test_a_damaged_manifest_is_refused(trained, tmp_path, old, new):
    path = tmp_path / "manifest.csv"
    files.write_table(path, trained[1])
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(QuantaError, match="fetch the file again"):
        manifests.read(path)


def test_the_same_files_have_the_split_of_the_manifest(trained, caplog):
    table, manifest = trained
    found, different = manifests.agree(of_files(FILES), manifest, VERSIONS, 1)
    pd.testing.assert_frame_equal(found.set_index("source"), table)
    assert different.empty and not [r for r in caplog.records if r.levelname == "WARNING"]
    swapped = manifest.assign(split=manifest["split"].map({"heldout": "training", "training": "heldout"}))
    found, _ = manifests.agree(of_files(FILES), swapped, VERSIONS, 1)
    assert (found.set_index("source")["split"] != table["split"]).all(), "no hash but the manifest decides"


def test_a_source_that_comes_twice_counts_once(trained):
    manifest = trained[1]
    files = [*of_files(FILES), *of_files(FILES), *of_files(dict.fromkeys(FILES, "changed"))]
    found, different = manifests.agree(files, manifest, VERSIONS, 1)
    assert found["source"].tolist() == list(FILES) and different.empty


@given(data=st.data())
def test_no_text_is_held_out_that_the_manifest_does_not_hold_out(trained, data):
    table, manifest = trained
    sources = st.sampled_from([*FILES, "one/new.py", "three/new.py"])
    texts = st.sampled_from([*FILES.values(), "changed", "new"])
    files = FILES | data.draw(st.dictionaries(sources, texts, max_size=20))
    for gone in data.draw(st.lists(st.sampled_from(list(FILES)), max_size=20)):
        files.pop(gone, None)
    found, different = manifests.agree(of_files(files), manifest, VERSIONS, 0.01)
    assert found["source"].tolist() == [source for source in files if files[source] == FILES.get(source)]
    assert found["split"].tolist() == table.loc[found["source"], "split"].tolist()
    known = set(FILES.values())
    expected = {source: "absent" for source in FILES if source not in files}
    expected |= {source: "changed" for source in FILES if source in files and files[source] != FILES[source]}
    expected |= {source: "new" for source in files if source not in FILES and files[source] not in known}
    assert dict(different.to_numpy().tolist()) == expected and different["source"].is_monotonic_increasing


def test_each_distribution_that_differs_is_named_once_with_its_first_files(trained, caplog):
    files = {source: text for source, text in FILES.items() if source.startswith("one")}
    files |= {f"one/{i}.py": "changed" for i in range(5)} | {"one/more.py": "new"}
    manifests.agree(of_files(files), trained[1], {"one": "1.1"}, 0.01)
    one, two = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert one == (
        "one (1.0; here: 1.1): left out are 5 changed (one/0.py, one/1.py, one/2.py, …), 1 new (one/more.py)"
    )
    assert two.startswith(
        "two (2.0+cpu; here: not in this one): left out are 40 absent (two/0.py, two/1.py, two/10.py, …)"
    )


def test_too_little_agreement_is_refused_with_the_versions_that_mend_it(trained):
    table, manifest = trained
    held = table.loc[table["split"] == "heldout", "text"].str.len()
    one = held[held.index.str.startswith("one")].sum() / held.sum()
    files = {source: text for source, text in FILES.items() if source.startswith("one")}
    found, _ = manifests.agree(of_files(files), manifest, {"one": "1.0"}, one)
    assert (found["split"] == "heldout").any()
    with pytest.raises(QuantaError) as caught:
        manifests.agree(of_files(files), manifest, {"one": "1.0"}, one + 0.001)
    assert caught.value.mend == "pip install two==2.0" and "corpus.minimum_agreement" in caught.value.expected
    training = {source: text for source, text in FILES.items() if table["split"][source] == "training"}
    with pytest.raises(QuantaError, match="0 of the"):
        manifests.agree(of_files(training), manifest, VERSIONS, 0.0)


def test_a_run_goes_on_where_a_distribution_of_the_manifest_is_missing(tmp_path):
    settings = {"source": "python", "minimum_characters": 500, "heldout_share": 0.2}
    settings["python"] = {"distributions": ["threadpoolctl", "networkx"]}
    versions = {name: metadata.version(name) for name in ("threadpoolctl", "networkx")}

    def texts(folder, manifest, settings, versions):
        made = names(texts=tmp_path / folder / "texts.parquet", sources=tmp_path / folder / "sources.json",
                     manifest=[] if manifest else tmp_path / folder / "manifest.csv",
                     differences=tmp_path / folder / "differences.csv" if manifest else [])  # fmt: skip
        params = names(corpus=json.dumps(settings), versions=json.dumps(versions), containment=0.5, documents=None,
                       minimum_agreement=0.5)  # fmt: skip
        script("corpus/texts")(names(manifest=manifest), made, params)
        return pd.read_parquet(tmp_path / folder / "texts.parquet")

    table = texts("there", [], settings, versions)
    path = tmp_path / "there/manifest.csv"
    pd.testing.assert_frame_equal(texts("same", str(path), settings, versions), table)
    assert files.read_table(tmp_path / "same/differences.csv").empty
    row = path.read_text().splitlines()[-1].replace("threadpoolctl", "no-such-package")
    path.write_text(path.read_text() + row + "\n")
    settings["python"]["distributions"].append("no-such-package")
    again = texts("here", str(path), settings, versions | {"no-such-package": "not installed"})
    pd.testing.assert_frame_equal(again, table)
    differences = files.read_table(tmp_path / "here/differences.csv")
    assert differences.to_numpy().tolist() == [[row.split(",")[0], "absent"]]
