"""Files of a pinned revision, fetched into a store under the hash that the hub states, and checked by it.

A file is fetched once however many checkpoints share it, and goes on where it broke off.
"""

import errno
import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import Any

from quanta.errors import QuantaError
from quanta.progress import Progress, log
from quanta.storage import hub_pins, hub_requests, writing
from quanta.storage.files import check_disk
from quanta.storage.hub_pins import File, Pin
from quanta.storage.hub_requests import AgainError, Patience, Tries

CHUNK = 2**20


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
    with hub_requests.get(url, where, patience, {"range": f"bytes={have}-"} if have else None) as response:
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
            raise AgainError("the hub cannot go on where it broke off; from the start")
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
                "free some space, or set models.hub.store to a larger disk; finished files are kept",
            ) from error
    if size > file.size:
        partial.unlink()
        raise AgainError(f"longer than the {file.size} bytes that were pinned")
    if size < file.size:
        raise AgainError(f"ended after {size} of {file.size} bytes")


def fetch_file(pin: Pin, file: File, store: str | Path, patience: Patience | None = None) -> Path:
    """The path of a file in the store, fetched unless it is there, its hash checked either way.

    Raises:
        QuantaError: the hub cannot serve it, or what it serves has another hash, twice.
    """
    from urllib.parse import quote

    patience = patience or Patience()
    kind, _, digest = file.digest.partition(":")
    target = hub_pins.place_of(store, file)
    where = f"hub, {pin.repository} at {pin.revision}, {file.path}"
    prefix = "datasets/" if pin.kind == "dataset" else ""
    url = f"{hub_requests.endpoint()}/{prefix}{pin.repository}/resolve/{pin.commit}/{quote(file.path)}"
    partial = target.with_name(f"{digest}.incomplete")
    # whole files need no lock: a store may be somebody else's, to be read and not written
    if target.is_file() and _digest_matches(target, file):
        return target
    with hub_pins.exclusive(Path(store) / "guards" / digest):
        if target.is_file():
            if _digest_matches(target, file):
                return target
            log.warning("%s: the copy in the store is damaged and is fetched again", where)
            target.unlink()
        target.parent.mkdir(parents=True, exist_ok=True)
        progress = Progress(f"fetch {pin.repository} {pin.revision} {file.path}", file.size, "bytes")
        tries, wrong = Tries(where, patience), 0
        largest = partial.stat().st_size if partial.exists() else 0
        while True:
            try:
                _append(url, file, partial, where, patience, progress)
            except AgainError as reason:
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
            log.warning("%s: wrong hash; fetched again from the start", where)
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
    hub_pins.check_room([pin], store)
    paths = [fetch_file(pin, file, store, patience) for file in pin.files]
    folder.mkdir(parents=True, exist_ok=True)
    if paths and folder.stat().st_dev != paths[0].stat().st_dev:
        check_disk(folder, pin.size)
    for file, path in zip(pin.files, paths, strict=True):
        with writing.atomic(folder / file.path) as temporary:
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
