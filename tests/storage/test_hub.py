"""The hub: pins, transfers, faults one by one, over loopback in the hub's own protocol; the pipeline from end to end."""

import dataclasses
import errno
import hashlib
import json
import logging
import os
import random
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from huggingface_hub import constants
from loopback import Fault, Hub, blob_id, published
from quanta.corpus import vocabulary
from quanta.errors import QuantaError
from quanta.losses import forward
from quanta.models import pretrained, training
from quanta.storage import files, hub_pins, hub_requests, hub_transfer
from support import ROOT, names, script, tokens_of

QUICK = hub_requests.Patience(attempts=4, first=0.01, longest=2.0, stall=30.0)
WEIGHTS = random.Random(1).randbytes(3_000_000)
FILES = {
    "config.json": b'{"model_type": "gpt_neox"}',
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b'{"a": 1}',
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"pickle",
    "modeling.py": b"raise SystemExit",
    "README.md": b"# words",
}
NAME = "EleutherAI/pythia-70m-v0"


@pytest.fixture(autouse=True)
def online(monkeypatch):
    """Tests run offline but for this hub; nothing of the caller's environment gets in."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server(monkeypatch):
    with Hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        running.add(NAME, "step143000", FILES)
        yield running


def pinned(tmp_path, revision="step143000", **kwargs):
    return hub_pins.pin(tmp_path / "lock/hub.lock.json", "model", NAME, revision, patience=QUICK, **kwargs)


def fetched(tmp_path, pin=None, folder="m", patience=QUICK):
    hub_transfer.fetch(pin or pinned(tmp_path), tmp_path / "store", tmp_path / folder, patience)
    return {p.name: p.read_bytes() for p in (tmp_path / folder).iterdir()}


# ----------------------------------------------------------------------------------------------------- pins


def test_only_the_files_needed_are_pinned_and_fetched(server, tmp_path):
    found = fetched(tmp_path)
    assert set(found) == {"config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"}
    assert all(found[name] == FILES[name] for name in found)
    resolved = {request["path"].rsplit("/", 1)[1] for request in server.asked("/resolve/")}
    assert resolved == set(found), "neither pickles nor code nor words are asked for"


def test_a_pin_holds_commit_sizes_and_the_hubs_own_hashes(server, tmp_path):
    pin = pinned(tmp_path)
    assert pin.commit == server.revisions["model", NAME]["step143000"] and len(pin.commit) == 40
    digests = {file.path: file.digest for file in pin.files}
    assert digests["model.safetensors"] == f"sha256:{hashlib.sha256(WEIGHTS).hexdigest()}"
    assert digests["config.json"] == f"git:{blob_id(FILES['config.json'])}"
    assert {file.path: file.size for file in pin.files} == {name: len(FILES[name]) for name in digests}


def test_a_pinned_revision_is_not_asked_for_again_and_does_not_move(server, tmp_path):
    first = pinned(tmp_path)
    asked = len(server.requests)
    server.add(NAME, "step143000", FILES | {"model.safetensors": b"other"})
    assert pinned(tmp_path) == first and len(server.requests) == asked
    assert fetched(tmp_path)["model.safetensors"] == WEIGHTS, "the commit is fetched, not the branch"


def test_the_lock_file_reads_back_and_keeps_what_it_has(server, tmp_path):
    server.add(NAME, "step1000", FILES | {"model.safetensors": b"early"})
    both = {revision: pinned(tmp_path, revision) for revision in ("step143000", "step1000")}
    lock = files.read_json(tmp_path / "lock/hub.lock.json")
    assert {key: hub_pins.pin_of(value) for key, value in lock.items()} == {
        f"model {NAME} {r}": p for r, p in both.items()
    }


def test_sharded_weights_come_with_their_index_and_without_another_format(server, tmp_path):
    shards = {f"model-0000{i}-of-00002.safetensors": bytes([i]) * 100 for i in (1, 2)}
    index = {"model.safetensors.index.json": b"{}", "pytorch_model.bin.index.json": b"{}", "flax_model.msgpack": b"x"}
    server.add(NAME, "sharded", {"config.json": b"{}", **shards, **index})
    kept = {file.path for file in pinned(tmp_path, "sharded").files}
    assert kept == {"config.json", "model.safetensors.index.json", *shards}


def test_pickled_weights_alone_are_refused_or_replaced_by_the_revision_named(server, tmp_path):
    server.add(NAME, "step1000", {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    with pytest.raises(QuantaError, match=r"pickles only \(pytorch_model\.bin\)") as caught:
        pinned(tmp_path, "step1000")
    assert "models.hub.instead" in caught.value.mend and "save_pretrained" in caught.value.mend
    taken = pinned(tmp_path, "step1000", instead="step143000")
    assert taken.revision == "step143000" and taken == pinned(tmp_path, "step1000")
    assert not server.asked("resolve"), "no pickle was fetched"


def test_two_steps_with_the_same_weights_are_refused_by_name_before_any_download(server, tmp_path):
    server.add(NAME, "step1000", FILES | {"README.md": b"another commit"})
    server.add(NAME, "step2000", FILES | {"model.safetensors": b"its own"})
    lock, store = tmp_path / "hub.lock.json", tmp_path / "store"
    members = [("a", 1000), ("a", 2000), ("a", 143000)]
    paths = []
    for _, step in members:
        paths.append(tmp_path / f"step{step}.pin.json")
        request = json.dumps({"repository": NAME, "revision": f"step{step}", "instead": None, "parameters": None})
        patience = json.dumps({"attempts": 2})
        script("models/pin")(names(), names(pin=paths[-1]), names(request=request, lock=lock, patience=patience))
    with pytest.raises(QuantaError, match="equal weights under a step 1000 and a step 143000") as caught:
        script("models/pins")(
            names(pins=list(map(str, paths))),
            names(table=tmp_path / "pins.csv"),
            names(members=json.dumps(members), store=store),
        )
    assert "step 2000" not in caught.value.found and not server.asked("resolve")


@pytest.mark.parametrize("path", ["../outside.safetensors", "/etc/model.safetensors", "a/../../b.safetensors"])
def test_a_path_that_leads_out_of_the_folder_is_refused(path):
    file = {"path": path, "size": 1, "digest": f"sha256:{'0' * 64}"}
    pin = {"kind": "model", "repository": "a/b", "revision": "r", "commit": "0" * 40, "files": [file]}
    with pytest.raises(QuantaError, match="do not use this repository"):
        hub_pins.pin_of(pin)


def test_a_damaged_pin_is_refused():
    with pytest.raises(QuantaError, match="pin: damaged"):
        hub_pins.pin_of({"kind": "model", "files": [{}]})


# ------------------------------------------------------------------------------------------------- transfers


def test_what_is_in_the_store_is_fetched_once_for_all_checkpoints(server, tmp_path):
    server.add(NAME, "step1000", FILES | {"model.safetensors": b"early"})
    fetched(tmp_path)
    fetched(tmp_path, pinned(tmp_path, "step1000"), "early")
    fetched(tmp_path, folder="again")
    assert len(server.asked("/resolve/.*/tokenizer.json")) == 1
    assert len(server.asked("/resolve/.*/model.safetensors")) == 2


def test_a_damaged_copy_in_the_store_is_fetched_anew(server, tmp_path):
    pin = pinned(tmp_path)
    fetched(tmp_path, pin)
    copy = next((tmp_path / "store/sha256").iterdir())
    copy.write_bytes(b"x" * len(WEIGHTS))
    assert fetched(tmp_path, pin, "again")["model.safetensors"] == WEIGHTS


@pytest.mark.parametrize("kind", ["break", "stall"])
def test_a_broken_or_silent_connection_is_resumed_where_it_stopped(server, tmp_path, kind):
    server.faults.append(Fault("/cdn/", kind, times=2, after=1_000_000))
    patience = dataclasses.replace(QUICK, stall=2.0 if kind == "stall" else QUICK.stall)
    assert fetched(tmp_path, patience=patience)["model.safetensors"] == WEIGHTS
    ranges = [request["range"] for request in server.asked("/cdn/")]
    begins = [int(r.removeprefix("bytes=").removesuffix("-")) if r else 0 for r in ranges]
    assert len(begins) == 3 and begins[0] == 0 < begins[1] < begins[2] <= 2_000_000


def test_the_next_run_goes_on_where_the_last_one_gave_up(server, tmp_path):
    server.faults.append(Fault("/cdn/", "break", times=1, after=2_000_000))
    server.faults.append(Fault("/cdn/", 503, times=99))
    pin = pinned(tmp_path)
    with pytest.raises(QuantaError, match="503, 4 times in a row") as caught:
        fetched(tmp_path, pin)
    assert "what has arrived is kept" in caught.value.mend and not (tmp_path / "m/model.safetensors").exists()
    assert not list((tmp_path / "store/sha256").glob("[0-9a-f]" * 64)), "half a file never has the name of a whole one"
    server.faults.clear()
    server.requests.clear()
    assert fetched(tmp_path, pin)["model.safetensors"] == WEIGHTS
    assert [request["range"] for request in server.asked("/cdn/")] == ["bytes=2000000-"]


def test_the_same_bytes_again_and_again_are_no_progress(server, tmp_path):
    """A proxy that breaks off at half of the file, and cannot go on from there."""
    for _ in range(50):
        server.faults += [Fault("/cdn/", "break", after=1_500_000), Fault("/cdn/", 416)]
    pin = pinned(tmp_path)
    with pytest.raises(QuantaError, match="4 times in a row"):
        fetched(tmp_path, pin)
    assert len(server.asked("/cdn/")) <= 2 * QUICK.attempts


def test_a_body_longer_than_pinned_is_not_written(server, tmp_path):
    pin = pinned(tmp_path)
    server.faults.append(Fault("/cdn/", "long", times=99, after=30_000_000))
    with pytest.raises(QuantaError, match=f"longer than the {len(WEIGHTS)} bytes that were pinned, 4 times"):
        fetched(tmp_path, pin)
    assert sum(path.stat().st_size for path in (tmp_path / "store/sha256").iterdir()) < len(WEIGHTS)


def test_an_answer_without_end_is_left(server, tmp_path, monkeypatch):
    monkeypatch.setattr(hub_requests, "LONGEST_ANSWER", 100)
    with pytest.raises(QuantaError, match="an answer longer than 0 MB"):
        pinned(tmp_path)


def test_a_whole_file_in_somebody_elses_store_needs_no_lock(server, tmp_path, monkeypatch):
    pin = pinned(tmp_path)
    fetched(tmp_path, pin)

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(hub_pins, "exclusive", refuse)
    assert fetched(tmp_path, pin, "again")["model.safetensors"] == WEIGHTS


def test_guards_lie_in_one_place_for_all_and_stay(server, tmp_path):
    """Removed after the unlock, two processes may each hold "the" lock."""
    before = os.umask(0o002)
    try:
        fetched(tmp_path)
    finally:
        os.umask(before)
    guards = list((tmp_path / "store/guards").iterdir())
    assert len(guards) == 4 and {path.stat().st_mode & 0o777 for path in guards} == {0o664}
    others = [p for p in (tmp_path / "store").rglob("*") if p.is_file() and p.parent.name != "guards"]
    assert len(others) == 4 and {path.stat().st_mode & 0o777 for path in others} == {0o444}


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_and_used(server, tmp_path, monkeypatch, caplog, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(hub_pins.fcntl, "flock", refuse)
    assert fetched(tmp_path)["model.safetensors"] == WEIGHTS
    assert "cannot be locked" in caplog.text


def test_copies_on_another_disk_are_compared(server, tmp_path, monkeypatch):
    def no_link(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    def damaged(_, target):
        target.write_bytes(b"x")

    monkeypatch.setattr(os, "link", no_link)
    assert fetched(tmp_path)["model.safetensors"] == WEIGHTS
    monkeypatch.setattr(hub_transfer.shutil, "copyfile", damaged)
    with pytest.raises(QuantaError, match="a copy with another hash"):
        fetched(tmp_path, folder="n")


def test_a_token_with_a_line_break_is_named_and_not_shown(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret\nsecond")
    with pytest.raises(QuantaError, match="environment, HF_TOKEN") as caught:
        pinned(tmp_path)
    assert "secret" not in str(caught.value) and not server.requests


def test_a_negative_size_is_refused():
    pin = {"kind": "model", "repository": "a", "revision": "b", "commit": "c"}
    with pytest.raises(QuantaError, match="-1 bytes of x"):
        hub_pins.pin_of(pin | {"files": [{"path": "x", "size": -1, "digest": "git:" + "0" * 40}]})


def test_a_hub_that_ignores_ranges_is_read_from_the_start(server, tmp_path):
    server.faults += [Fault("/cdn/", "break", after=1_000_000), Fault("/cdn/", "no range")]
    assert fetched(tmp_path)["model.safetensors"] == WEIGHTS


def test_a_partial_file_longer_than_the_real_one_or_of_other_bytes_is_not_trusted(server, tmp_path):
    pin = pinned(tmp_path)
    partial = tmp_path / f"store/sha256/{hashlib.sha256(WEIGHTS).hexdigest()}.incomplete"
    for rubbish in (b"x" * (len(WEIGHTS) + 5), b"x" * 1000, b"x" * len(WEIGHTS)):
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(rubbish)
        for stored in partial.parent.glob("[0-9a-f]" * 64):
            stored.unlink()
        assert fetched(tmp_path, pin)["model.safetensors"] == WEIGHTS


def test_a_wrong_hash_is_fetched_once_more_then_refused_and_nothing_is_kept(server, tmp_path):
    server.faults.append(Fault("/cdn/", "flip"))
    assert fetched(tmp_path)["model.safetensors"] == WEIGHTS
    server.add(NAME, "step1", FILES | {"model.safetensors": b"abcdef"})
    server.faults.append(Fault("/cdn/", "flip", times=9))
    with pytest.raises(QuantaError, match=r"hash [0-9a-f]{16}…, twice") as caught:
        fetched(tmp_path, pinned(tmp_path, "step1"), "step1")
    assert "model.safetensors" in caught.value.where and "HF_ENDPOINT" in caught.value.mend
    assert not list((tmp_path / "store").rglob("*.incomplete")) and not (tmp_path / "step1").exists()


def test_another_hash_in_the_headers_is_refused_before_the_body(server, tmp_path):
    pin = pinned(tmp_path)
    server.faults.append(Fault("/resolve/.*safetensors", "tag"))
    with pytest.raises(QuantaError, match="the hub states the hash 0000000000000000…"):
        fetched(tmp_path, pin)


# -------------------------------------------------------------------------------------------- refusals, waits


def test_a_repository_that_is_not_there_or_not_open(server, tmp_path):
    with pytest.raises(QuantaError, match="401, no such repository, or no access") as caught:
        hub_pins.ask("model", "EleutherAI/pythia-71m", "main", patience=QUICK)
    assert "HF_TOKEN" in caught.value.mend and len(server.requests) == 1, "no retry will mend it"


def test_a_revision_that_is_not_there(server, tmp_path):
    with pytest.raises(QuantaError, match="404, no such revision") as caught:
        pinned(tmp_path, "step142999")
    assert caught.value.where == f"hub, {NAME} at step142999" and len(server.requests) == 1


def test_a_file_that_vanished(server, tmp_path):
    pin = pinned(tmp_path)
    server.commits[pin.commit] = {}
    with pytest.raises(QuantaError, match="404, no such file"):
        fetched(tmp_path, pin)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
def test_errors_of_the_server_are_tried_again_a_bounded_number_of_times(server, tmp_path, status):
    server.faults.append(Fault("/api/", status, times=3))
    assert pinned(tmp_path).commit
    server.faults.append(Fault("/api/", status, times=99))
    server.requests.clear()
    with pytest.raises(QuantaError, match=f"{status}, 4 times in a row"):
        hub_pins.ask("model", NAME, "step143000", patience=QUICK)
    assert len(server.requests) == QUICK.attempts


def test_retry_after_is_obeyed_and_a_long_one_is_named(server, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(hub_requests.time, "sleep", waits.append)
    server.faults.append(Fault("/api/", 429, headers={"Retry-After": "2"}))
    assert pinned(tmp_path).commit and waits == [2.0]
    server.faults.append(Fault("/api/", 429, headers={"Retry-After": "3600"}))
    with pytest.raises(QuantaError, match="429 and asks to wait for 3600 s") as caught:
        hub_pins.ask("model", NAME, "step143000", patience=QUICK)
    assert "higher limits" in caught.value.mend and waits == [2.0]


def test_waits_double_up_to_a_limit(monkeypatch):
    waits = []
    monkeypatch.setattr(hub_requests.time, "sleep", waits.append)
    tries = hub_requests.Tries("hub", hub_requests.Patience(attempts=7, first=1, longest=10))
    with pytest.raises(QuantaError, match="7 times in a row"):
        for _ in range(9):
            tries.again(hub_requests.AgainError("broken"))
    assert waits == [1, 2, 4, 8, 10, 10]


def test_retry_after_may_be_a_date():
    from email.utils import formatdate

    assert 58 < hub_requests.retry_after(formatdate(hub_requests.time.time() + 60, usegmt=True)) <= 60
    assert hub_requests.retry_after("soon") is None and hub_requests.retry_after(None) is None


def test_an_address_where_nobody_listens(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(QuantaError, match=r"connection broken \(ConnectError\), 4 times") as caught:
        pinned(tmp_path)
    assert "HF_ENDPOINT" in caught.value.mend


def test_an_address_that_is_no_hub(server, tmp_path):
    server.faults.append(Fault("/api/", 200))
    with pytest.raises(QuantaError, match="no list of files"):
        pinned(tmp_path)


def test_offline_is_said_and_not_waited_for(server, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(QuantaError, match="HF_HUB_OFFLINE is set"):
        pinned(tmp_path)


def test_a_disk_without_room_is_refused_before_the_first_byte(server, tmp_path, monkeypatch):
    pin = pinned(tmp_path)
    monkeypatch.setattr("quanta.storage.files.shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(QuantaError, match="GB free"):
        fetched(tmp_path, pin)
    assert not server.asked("resolve")


def test_a_disk_that_fills_up_is_named_and_what_came_is_kept(server, tmp_path, monkeypatch):
    from pathlib import Path

    pin, opened = pinned(tmp_path), Path.open

    class Full:
        def __init__(self, stream):
            self.stream = stream

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.stream.close()

        def write(self, chunk):
            if self.stream.tell() > 500_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.stream.write(chunk)

    def full(self, mode="r", **kwargs):
        return Full(opened(self, mode, **kwargs)) if ".incomplete" in self.name and "b" in mode and mode != "rb" else opened(self, mode, **kwargs)  # fmt: skip

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(QuantaError, match=r"the disk is full .* in the middle of model\.safetensors") as caught:
        fetched(tmp_path, pin)
    assert "models.hub.store" in caught.value.mend
    monkeypatch.undo()
    partial = next((tmp_path / "store/sha256").glob("*.incomplete"))
    assert 500_000 < partial.stat().st_size < len(WEIGHTS) and WEIGHTS.startswith(partial.read_bytes())


# ----------------------------------------------------------------------------------------------------- tokens


def test_a_gated_repository_needs_a_token_which_goes_nowhere_but_to_the_hub(server, tmp_path, monkeypatch, caplog):
    secret = "hf_" + "SeCrEt" * 5
    server.tokens[NAME] = secret
    with pytest.raises(QuantaError, match="401, gated") as caught:
        pinned(tmp_path)
    assert "HF_TOKEN" in caught.value.mend
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(QuantaError, match="401, gated") as caught:
        pinned(tmp_path)
    assert "accept the repository's terms" in caught.value.mend and "hf_wrong" not in str(caught.value)
    monkeypatch.setenv("HF_TOKEN", secret)
    server.faults.append(Fault("/cdn/", "break", times=1, after=1000))
    with caplog.at_level(logging.DEBUG):
        fetched(tmp_path)
    assert all(request["token"] == f"Bearer {secret}" for request in server.asked("/resolve/"))
    assert all(request["token"] is None for request in server.asked("/cdn/")), "another host does not get it"
    quanta_says = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("quanta"))
    assert secret not in caplog.text and "Signature" not in quanta_says and "connection broken" in quanta_says
    written = [p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()]
    assert written and not any(secret.encode() in content for content in written)


def test_quantised_weights_are_refused_before_they_are_fetched(server, tmp_path):
    settings = {"model_type": "llama", "quantization_config": {"quant_method": "gptq", "bits": 4}}
    server.add(NAME, "main", FILES | {"config.json": json.dumps(settings).encode()})
    files.write_json(tmp_path / "pin.json", pinned(tmp_path, "main").as_dict())
    patience = json.dumps({"attempts": 4, "longest": 2.0, "stall": 30.0})
    with pytest.raises(QuantaError, match=r"pythia-70m-v0 at main, config\.json: quantised weights \(gptq, 4 bits\)"):
        script("models/fetch")(
            names(pin=tmp_path / "pin.json"),
            names(folder=tmp_path / "m"),
            names(request='{"parameters": null}', store=str(tmp_path / "store"), patience=patience),
        )
    assert not server.asked(r"resolve/.*\.safetensors") and not (tmp_path / "m").exists()


def words(*tokens, special=()):
    """A tokenizer.json with ids in this order."""
    vocabulary = {token: index for index, token in enumerate(tokens)}
    added = [{"id": vocabulary[t], "content": t, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False} for t in special]  # fmt: skip
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": tokens[0]}
    return json.dumps({"version": "1.0", "added_tokens": added, "model": model}).encode()


CONFIGURED = {"config.json": b'{"model_type": "gpt_neox", "vocab_size": 2}', "tokenizer.json": words("a", "b")}


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"tokenizer.json": words("a", "c")}, "org/one@main and org/two@main: tokenizers that differ: model.vocab.b"),
        ({"tokenizer.json": words("a", "b", "c")}, "the token 'c' with the id 2, while the embedding has 2 rows"),
        ({"config.json": b'{"model_type": "no-such"}'}, "org/two at main, config.json: the model type 'no-such'"),
        ({"config.json": b'{"quantization_config": {"quant_method": "awq"}}'}, "quantised weights (awq)"),
        ({}, None),
    ],
)
def test_what_no_run_can_use_is_refused_before_any_weights_are_fetched(server, tmp_path, other, found):
    """By configurations and tokenizers, which are small and fetched first."""
    paths, members = [], [("one", 0), ("two", 0), ("two", 1)]
    for (model, step), changed in zip(members, ({}, other, other), strict=True):
        named = CONFIGURED | changed | {"model.safetensors": random.Random(f"{model} {step}").randbytes(1000)}
        server.add(f"org/{model}", "main" if step == 0 else f"step{step}", FILES | named)
        revision = "main" if step == 0 else f"step{step}"
        pin = hub_pins.pin(tmp_path / "lock.json", "model", f"org/{model}", revision, patience=QUICK)
        paths.append(str(tmp_path / f"{model}{step}.json"))
        files.write_json(paths[-1], pin.as_dict())
    patience = json.dumps({"attempts": 4, "longest": 2.0, "stall": 30.0})
    told = names(members=json.dumps(members), store=str(tmp_path / "store"), patience=patience)
    if found is None:
        script("models/pins")(names(pins=paths), names(table=tmp_path / "pins.csv"), told)
        assert len(server.asked(r"resolve/.*\.json")) == 2, "equal files are fetched once"
    else:
        with pytest.raises(QuantaError, match=re.escape(found)) as caught:
            script("models/pins")(names(pins=paths), names(table=tmp_path / "pins.csv"), told)
        assert "/tmp" not in caught.value.where
    assert not server.asked(r"resolve/.*\.safetensors")


def test_a_model_of_the_hub_without_a_tokenizer_is_refused_before_any_weights_are_fetched(server, tmp_path):
    server.add("org/bare", "main", {name: content for name, content in FILES.items() if "tokenizer" not in name})
    pin = hub_pins.pin(tmp_path / "lock.json", "model", "org/bare", "main", patience=QUICK)
    files.write_json(tmp_path / "pin.json", pin.as_dict())
    with pytest.raises(QuantaError, match=r"org/bare at main: no tokenizer\.json"):
        script("models/pins")(
            names(pins=[str(tmp_path / "pin.json")]),
            names(table=tmp_path / "pins.csv"),
            names(members='[["bare", 0]]', store=str(tmp_path / "store"), patience='{"attempts": 4}'),
        )
    assert not server.asked("resolve")


# --------------------------------------------------------------------------------------------------- data sets


def test_texts_of_a_data_set_by_pattern_and_in_order(server, tmp_path):
    files = {
        "data/test-1.jsonl": b"1",
        "data/test-0.jsonl": b"0",
        "train.jsonl": b"t",
        "README.md": b"#",
        "run.py": b"x",
    }
    commit = server.add("monology/pile", "main", files, kind="dataset")
    pin = hub_pins.pin(
        tmp_path / "lock.json", "dataset", "monology/pile", "main", ["data/test-*.jsonl"], patience=QUICK
    )
    assert [file.path for file in pin.files] == ["data/test-0.jsonl", "data/test-1.jsonl"] and pin.commit == commit
    hub_transfer.fetch(pin, tmp_path / "store", tmp_path / "texts", QUICK)
    assert (tmp_path / "texts/data/test-1.jsonl").read_bytes() == b"1"
    assert all(request["path"].startswith("/datasets/monology/pile/") for request in server.asked("resolve"))
    for patterns, found in ((["*.py"], "run.py is of another kind"), (["absent*"], "none of")):
        with pytest.raises(QuantaError, match=found):
            hub_pins.ask("dataset", "monology/pile", "main", patterns, QUICK)


def test_the_address_is_the_public_one_unless_set(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT") if "HF_ENDPOINT" in os.environ else None
    assert hub_requests.endpoint() == "https://huggingface.co"
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror/")
    assert hub_requests.endpoint() == "http://mirror"


# ------------------------------------------------------------------------------------------- the real shape once


def test_pythia_70m_in_its_real_shape_from_the_hub_to_losses(server, tmp_path):
    """Random weights, but every size as published: 50,304 logits, 512 × 6, 2048 positions, float16, 18,915,328."""
    model = training.new_model(training.LadderSize("pythia-70m", 512, 6, 8), vocabulary=50304, context=2048, seed=1)
    server.add(NAME, "real", published(model))
    pin = pinned(tmp_path, "real")
    assert pin.size > 160e6, "as the real file: 166 MB"
    hub_transfer.fetch(pin, tmp_path / "store", tmp_path / "m", QUICK)
    pretrained.check_parameters(tmp_path / "m", 18_915_328)
    loaded = pretrained.load(tmp_path / "m")
    rng = np.random.default_rng(0)
    tokens = tokens_of([rng.integers(0, 50277, 40), [5], [], rng.integers(0, 50277, 17)])
    found = forward.token_losses(loaded, tokens, range(4), batch_tokens=64)
    assert np.isnan(found[[0, 40, 41]]).all() and np.isfinite(found).sum() == 39 + 16
    assert abs(np.nanmean(found) - np.log(50304)) < 0.5, "fresh weights guess"


# ------------------------------------------------------------------------------------------------ from end to end

SIZES = {"pythia-70m-v0": (16, 1), "pythia-160m-v0": (24, 1), "pythia-410m-v0": (32, 2)}
VOCABULARY, PADDED = 300, 384


def snakemake(folder, *arguments, fails=False, **environment):
    kept = {k: v for k, v in os.environ.items() if not k.upper().startswith(("OMP_", "HF_", "PYTHONPATH", "QUANTA_"))}
    kept |= {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1,localhost"}
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
        cwd=folder, env=kept | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stdout[-6000:]
    return done.stdout


def pile(n=150):
    """Lines as the Pile's test split has them: text, and meta with the name of the set; one empty, one repeated."""
    rng = np.random.default_rng(0)
    words = [
        "the",
        "model",
        "of",
        "a",
        "scale",
        "is",
        "learned",
        "by",
        "quanta",
        "(",
        "tokens",
        ")",
        ",",
        "and",
        "we",
        "see",
        "that",
        "loss",
        "falls",
        ".",
        "\n",
    ]
    rows = [" ".join(rng.choice(words, int(rng.integers(3, 40)))) for _ in range(n)]
    rows[3], rows[9] = "", rows[8]
    sets = ["Pile-CC", "Github", "ArXiv"]
    return [{"text": text, "meta": {"pile_set_name": sets[i % 3]}} for i, text in enumerate(rows)]


@pytest.fixture(scope="module")
def tokenizer_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    vocabulary.save_tokenizer(vocabulary.train_tokenizer([row["text"] for row in pile()], VOCABULARY), folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def tiny_pythia(running, tokenizer_files):
    """Pythia's names and layout with tiny random models: padded logits, a revision a step, one model in shards."""
    counts = {}
    for seed, (name, (width, layers)) in enumerate(SIZES.items()):
        for step in (1000, 143000) if name == "pythia-70m-v0" else (143000,):
            net = training.new_model(
                training.LadderSize(name, width, layers, 2), vocabulary=PADDED, context=128, seed=seed + step
            )
            files = published(net) | tokenizer_files | {"pytorch_model.bin": b"pickle", "README.md": b"#"}
            running.add(f"EleutherAI/{name}", f"step{step}", files)
        counts[name] = pretrained.non_embedding_parameters(net)
    import zstandard

    lines = "".join(json.dumps(row) + "\n" for row in pile()).encode()
    running.add(
        "someone/pile", "main", {"test.jsonl.zst": zstandard.compress(lines), "README.md": b"#"}, kind="dataset"
    )
    return counts


def over_pythia(counts, **changes):
    """What is laid over config/pythia.yaml so that the tiny family runs through every stage of it."""
    base = {
        "run": "tiny",
        "corpus": {"source": "hub", "hub": {"repository": "someone/pile"}, "documents": 140, "context": 48},
        "models": {"hub": {
            "members": [{"name": n, "repository": f"EleutherAI/{n}", "parameters": c} for n, c in counts.items()],
            "attempts": 2, "stall_seconds": 30,
        }},
        "dynamics": {"steps": [1000, 143000]},
        "losses": {"shards": 2, "shards_by_model": [{"model": "pythia-70m-v0", "shards": 1}], "batch_tokens": 1024},
        "scaling": {"leave_out": ["pythia-410m-v0"], "bootstrap": 20, "token_curves_predictions": 1500},
        "qdg": {"threshold": 50, "tokens": 60, "features": 257, "shards": 2, "n_clusters": [4, 8], "show": 4,
                "restarts": 2, "bootstrap": 10, "rank_shares": [0.02, 0.2], "batch_tokens": 1024},
        "figures": {"dpi": 60},
        "resources": {"gpu": 0},
    }  # fmt: skip
    smoke = yaml.safe_load((ROOT / "config/smoke.yaml").read_text(encoding="utf-8"))
    return base | {key: smoke[key] for key in ("theory", "parity")} | changes


@pytest.fixture
def repository(tmp_path):
    from repository import copy_of_the_repository

    return copy_of_the_repository(tmp_path / "quanta")


# what a hub has a part in: theory, parity, calibration and figures know none
OF_A_HUB = ("corpus/sources.json", "models/pins.csv", "models/family.csv", "losses/by_subset.csv", "qdg/subsets.csv",
            "scaling/mean_loss.csv", "scaling/fits.json")  # fmt: skip


def questions(running, key):
    """Requests for what a revision holds, by its key in the lock file."""
    kind, repository, revision = key.split()[:3]
    return running.asked(rf"/api/{kind}s/{re.escape(repository)}/revision/{re.escape(revision)}(\?|$)")


@pytest.mark.workflow
@pytest.mark.timeout(1800)
def test_the_papers_experiment_from_an_empty_cache_through_a_hub_that_dies(repository, tokenizer_files):
    lock = repository / "config/hub.lock.json"
    with Hub() as running:
        counts = tiny_pythia(running, tokenizer_files)
        (repository / "config/over.yaml").write_text(yaml.safe_dump(over_pythia(counts)))
        targets = [f"results/tiny/{name}" for name in OF_A_HUB]
        arguments = (*targets, "--configfile", "config/pythia.yaml", "config/over.yaml")
        secret = "hf_" + "Hidden" * 6
        hubs = {"HF_ENDPOINT": running.address, "HF_TOKEN": secret, "HOME": str(repository / "home")}

        running.faults = [Fault("/cdn/.*safetensors", "break", after=3000), Fault("/cdn/.*safetensors", 503, times=99)]
        text = snakemake(repository, *arguments, fails=True, **hubs)
        assert "503" in text and "what has arrived is kept" in text and "Traceback" not in text
        results = repository / "results/tiny"
        assert not list(results.rglob("*.safetensors")), "nothing half-fetched looks like a model"
        assert len(list((repository / "data/hub/sha256").glob("*.incomplete"))) >= 1
        pinned = files.read_json(lock)
        assert sum(key.startswith("model ") for key in pinned) == 4, "all models are pinned before any is fetched"
        assert all(questions(running, key) for key in pinned)

        running.faults.clear()
        running.requests.clear()
        text = snakemake(repository, *arguments, **hubs)
        assert any(request["range"] for request in running.asked("/cdn/")), "the rest alone was fetched"
        assert not any(questions(running, key) for key in pinned), "pins of the first run hold"
        offline = text[text.index("Compute losses of pythia") :]
        assert not any(word in offline for word in ("Pin pythia", "Check before any download", "Fetch the texts"))

    assert files.read_json(lock).keys() - pinned.keys() <= {"dataset someone/pile main test.jsonl.zst"}
    assert {key: pin for key, pin in files.read_json(lock).items() if key in pinned} == pinned
    assert len(files.read_json(lock)) == 5
    pins = pd.read_csv(results / "models/pins.csv")
    assert len(pins) == 4 and pins["commit"].str.fullmatch("[0-9a-f]{40}").all() and (pins["files"] == 4).all()
    family = pd.read_csv(results / "models/family.csv").set_index(["model", "step"])
    assert family["non_embedding_parameters"].groupby("model").first().to_dict() == counts
    assert family.loc[("pythia-70m-v0", 143000), "commit"] in set(pins["commit"])
    documents = pd.read_parquet(results / "corpus/documents.parquet")
    assert len(documents) == 140, "the first ones, short, empty and repeated ones among them"
    assert documents["n_tokens"][3] == 0
    assert documents["subset"][:4].tolist() == ["Pile-CC", "Github", "ArXiv", "Pile-CC"]
    sources = json.loads((results / "corpus/sources.json").read_text())
    assert sources["repository"] == "someone/pile" and sources["files"][0]["digest"].startswith("sha256:")
    by_subset = pd.read_csv(results / "losses/by_subset.csv")
    mean = pd.read_csv(results / "scaling/mean_loss.csv").set_index(["model", "step"])["mean_loss_nats"]
    for key, part in by_subset.groupby(["model", "step"]):
        assert abs(np.average(part["mean_loss_nats"], weights=part["n_predictions"]) - mean[key]) < 1e-6
        assert set(part["subset"]) == {"Pile-CC", "Github", "ArXiv"}
    clusters = pd.read_csv(results / "qdg/subsets.csv")
    assert clusters.groupby("n_clusters")["n_tokens"].sum().to_dict() == {4: 60, 8: 60}
    for path in repository.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), f"the token stands in {path}"
    assert secret not in text

    # the hub is gone: nothing is left to do
    gone = {"HF_ENDPOINT": "http://127.0.0.1:9", "HOME": str(repository / "home")}
    assert "Nothing to be done" in snakemake(repository, *arguments, **gone)


@pytest.mark.workflow
@pytest.mark.timeout(900)
def test_a_folder_of_another_architecture_with_a_file_of_texts(repository, tokenizer_files):
    """config/custom.yaml as it stands, but for the number of tokens and the threshold that random models need."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    (repository / "data").mkdir(exist_ok=True)
    (repository / "data/texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pile()))
    for name, width in (("large", 32), ("small", 16)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(width)
            net = LlamaForCausalLM(LlamaConfig(
                vocab_size=PADDED, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
                num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=512,
            ))  # fmt: skip
        net.save_pretrained(repository / "checkpoints" / name)
        for file, content in tokenizer_files.items():
            (repository / "checkpoints" / name / file).write_bytes(content)
    over = {
        "qdg": {"threshold": 50, "tokens": 40, "features": 257, "n_clusters": [4, 8], "show": 4},
        "corpus": {"jsonl": {"subset": "meta.pile_set_name"}},
    }
    (repository / "config/over.yaml").write_text(yaml.safe_dump(over))
    targets = [f"results/custom/{name}" for name in ("scaling/fits.json", "qdg/features.npy", "losses/by_subset.csv")]
    snakemake(repository, *targets, "--configfile", "config/custom.yaml", "config/over.yaml")
    results = repository / "results/custom"
    assert pd.read_csv(results / "models/family.csv")["model"].tolist() == ["small", "large"]
    features = np.load(results / "qdg/features.npy")
    assert features.shape == (40, 257) and (np.linalg.norm(features, axis=1) > 0).all()
    assert json.loads((results / "scaling/fits.json").read_text())["alpha_n"]["value"] is not None


@pytest.mark.workflow
def test_the_papers_full_plan_is_counted_offline(repository):
    text = snakemake(repository, "--configfile", "config/pythia.yaml", "--dry-run", HF_ENDPOINT="http://127.0.0.1:9")
    table = text.split("Job stats:")[1].split("total")[0]
    jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
    checkpoints = 7 + 142  # seven sizes at step 143000, the smallest at 142 steps before
    assert jobs["pin"] == jobs["fetch"] == jobs["gather_losses"] == checkpoints and jobs["pins"] == 1
    assert jobs["losses_part"] == 143 * 2 + 4 + 8 + 4 * 20
    assert jobs["gradients"] == 10 and jobs["labels"] == 1 and jobs["subset_losses"] == jobs["subset_clusters"] == 1
