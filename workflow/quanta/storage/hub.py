"""Hub: files of a model or a data set at a pinned commit, checked by the hash that the hub itself states.

A revision (a branch or tag) may move. So it is *pinned* on first use: its commit, and name, size and hash of every file
that is wanted, go into a lock file; from then on only these bytes are accepted. Files lie in a store under their hash,
are fetched once however many checkpoints share them, and go on where they broke off.

The token of a gated repository is read from the environment (HF_TOKEN) and goes nowhere but into the request.
"""

import contextlib
import errno
import fcntl
import fnmatch
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath
from typing import Any

from quanta.config.preflight import check_disk
from quanta.errors import QuantaError
from quanta.progress import Progress, log
from quanta.storage import files as storage_files

CHUNK = 2**20
LONGEST_ANSWER = 2**26  # bytes: lists of the largest repositories have some MB
NO_LOCKS = (
    errno.ENOSYS,
    errno.ENOLCK,
    errno.EOPNOTSUPP,
    errno.EBADF,
)  # of file systems, EBADF of a guard on NFS that may only be read
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SMALL = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
TEXTS = ("*.jsonl", "*.jsonl.gz", "*.jsonl.zst", "*.parquet")
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Patience:
    """How often a request is tried, and how long is waited: seconds doubling from `first`, at most `longest`.

    An attempt that brought new bytes starts the count again. `stall` is the silence in seconds after which a connection
    is given up. The hub's own Retry-After is obeyed up to `longest`; a longer one ends the job.
    """

    attempts: int = 6
    first: float = 1.0
    longest: float = 300.0
    stall: float = 30.0


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
                f"pin of {pin.repository}", f"{file.size} bytes of {file.path}", "a size in bytes", "pin it anew"
            )
        if not re.fullmatch(r"sha256:[0-9a-f]{64}|git:[0-9a-f]{40}", file.digest):
            raise QuantaError(
                f"pin of {pin.repository}", f"{file.digest!r}", "a SHA-256 or a git blob id", "pin it anew"
            )
    return pin


# ------------------------------------------------------------------------------------------------- requests


def endpoint() -> str:
    """The hub's address: HF_ENDPOINT, or the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _headers() -> dict[str, str]:
    name = "HF_TOKEN" if os.environ.get("HF_TOKEN") else "HUGGING_FACE_HUB_TOKEN"
    token = os.environ.get(name, "").strip()
    if not re.fullmatch(r"[!-~]*", token):  # the token itself is not shown
        raise QuantaError(
            f"environment, {name}",
            "a blank, a line break or a letter beyond ASCII within the token",
            "a token as the hub shows it",
            "copy it once more, without what stands around it",
        )
    headers = {"user-agent": "quanta", "accept-encoding": "identity"}
    return headers | ({"authorization": f"Bearer {token}"} if token else {})


class _AgainError(Exception):
    """A failure that may pass; `wait` is what the hub asks for, in seconds."""

    def __init__(self, found: str, wait: float | None = None) -> None:
        self.found, self.wait = found, wait
        super().__init__(found)


def _refuse(where: str, status: int, code: str, what: str) -> QuantaError:
    """The error for an answer that will not get better by waiting."""
    has_token = "authorization" in _headers()
    login = (
        "the token in HF_TOKEN has no access: accept the repository's terms on its page, or give another token"
        if has_token
        else "check the name; if the repository is gated or private, put your token into the environment (HF_TOKEN)"
    )
    if status in (401, 403):
        found = "gated: access has to be granted" if code == "GatedRepo" else "no such repository, or no access to it"
        return QuantaError(where, f"{status}, {found}", what, login)
    if status == 404:
        found = {"RevisionNotFound": "no such revision", "EntryNotFound": "no such file"}.get(
            code, "no such repository"
        )
        return QuantaError(where, f"404, {found}", what, "check models.hub (or corpus.hub): repository and revision")
    return QuantaError(where, f"the hub answers {status}", what, "look whether HF_ENDPOINT is a hub, and try again")


def _retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header: a number or a date."""
    if not value:
        return None
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        return None


@contextlib.contextmanager
def _get(url: str, where: str, patience: Patience, headers: Mapping[str, str] | None = None) -> Iterator[Any]:
    """One streamed GET, redirects followed (the token is not sent to another host); the response if it is 200 or 206.

    Raises:
        _AgainError: what may pass: a broken or silent connection, 408, 429, 5xx.
        QuantaError: what will not.
    """
    import httpx2
    from huggingface_hub import get_session
    from huggingface_hub.errors import OfflineModeIsEnabled

    client = get_session()
    limits = httpx2.Timeout(patience.stall)
    try:
        with client.stream("GET", url, headers=_headers() | dict(headers or {}), timeout=limits) as response:
            status = response.status_code
            if status in TRANSIENT:
                raise _AgainError(f"the hub answers {status}", _retry_after(response.headers.get("retry-after")))
            if status not in (200, 206, 416):
                code = response.headers.get("x-error-code", "")
                raise _refuse(where, status, code, "a repository, revision and file that the hub has")
            yield response
    except OfflineModeIsEnabled as error:
        raise QuantaError(
            where, "HF_HUB_OFFLINE is set", "a network for the steps that download", "unset it, or copy the files"
        ) from error
    except httpx2.TimeoutException as error:
        raise _AgainError(f"silent for {patience.stall:g} s ({type(error).__name__})") from error
    except (httpx2.TransportError, httpx2.StreamError) as error:
        raise _AgainError(f"connection broken ({type(error).__name__})") from error


class _Tries:
    """Counts attempts and waits between them."""

    def __init__(self, where: str, patience: Patience) -> None:
        self.where, self.patience, self.count = where, patience, 0

    def again(self, reason: _AgainError, *, progressed: bool = False) -> None:
        """Wait for the next attempt.

        Raises:
            QuantaError: all attempts are used up, or the hub asks for more time than is granted.
        """
        self.count = 1 if progressed else self.count + 1
        network = "look at the network and HF_ENDPOINT; start again later: what has arrived is kept"
        if self.count >= self.patience.attempts:
            raise QuantaError(
                self.where, f"{reason.found}, {self.count} times in a row", "an answer from the hub", network
            ) from reason
        if reason.wait is not None and reason.wait > self.patience.longest:
            raise QuantaError(
                self.where,
                f"{reason.found} and asks to wait for {reason.wait:.0f} s",
                f"at most {self.patience.longest:.0f} s",
                f"start again after that time; a token (HF_TOKEN) has higher limits. {network}",
            ) from reason
        backoff = min(self.patience.first * 2 ** (self.count - 1), self.patience.longest)
        wait = backoff if reason.wait is None else max(reason.wait, self.patience.first)
        log.warning("%s: %s; attempt %d in %.1f s", self.where, reason.found, self.count + 1, wait)
        time.sleep(wait)


def _json(url: str, where: str, patience: Patience) -> Any:
    tries = _Tries(where, patience)
    while True:
        try:
            with _get(url, where, patience) as response:
                answer = bytearray()
                for chunk in response.iter_bytes():
                    answer += chunk
                    if len(answer) > LONGEST_ANSWER:
                        raise QuantaError(
                            where,
                            f"an answer longer than {LONGEST_ANSWER / 1e6:.0f} MB",
                            "a list of files",
                            "look at HF_ENDPOINT",
                        )
                return json.loads(answer)
        except _AgainError as reason:
            tries.again(reason)
        except ValueError as error:
            raise QuantaError(where, f"no JSON ({error})", "a hub's answer", "look at HF_ENDPOINT") from error


# ----------------------------------------------------------------------------------------------------- pins


def _check_path(path: str, where: str) -> None:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not path or "\\" in path or "\0" in path:
        raise QuantaError(where, f"a file named {path!r}", "a path inside the repository", "do not use this repository")


def _listed(kind: str, repository: str, revision: str, patience: Patience) -> tuple[str, dict[str, File]]:
    """(commit, files by path) of a revision, as the hub's information about the repository says."""
    from urllib.parse import quote

    where = f"hub, {repository} at {revision}"
    url = f"{endpoint()}/api/{kind}s/{repository}/revision/{quote(revision, safe='')}?blobs=true"
    answer = _json(url, where, patience)
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
def _exclusive(guard: Path) -> Iterator[None]:
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
    with _exclusive(lock.with_name(f".{lock.name}.guard")):
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
    missing = {f.digest: f.size for one in pins for f in one.files if not _place(store, f).is_file()}
    check_disk(Path(store), sum(missing.values()))


def _place(store: str | Path, file: File) -> Path:
    return Path(store) / file.digest.replace(":", "/", 1)


# -------------------------------------------------------------------------------------------------- transfer


def digest_of(path: Path, kind: str) -> str:
    """`sha256:…` of a file's bytes, or `git:…`, the id that git gives a blob (SHA-1 of a header and the bytes)."""
    if kind == "git":
        state = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        state = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            state.update(chunk)
    return f"{kind}:{state.hexdigest()}"


def _digest_matches(path: Path, file: File) -> bool:
    return path.stat().st_size == file.size and digest_of(path, file.digest.partition(":")[0]) == file.digest


def _stated(response: Any) -> str | None:
    """The hash that the hub states in the headers of its own answer (not a redirect target's), if it is one."""
    first = response.history[0] if response.history else response
    tag = first.headers.get("x-linked-etag") or first.headers.get("etag") or ""
    tag = tag.removeprefix("W/").strip('"')
    return tag if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", tag) else None


def _append(url: str, file: File, partial: Path, where: str, patience: Patience, progress: Progress) -> None:
    """Fetch what is missing of `partial`, once.

    Raises:
        _AgainError: it broke off; what came is kept.
        QuantaError: the hub has another file there, or the disk is full.
    """
    have = partial.stat().st_size if partial.exists() else 0
    if have > file.size:
        partial.unlink()
        have = 0
    if have == file.size and have:
        return
    with _get(url, where, patience, {"range": f"bytes={have}-"} if have else None) as response:
        stated, wanted = _stated(response), file.digest.partition(":")[2]
        if stated and len(stated) == len(wanted) and stated != wanted:
            raise QuantaError(
                where, f"the hub states the hash {stated[:16]}…", f"{wanted[:16]}…, as pinned",
                "the file was replaced: delete this entry of the lock file if you trust the new one",
            )  # fmt: skip
        if response.status_code == 416 or (
            response.status_code == 206 and not response.headers.get("content-range", "").startswith(f"bytes {have}-")
        ):
            partial.unlink(missing_ok=True)
            raise _AgainError("the hub cannot go on where it broke off; from the start")
        append = response.status_code == 206
        try:
            size = have if append else 0
            with partial.open("ab" if append else "wb") as stream:
                for chunk in response.iter_bytes():
                    size += len(chunk)
                    if size > file.size:
                        break
                    stream.write(chunk)
                    progress.advance(len(chunk))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            free = shutil.disk_usage(partial.parent).free
            raise QuantaError(
                str(partial.parent),
                f"the disk is full ({free / 1e9:.2f} GB free) in the middle of {file.path}",
                f"{file.size / 1e9:.2f} GB for it",
                "free some room, or set models.hub.store to a larger disk; what has arrived is kept",
            ) from error
    if size > file.size:
        partial.unlink()
        raise _AgainError(f"longer than the {file.size} bytes that were pinned")
    if size < file.size:
        raise _AgainError(f"ended after {size} of {file.size} bytes")


def fetch_file(pin: Pin, file: File, store: str | Path, patience: Patience | None = None) -> Path:
    """The path of a file in the store, fetched unless it is there, its hash checked either way.

    Raises:
        QuantaError: the hub cannot serve it, or what it serves has another hash, twice.
    """
    from urllib.parse import quote

    patience = patience or Patience()
    kind, _, digest = file.digest.partition(":")
    target = _place(store, file)
    where = f"hub, {pin.repository} at {pin.revision}, {file.path}"
    prefix = "datasets/" if pin.kind == "dataset" else ""
    url = f"{endpoint()}/{prefix}{pin.repository}/resolve/{pin.commit}/{quote(file.path)}"
    partial = target.with_name(f"{digest}.incomplete")
    # whole files need no lock: a store may be somebody else's, to be read and not written
    if target.is_file() and _digest_matches(target, file):
        return target
    with _exclusive(Path(store) / "guards" / digest):
        if target.is_file():
            if _digest_matches(target, file):
                return target
            log.warning("%s: the copy in the store is damaged and is fetched anew", where)
            target.unlink()
        target.parent.mkdir(parents=True, exist_ok=True)
        progress = Progress(f"fetch {pin.repository} {pin.revision} {file.path}", file.size, "bytes")
        tries, wrong = _Tries(where, patience), 0
        largest = partial.stat().st_size if partial.exists() else 0
        while True:
            try:
                _append(url, file, partial, where, patience, progress)
            except _AgainError as reason:
                # the same bytes once more, after a start from nothing, are no progress
                size = partial.stat().st_size if partial.exists() else 0
                tries.again(reason, progressed=size > largest)
                largest = max(largest, size)
                continue
            if not partial.exists():
                partial.touch()
            if _digest_matches(partial, file):
                break
            found = digest_of(partial, kind)
            partial.unlink()
            wrong += 1
            if wrong == 2:
                raise QuantaError(
                    where,
                    f"hash {found.partition(':')[2][:16]}…, twice",
                    f"{digest[:16]}…, as pinned",
                    "a proxy or mirror alters the file (HF_ENDPOINT): nothing of it is kept",
                )
            log.warning("%s: wrong hash; fetched anew from the start", where)
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.chmod(0o444)  # runs have hard links to it: who edits one would edit all
        os.replace(partial, target)
        progress.done("hash checked")
    return target


def fetch(pin: Pin, store: str | Path, folder: str | Path, patience: Patience | None = None) -> None:
    """Put the files of a pin into a folder: hard links into the store, or copies where that is another disk.

    Raises:
        QuantaError: see `fetch_file`; or a disk has no room for what is missing.
    """
    folder, store = Path(folder), Path(store)
    check_room([pin], store)
    paths = [fetch_file(pin, file, store, patience) for file in pin.files]
    folder.mkdir(parents=True, exist_ok=True)
    if paths and folder.stat().st_dev != paths[0].stat().st_dev:
        check_disk(folder, pin.size)
    for file, path in zip(pin.files, paths, strict=True):
        with storage_files.atomic(folder / file.path) as temporary:
            try:
                os.link(path, temporary)
            except OSError:
                shutil.copyfile(path, temporary)
                if not _digest_matches(temporary, file):
                    raise QuantaError(
                        str(folder / file.path),
                        "a copy with another hash than the file in the store",
                        file.digest,
                        "look at the disks: the file in the store was whole",
                    ) from None
