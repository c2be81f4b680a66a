"""Faults: whatever happens to a run, one command finishes it with the same bytes, or names the file and the fix.

    python tests/faults/harness.py --kills 100 --folder /tmp/faults          # goes on where it was stopped
    python tests/faults/harness.py --table /tmp/faults                       # what was found so far

Each fault is a row of `FOLDER/faults.csv`: what was done, where, what the next command did, and whether all tables and
arrays are those of an undisturbed run. All randomness follows from --seed and the number of the fault.
"""

import argparse
import contextlib
import csv
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parents[2] / "workflow")]

import psutil  # noqa: E402 (these are found by the line above)
from quanta.storage import files  # noqa: E402
from repository import command, copy_of_the_repository, environment, hashes  # noqa: E402

COMMAND = ("--cores", "2", "--configfile", "config/smoke.yaml")
STEPS, PAUSE = 12, 3.0  # a kill comes after at most so many further steps, and so many seconds after the last of them
SAME, MENDED, WRONG = "same bytes", "error with the fix, then same bytes", "WRONG"
UNREAD = "not read again, all else the same"  # of a finished run, inside a folder: Snakemake compares the folder's time


@dataclass(frozen=True)
class Row:
    """One fault and what became of it."""

    number: int
    kind: str
    what: str
    at: str
    then: str
    seconds: float


class Run:
    """A copy of the repository in which the smoke run is disturbed."""

    def __init__(self, folder: Path, targets: tuple[str, ...]) -> None:
        self.folder = folder
        self.command = command(*COMMAND, *(("--", *targets) if targets else ()))

    @property
    def results(self) -> Path:
        return self.folder / "results/smoke"

    def start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "output.txt").open("w") as output:
            return subprocess.Popen(
                self.command,
                cwd=self.folder, env=environment(), stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    def finish(self) -> tuple[int, str]:
        """Run to the end: exit status and what was said."""
        status = self.start().wait()
        return status, (self.folder / "output.txt").read_text(errors="replace")


def progress(folder: Path) -> str:
    """How far a run had come, as Snakemake said last."""
    said = re.findall(r"\d+ of \d+ steps \(\d+%\) done", (folder / "output.txt").read_text(errors="replace"))
    return said[-1] if said else "before the first step"


def same(run: Run, expected: dict[str, str]) -> bool:
    """Whether all tables and arrays are there and those of an undisturbed run."""
    return hashes(run.folder) == expected


# ----------------------------------------------------------------------------------------------------------- kills


def _job(main: psutil.Process) -> list[psutil.Process]:
    """Processes of jobs: those that run a rule's script."""
    found = []
    for process in main.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [process] if any("/scripts/" in part for part in process.cmdline()) else []
    return found


KILLS: dict[str, Callable[[psutil.Process], list[psutil.Process]]] = {
    "Snakemake": lambda main: [main],
    "a job": _job,
    "all": lambda main: [main, *main.children(recursive=True)],
}


def advance(run: Run, process: "subprocess.Popen[bytes]", rng: random.Random) -> None:
    """Let a run go on for a random number of steps, none among them, and a random moment more, unless it ends.

    Counted in steps, so that the faults of a seed are the same on a slow machine.
    """
    said, wanted = "", rng.randrange(STEPS + 1)
    while process.poll() is None and said.count("steps (") < wanted:
        time.sleep(0.1)
        said = (run.folder / "output.txt").read_text(errors="replace")
    deadline = time.monotonic() + rng.uniform(0, PAUSE)
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def kill(run: Run, kind: str, rng: random.Random) -> str | None:
    """Start the run, kill at a random moment; how far it was, or None if it had ended before."""
    process = run.start()
    advance(run, process, rng)
    victims: list[psutil.Process] = []
    while process.poll() is None and not victims:
        main = psutil.Process(process.pid)
        everyone, victims = main.children(recursive=True), KILLS[kind](main)
        time.sleep(0.02)
    if not victims:
        return None
    for victim in [rng.choice(victims)] if kind == "a job" else victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    process.wait()
    psutil.wait_procs(everyone, timeout=60)
    return progress(run.folder)


# ------------------------------------------------------------------------------------------------------ other faults


def cut(file: Path, rng: random.Random) -> str:
    size = file.stat().st_size
    left = rng.randrange(size)
    os.truncate(file, left)
    return f"cut to {left} of {size} bytes"


def flip(file: Path, rng: random.Random) -> str:
    content = bytearray(file.read_bytes())
    place = rng.randrange(len(content))
    content[place] ^= 1 << rng.randrange(8)
    file.write_bytes(content)
    return f"one bit of byte {place} flipped"


def intermediate(results: Path, rng: random.Random) -> list[str]:
    """One file of every kind that some rule reads, by name: of what each model or net has, that of one of them."""
    patterns = """corpus/texts.parquet corpus/tokenizer/tokenizer.json corpus/tokens.npy corpus/offsets.npy corpus/documents.parquet
        corpus/training_tokens.npy corpus/training_offsets.npy models/*/step*/config.json models/*/step*/model.safetensors
        models/*/curve.csv models/family.csv losses/*/step*.npy scaling/*.csv scaling/*.json scaling/*.parquet scaling/*.npy
        qdg/*.parquet qdg/*.json qdg/*.npy qdg/*.csv calibration/*.npy calibration/*.parquet calibration/*.csv calibration/*.json
        parity/**/*.csv parity/**/*.parquet parity/**/*.npz parity/**/*.json theory/*.csv theory/*.json report/summary.json"""
    found = {str(path.relative_to(results)) for pattern in patterns.split() for path in results.glob(pattern)}
    kinds: dict[str, list[str]] = {}
    for name in sorted(found):
        kinds.setdefault(re.sub(r"^(models|losses)/[^/]+(/step\d+)?", r"\1", name), []).append(name)
    return [rng.choice(names) for names in kinds.values()]


def damage(run: Run, name: str, how: Callable[[Path, random.Random], str], rng: random.Random) -> tuple[str, str]:
    """Damage a file of a finished run, run again, do what the error says; what was done, and what it came to."""
    file = run.results / name
    done = how(file, rng)
    status, said = run.finish()
    if status == 0:
        return done, UNREAD if _is_damaged(run, name) else SAME
    blocks = re.findall(r"^ *(?:\w+: )?(\S+): .*\n.*expected: .*\n.*fix: +(.*)", said, re.MULTILINE)
    named = [(where, mend) for where, mend in blocks if where.startswith("results/smoke/")]
    if not named or "Traceback" in said:
        return done, f"{WRONG}: {said[-300:]!r}"
    for where, _ in set(named):
        target = run.folder / where
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    status, said = run.finish()
    return done, MENDED if status == 0 else f"{WRONG}: {said[-300:]!r}"


def _is_damaged(run: Run, name: str) -> bool:
    """Whether a file is still another one than its checksum says."""
    known = {}
    for sums in (run.results / "checksums").rglob("*.sha256"):
        known |= {path: value for value, _, path in (line.partition("  ") for line in sums.read_text().splitlines())}
    return files.file_hash(run.results / name) != known[f"results/smoke/{name}"]


class Small:
    """A tmpfs of a few MB in place of results/, where this is root; else nothing can be mounted."""

    def __init__(self, run: Run, megabytes: int) -> None:
        self.place, self.size = run.folder / "results", megabytes

    def mount(self) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.size}m", "tmpfs", str(self.place)], check=True)

    def again(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.place)], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.place)], check=True)


def on_its_way(run: Run, rng: random.Random) -> "tuple[Small, subprocess.Popen[bytes], str]":
    """A run on a small disk of its own, a random way on: the disk, the run, how far it is."""
    small = Small(run, 400)
    small.mount()
    process = run.start()
    advance(run, process, rng)
    return small, process, progress(run.folder)


def full_disk(run: Run, rng: random.Random) -> tuple[str, str]:
    """Fill the disk while the run writes to it, make room, run again."""
    _, process, at = on_its_way(run, rng)
    filler = run.folder / "results/filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(1 << 20))
    status = process.wait()
    said = (run.folder / "output.txt").read_text(errors="replace")
    named = status != 0 and "No space left on device" in said
    filler.unlink()
    return at, _after(run, named or status == 0, said)


def read_only(run: Run, rng: random.Random) -> tuple[str, str]:
    """Make the results read-only in the middle of the run, allow it again, run again."""
    small, process, at = on_its_way(run, rng)
    busy = time.monotonic() + 30
    while subprocess.run(["mount", "-o", "remount,ro", str(small.place)], check=False, capture_output=True).returncode:
        if time.monotonic() > busy or process.poll() is not None:
            break
    status = process.wait()
    said = (run.folder / "output.txt").read_text(errors="replace")
    small.again("rw")
    return at, _after(run, status == 0 or "Read-only file system" in said, said)


def two_at_once(run: Run, rng: random.Random) -> tuple[str, str]:
    """A second Snakemake while the first is at work: refused, and the first is not disturbed."""
    first = run.start()
    advance(run, first, rng)
    at = progress(run.folder)
    with (run.folder / "second.txt").open("w") as output:
        second = subprocess.run(
            run.command, cwd=run.folder, env=environment(), stdout=output, stderr=output, check=False
        )
    if "Nothing to be done" in (said := (run.folder / "second.txt").read_text()):
        return at, SAME if first.wait() == 0 else f"{WRONG}: the first failed"  # it had ended: the fault came too late
    refused = second.returncode != 0 and "Directory cannot be locked" in said
    status = first.wait()
    if not refused:
        return at, f"{WRONG}: the second was not refused: {said[-300:]!r}"
    return at, SAME if status == 0 else f"{WRONG}: the first failed"


def _after(run: Run, as_expected: bool, said: str) -> str:
    if not as_expected:
        return f"{WRONG}: {said[-300:]!r}"
    status, said = run.finish()
    return SAME if status == 0 else f"{WRONG}: {said[-300:]!r}"


OTHERS: dict[str, Callable[[Run, random.Random], tuple[str, str]]] = {
    "two Snakemakes": two_at_once,
    "a full disk": full_disk,
    "read-only results": read_only,
}


# --------------------------------------------------------------------------------------------------------- the whole


class Harness:
    """All faults in one folder, with an undisturbed run beside them."""

    def __init__(self, folder: Path, seed: int, targets: tuple[str, ...] = ()) -> None:
        self.folder, self.seed, self.targets = folder, seed, targets
        self.table = folder / "faults.csv"
        self.calm = Run(folder / "calm/quanta", targets)

    def prepare(self) -> dict[str, str]:
        """The undisturbed run; hashes of what it made."""
        if not self.calm.folder.exists():
            self.calm.folder.mkdir(parents=True)
            copy_of_the_repository(self.calm.folder)
        status, said = self.calm.finish()
        if status:
            raise RuntimeError(said[-3000:])
        return hashes(self.calm.folder)

    def rows(self) -> list[Row]:
        """What was found so far."""
        if not self.table.exists():
            return []
        with self.table.open() as stream:
            return [Row(int(r["number"]), r["kind"], r["what"], r["at"], r["then"], float(r["seconds"])) for r in csv.DictReader(stream)]  # fmt: skip

    def write(self, row: Row) -> None:
        new = not self.table.exists()
        with self.table.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, [field.name for field in fields(Row)])
            if new:
                writer.writeheader()
            writer.writerow(asdict(row))
        print(f"{row.number:4d} {row.kind:20s} {row.what:50s} {row.at:32s} {row.then}", flush=True)

    def fresh(self, name: str) -> Run:
        """A repository without results."""
        target = self.folder / name / "quanta"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        return Run(copy_of_the_repository(target), self.targets)

    def finished(self, name: str) -> Run:
        """A copy of the undisturbed run."""
        target = self.folder / name / "quanta"
        shutil.rmtree(target, ignore_errors=True)
        return Run(shutil.copytree(self.calm.folder, target, symlinks=True), self.targets)

    def run(self, kills: int, files: int | None, others: bool, until: float) -> Iterator[Row]:
        """All faults that have no row yet, of all kinds in turn, until a moment of the monotonic clock."""
        expected, done = self.prepare(), {row.number for row in self.rows()}
        kinds = [self._files(files, done, expected, until), self._kills(kills, done, expected, until)]
        if others:
            kinds.append(self._others(done, expected, until))
        while kinds:
            for kind in list(kinds):
                row = next(kind, None)
                if row is None:
                    kinds.remove(kind)
                else:
                    yield row

    def _files(self, files: int | None, done: set[int], expected: dict[str, str], until: float) -> Iterator[Row]:
        """Intermediate files, each cut and with a bit flipped; numbered from 1000 on."""
        rng = random.Random(self.seed)
        names = intermediate(self.calm.results, rng)
        chosen = rng.sample(names, min(len(names) if files is None else files, len(names)))
        for name in chosen:
            for j, how in enumerate((cut, flip)):
                number = 1000 + 2 * names.index(name) + j
                if number in done or time.monotonic() > until or not (self.calm.results / name).stat().st_size:
                    continue
                began, run = time.monotonic(), self.finished("file")
                what, then = damage(run, name, how, random.Random(f"{self.seed} {number}"))
                yield self._row(number, f"{how.__name__} file", f"{name}: {what}", "", then, run, expected, began)

    def _others(self, done: set[int], expected: dict[str, str], until: float) -> Iterator[Row]:
        """Disks and second Snakemakes; numbered from 2000 on."""
        for i, (kind, fault) in enumerate(OTHERS.items()):
            if 2000 + i in done or time.monotonic() > until:
                continue
            began, run = time.monotonic(), self.fresh("other")
            try:
                at, then = fault(run, random.Random(f"{self.seed} {2000 + i}"))
                yield self._row(2000 + i, kind, "", at, then, run, expected, began)
            finally:
                if os.path.ismount(run.folder / "results"):
                    Small(run, 0).unmount()

    def _kills(self, kills: int, done: set[int], expected: dict[str, str], until: float) -> Iterator[Row]:
        """Kills of one run after another; a run that ends is compared, and its kills are written down together."""
        number, pending, run = 0, [], None
        for number in range(kills):
            if number in done:
                continue
            if time.monotonic() > until:
                break
            run = run or self.fresh("kill")
            rng, began = random.Random(f"{self.seed} {number}"), time.monotonic()
            kind = rng.choice(list(KILLS))
            at = kill(run, kind, rng)
            while at is None:  # it ended before the kill: the next one hits a fresh run
                yield from self._judge(run, pending, expected)
                pending, run = [], self.fresh("kill")
                at = kill(run, kind, rng)
            pending.append(Row(number, "kill", kind, at, "", time.monotonic() - began))
        if run is not None and pending:
            yield from self._judge(run, pending, expected)

    def _judge(self, run: Run, pending: list[Row], expected: dict[str, str]) -> Iterator[Row]:
        status, said = run.finish()
        then = SAME if status == 0 and same(run, expected) else f"{WRONG}: {said[-300:]!r}"
        for row in pending:
            final = Row(**{**asdict(row), "then": then})
            self.write(final)
            yield final
        if then != SAME:
            shutil.copytree(run.folder, self.folder / f"wrong-{pending[-1].number}", symlinks=True, dirs_exist_ok=True)

    def _row(
        self, number: int, kind: str, what: str, at: str, then: str, run: Run, expected: dict[str, str], began: float
    ) -> Row:
        found = hashes(run.folder)
        differ = [name for name in expected | found if found.get(name) != expected.get(name)]
        if then == UNREAD and all(what.startswith(f"{name}: ") for name in differ):
            differ = []
        if differ and not then.startswith(WRONG):
            then = f"{WRONG}: {differ[:5]}"
        row = Row(number, kind, what, at, then, time.monotonic() - began)
        self.write(row)
        return row


def table(rows: list[Row]) -> str:
    """Counts by kind, as Markdown."""
    ends = (SAME, MENDED, UNREAD, WRONG)
    lines = [f"| fault | times | {' | '.join(ends).lower()} |", "|---" * 6 + "|"]
    kinds = list(dict.fromkeys((row.kind, row.what if row.kind == "kill" else "") for row in rows))
    for kind, what in sorted(kinds):
        mine = [row for row in rows if row.kind == kind and (row.kind != "kill" or row.what == what)]
        counts = [sum(row.then.startswith(end) for row in mine) for end in ends]
        name = f"kill -9 of {what}" if kind == "kill" else kind
        lines.append(f"| {name} | {len(mine)} | {' | '.join(map(str, counts))} |")
    return "\n".join(lines)


def main() -> int:
    """The command line: 1 if any fault ended wrong."""
    parser = argparse.ArgumentParser(description="disturb the smoke run and compare its bytes")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument(
        "--files", type=int, help="so many kinds of intermediate files, chosen at random; all without it"
    )
    parser.add_argument("--no-others", action="store_true", help="neither full disks nor two Snakemakes at once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e6, help="start no fault after so long")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/quanta-faults"))
    parser.add_argument("--targets", nargs="*", default=[], help="files of the smoke run to stop at; all without it")
    parser.add_argument("--table", action="store_true", help="only print what was found so far")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    harness = Harness(chosen.folder.resolve(), chosen.seed, tuple(chosen.targets))
    if not chosen.table:
        for _ in harness.run(chosen.kills, chosen.files, not chosen.no_others, time.monotonic() + 60 * chosen.minutes):
            pass
    rows = harness.rows()
    print(table(rows))
    wrong = [row for row in rows if row.then.startswith(WRONG)]
    print(*(f"{row.number} {row.kind} {row.what}: {row.then}" for row in wrong), sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
