"""Pins: what a revision of a hub was when it was first used.

A revision (a branch or tag) may move. So it is *pinned* on first use: its commit, and name, size and hash of every file
that is wanted, go into a lock file; from then on only these bytes are accepted.
"""

import contextlib
import errno
import fcntl
import fnmatch
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from quanta.errors import QuantaError
from quanta.progress import log
from quanta.storage import files as storage_files
from quanta.storage import hub_requests
from quanta.storage.files import check_disk
from quanta.storage.hub_requests import Patience

NO_LOCKS = (
    errno.ENOSYS,
    errno.ENOLCK,
    errno.EOPNOTSUPP,
    errno.EBADF,
)  # of file systems, EBADF of a guard on NFS that may only be read
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SMALL = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
TEXTS = ("*.jsonl", "*.jsonl.gz", "*.jsonl.zst", "*.jsonl.xz", "*.parquet")


@dataclass(frozen=True)
class File:
    """A file of a repository: its size in bytes and the hash that the hub states, `sha256:` (LFS) or `git:` (blob)."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True)
class Pin:
    """What a revision was when it was first used."""

    kind: str
    repository: str
    revision: str
    commit: str
    files: tuple[File, ...]

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    @property
    def weights(self) -> str:
        """Digests of the safetensors files together: equal for equal files."""
        return " ".join(file.digest for file in self.files if file.path.endswith(".safetensors"))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def pin_of(content: Mapping[str, Any]) -> Pin:
    """A pin from JSON.

    Raises:
        QuantaError: it lacks something, or a path leads out of its folder.
    """
    try:
        files = tuple(File(str(f["path"]), int(f["size"]), str(f["digest"])) for f in content["files"])
        kind, repository, revision, commit = (str(content[k]) for k in ("kind", "repository", "revision", "commit"))
        pin = Pin(kind, repository, revision, commit, files)
    except (KeyError, TypeError, ValueError) as error:
        raise QuantaError(
            "pin", f"damaged ({error!r})", "a pin written by this program", storage_files.RERUN
        ) from error
    for file in files:
        _check_path(file.path, pin.repository)
        if file.size < 0:
            raise QuantaError(
                f"pin of {pin.repository}", f"{file.size} bytes of {file.path}", "a size in bytes", "pin it again"
            )
        if not re.fullmatch(r"sha256:[0-9a-f]{64}|git:[0-9a-f]{40}", file.digest):
            raise QuantaError(
                f"pin of {pin.repository}", f"{file.digest!r}", "a SHA-256 or a git blob id", "pin it again"
            )
    return pin


# ----------------------------------------------------------------------------------------------------- pins


def _check_path(path: str, where: str) -> None:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not path or "\\" in path or "\0" in path:
        raise QuantaError(where, f"a file named {path!r}", "a path inside the repository", "do not use this repository")


def _listed(kind: str, repository: str, revision: str, patience: Patience) -> tuple[str, dict[str, File]]:
    """(commit, files by path) of a revision, as the hub's information about the repository says."""
    from urllib.parse import quote

    where = f"hub, {repository} at {revision}"
    url = f"{hub_requests.endpoint()}/api/{kind}s/{repository}/revision/{quote(revision, safe='')}?blobs=true"
    answer = hub_requests.get_json(url, where, patience)
    files: dict[str, File] = {}
    try:
        commit = str(answer["sha"])
        for entry in answer["siblings"]:
            lfs = entry.get("lfs")
            digest = f"sha256:{lfs['sha256']}" if lfs else f"git:{entry['blobId']}"
            files[entry["rfilename"]] = File(entry["rfilename"], int((lfs or entry)["size"]), digest)
    except (KeyError, TypeError, ValueError) as error:
        raise QuantaError(
            where, f"no list of files with sizes and hashes ({error!r})", "a hub's answer", "look at HF_ENDPOINT"
        ) from error
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise QuantaError(where, f"commit {commit!r}", "40 hexadecimal digits", "look at HF_ENDPOINT")
    return commit, files


def _model_files(files: Mapping[str, File], where: str) -> list[File]:
    """Those that a model needs: configuration, tokenizer, and one set of safetensors.

    Raises:
        QuantaError: there is no configuration, or no safetensors.
    """
    shards = sorted(path for path in files if re.fullmatch(r"model-\d+-of-\d+\.safetensors", path))
    weights = [WEIGHTS] if WEIGHTS in files else [INDEX, *shards] if INDEX in files and shards else []
    if "config.json" not in files or not weights:
        pickled = sorted(p for p in files if any(fnmatch.fnmatch(p, pattern) for pattern in PICKLES))
        found = f"weights as pickles only ({', '.join(pickled[:3])})" if pickled else f"files {sorted(files)[:8]}"
        raise QuantaError(
            where,
            found,
            f"config.json and {WEIGHTS}, or its shards with {INDEX}; pickles can run code and are not read",
            "name a revision with safetensors (models.hub.instead, or the member's revision), or convert the weights"
            " with save_pretrained and set models.source: folder",
        )
    return [files[path] for path in [*SMALL, *weights] if path in files]


def _data_files(files: Mapping[str, File], patterns: Sequence[str], where: str) -> list[File]:
    """Those that match, in the order of the patterns, then of their names."""
    chosen: dict[str, File] = {}
    for pattern in patterns:
        for path in sorted(files):
            if fnmatch.fnmatch(path, pattern):
                chosen.setdefault(path, files[path])
    wrong = [path for path in chosen if not any(fnmatch.fnmatch(path, kind) for kind in TEXTS)]
    if not chosen or wrong:
        raise QuantaError(
            where,
            f"{wrong[0]} is of another kind" if wrong else f"none of {list(patterns)} among {sorted(files)[:8]}",
            f"files of the kinds {', '.join(TEXTS)}",
            "set corpus.hub.files to names or patterns of the repository's text files",
        )
    return list(chosen.values())


def ask(
    kind: str, repository: str, revision: str, patterns: Sequence[str] = (), patience: Patience | None = None
) -> Pin:
    """Ask the hub what a revision is now. `kind` is model or dataset; `patterns` choose a data set's files.

    Raises:
        QuantaError: the hub cannot be reached, has no such repository or revision, or it lacks the files needed.
    """
    where = f"hub, {repository} at {revision}"
    commit, files = _listed(kind, repository, revision, patience or Patience())
    wanted = _model_files(files, where) if kind == "model" else _data_files(files, patterns, where)
    pin = Pin(kind, repository, revision, commit, tuple(wanted))
    return pin_of(pin.as_dict())


@contextlib.contextmanager
def exclusive(guard: Path) -> Iterator[None]:
    """One process at a time: holds a lock on a file, which is made if need be and never removed.

    A file and not a folder, whose lock NFS does not carry to other hosts. Where nothing can be locked, a warning says so.
    """
    guard.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(guard, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:  # somebody else's
        handle = os.open(guard, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            log.warning("%s cannot be locked (%s): let no two runs fetch at once", guard, error.strerror)
        yield
    finally:
        os.close(handle)


def pin(
    lock: str | Path,
    kind: str,
    repository: str,
    revision: str,
    patterns: Sequence[str] = (),
    instead: str | None = None,
    patience: Patience | None = None,
) -> Pin:
    """The pin of a revision: from the lock file, else asked for and written there.

    `instead` names a revision of the same weights that is taken where `revision` holds none as safetensors.

    Raises:
        QuantaError: see `ask`.
    """
    lock = Path(lock)
    key = " ".join([kind, repository, revision, *patterns])
    known = storage_files.read_json(lock) if lock.is_file() else {}
    if key in known:
        return pin_of(known[key])
    try:
        found = ask(kind, repository, revision, patterns, patience)
    except QuantaError as error:
        if instead is None or instead == revision or "pickles only" not in error.found:
            raise
        log.warning("%s: %s; %s is taken instead", error.where, error.found, instead)
        found = ask(kind, repository, instead, patterns, patience)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(lock.with_name(f".{lock.name}.guard")):
        known = storage_files.read_json(lock) if lock.is_file() else {}
        found = pin_of(known[key]) if key in known else found
        storage_files.write_json(lock, known | {key: found.as_dict()})
    return found


def check_different(pins: Mapping[str, Pin]) -> None:
    """Refuse two checkpoints whose files of weights are the same, before anything is fetched.

    Some step branches on the public hub are known to hold another step's weights.

    Raises:
        QuantaError: the names of those that are equal.
    """
    names: dict[str, list[str]] = {}
    for name, one in pins.items():
        names.setdefault(one.weights, []).append(name)
    twins = [group for group in names.values() if len(group) > 1]
    if twins:
        raise QuantaError(
            "models.hub",
            "equal weights under " + "; ".join(" and ".join(group) for group in twins),
            "different weights in each: the hub serves the same file for several steps",
            "take all but the right one out of dynamics.steps (or models.hub.members), or name another revision",
        )


def check_room(pins: Sequence[Pin], store: str | Path) -> None:
    """Refuse where the disk of the store has no room for what it lacks.

    Raises:
        QuantaError: with both numbers.
    """
    missing = {f.digest: f.size for one in pins for f in one.files if not place_of(store, f).is_file()}
    check_disk(Path(store), sum(missing.values()))


def place_of(store: str | Path, file: File) -> Path:
    """Where a file lies in a store: under its hash."""
    return Path(store) / file.digest.replace(":", "/", 1)
