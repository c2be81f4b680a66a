"""Models as GGUF files: read by transformers, written as safetensors, their quantisation on record."""

import json

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize
from gguf_files import VOCABULARY, WIDTH, small_llama, unknown_type, write_gguf
from quanta.errors import QuantaError
from quanta.models import gguf, headers, pretrained, weights
from support import names, script


def adopt(source, target, sha256=None):
    target.parent.mkdir(parents=True)
    script("models/adopt")(
        names(), names(folder=target), names(path=str(source.parent), only_step=0, sha256=sha256, files=None)
    )


@pytest.fixture
def packed(tmp_path):
    model = small_llama()
    folder = tmp_path / "given/llama"
    folder.mkdir(parents=True)
    write_gguf(folder / "llama.gguf", model)
    return folder, model


def test_a_gguf_file_becomes_a_folder_of_safetensors_with_its_quantisation_on_record(packed, tmp_path):
    folder, model = packed
    target = tmp_path / "run/llama/step0"
    adopt(folder, target)
    record = json.loads((target / gguf.RECORD).read_text())
    assert record["tensors"] == {"F32": 5, "Q8_0": 16} and record["file"] == "llama.gguf"
    loaded = pretrained.load(target)
    assert all(parameter.dtype == torch.float32 for parameter in loaded.parameters())
    for name, value in model.state_dict().items():
        found = loaded.state_dict()[name]
        assert (found - value).abs().max() <= value.abs().max() / 127, name
    ids = torch.arange(1, 20)[None]
    assert (loaded(input_ids=ids).logits - model(input_ids=ids).logits).abs().max() < 0.02
    assert (target / "tokenizer.json").is_file()


def test_the_familys_table_says_how_weights_were_stored(packed, tmp_path, model_folder):
    target = tmp_path / "run/llama/step0"
    adopt(packed[0], target)
    members = [{"model": "llama", "step": 0, "revision": "folder", "folder": target}]
    table = pretrained.family_table([*members, {"model": "neox", "step": 0, "revision": "", "folder": model_folder}])
    stored = table.set_index("model")["quantisation"]
    assert stored["llama"] == "5 F32, 16 Q8_0" and stored["neox"] == ""
    assert "quantisation" not in pretrained.family_table([{**members[0], "folder": model_folder}])


def test_a_type_that_cannot_be_dequantised_is_refused_by_name(tmp_path):
    unknown_type(tmp_path / "a.gguf")
    with pytest.raises(QuantaError, match=r"a\.gguf: weights of the type Q1_0 \(output\.weight\)"):
        gguf.quantisation(tmp_path / "a.gguf")


def test_what_is_no_gguf_is_named(tmp_path):
    (tmp_path / "a.gguf").write_bytes(b"GGUF" + bytes(3))
    with pytest.raises(QuantaError, match=r"a\.gguf: cannot be read"):
        gguf.quantisation(tmp_path / "a.gguf")


def test_two_files_in_one_folder_are_refused(packed):
    folder, _ = packed
    (folder / "b.gguf").write_bytes(b"")
    with pytest.raises(QuantaError, match=r"2 GGUF files: b\.gguf, llama\.gguf"):
        weights.gguf_file(folder)


def test_without_the_packages_the_mend_names_them(monkeypatch):
    monkeypatch.setattr(gguf, "PACKAGES", ("absent_one", "numpy"))
    with pytest.raises(QuantaError, match="no package absent_one") as caught:
        gguf.check_packages()
    assert "pip install absent_one" in caught.value.mend


def test_a_change_of_the_file_is_noticed(packed):
    folder, _ = packed
    (before,) = [one for one in weights.files_given(folder, 0, only_step=0) if one[0].endswith("llama.gguf")]
    assert before[1] == (folder / "llama.gguf").stat().st_size
    (folder / "llama.gguf").write_bytes(b"another")
    assert before not in weights.files_given(folder, 0, only_step=0)


# ------------------------------------------------------------------------------------------------ headers


def test_a_header_is_read_as_the_package_reads_it(packed):
    from gguf import GGUFReader

    path = packed[0] / "llama.gguf"
    header, reader = headers.gguf(path), GGUFReader(path)
    assert {n: (t.kind, t.shape[::-1]) for n, t in header.tensors.items()} == {
        t.name: (t.tensor_type.name, tuple(t.shape.tolist())) for t in reader.tensors
    }
    for name, value in header.fields.items():
        field = reader.get_field(name)
        found = field.contents()
        assert value[0] == len(found) if isinstance(found, list) else value == pytest.approx(found), name


def test_a_header_counts_what_the_loaded_model_has(packed, tmp_path):
    folder, model = packed
    found = headers.model_of(folder)
    assert found.parameters == pretrained.non_embedding_parameters(model)
    assert found.all_parameters == sum(p.numel() for p in model.parameters())
    assert (found.width, found.layers, found.rows) == (WIDTH, 2, VOCABULARY)
    model.save_pretrained(tmp_path / "same")
    assert headers.model_of(tmp_path / "same") == found, "from safetensors"


def test_types_are_those_that_the_package_knows_and_dequantises():
    assert {int(kind): kind.name for kind in GGMLQuantizationType} == headers.GGUF_TYPES
    decoded = set()
    for kind in GGMLQuantizationType:
        try:
            dequantize(np.zeros((1, 4096), np.uint8).view(np.uint8), kind)
        except NotImplementedError:
            continue
        except (ValueError, AssertionError):
            pass
        decoded.add(kind.name)
    assert decoded == headers.DECODED


def test_a_header_alone_refuses_a_type_a_part_and_a_file_that_ends_early(packed, tmp_path):
    folder, model = packed
    whole = (folder / "llama.gguf").read_bytes()
    (folder / "llama.gguf").write_bytes(whole[:300])
    with pytest.raises(QuantaError, match=r"llama\.gguf: cannot be read"):
        weights.check_given(folder)
    unknown_type(folder / "llama.gguf")
    with pytest.raises(QuantaError, match=r"weights of the type Q1_0"):
        weights.check_given(folder)
    writer = GGUFWriter(folder / "llama.gguf", "llama")
    writer.add_uint16("split.count", 3)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(QuantaError, match="one of 3 parts") as caught:
        weights.check_given(folder)
    assert "llama-gguf-split --merge" in caught.value.mend
    write_gguf(folder / "llama.gguf", model)
    weights.check_given(folder)


def test_a_gguf_with_a_template_of_turns_looks_like_a_chat_model(packed):
    folder, model = packed
    assert weights.chat_sign(folder, "llama") is None
    write_gguf(folder / "llama.gguf", model, template="{{ messages }}")
    assert weights.chat_sign(folder, "llama") == "its tokenizer has a chat template"
