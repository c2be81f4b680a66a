"""The figures of a run: which there are, what each is drawn from, and by which script.

Imported while Snakemake parses: nothing heavy here.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quanta.storage import code

STAGES = {"0": "theory", "1": "scaling", "2": "scaling", "3": "clusters", "5": "parity"}


class Figures:
    """Figures by stage, in the order of the page.

    A job draws all of a stage, and its own script is that of all figures. So each figure carries what it is drawn by: a
    hash of its script, and `imports`, the hashes of what a script of that path imports.
    """

    def __init__(self, folder: str, scripts: Path, imports: Callable[[Path], str]) -> None:
        self.folder, self.scripts, self.imports = f"{folder}/report/figures", scripts, imports
        self.by_stage: dict[str, list[dict[str, Any]]] = {}

    def draw(
        self,
        script: str,
        category: str,
        inputs: Mapping[str, Any],
        params: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        stage: str | None = None,
    ) -> None:
        """Enter a figure, drawn by `scripts/{room}/figure_{x}.py` for a `script` of "{room}/{x}".

        `category` is its place in Snakemake's own report, and the stage that its number names draws it unless another is given.
        """
        path = Path(script)
        path = path.with_name(f"figure_{path.name}")
        file = self.scripts / f"{path}.py"
        one = {
            "name": name or Path(script).name,
            "category": category,
            "script": path.as_posix(),
            "inputs": dict(inputs),
            "params": dict(params or {}),
            "code": f"{code.digest(file)[:8]}, {self.imports(file)}",
        }
        self.by_stage.setdefault(stage or STAGES[category[0]], []).append(one)

    def names(self) -> list[str]:
        """Figures that this run has data for."""
        return [one["name"] for drawn in self.by_stage.values() for one in drawn]

    def files(self, *kinds: str, of: str | None = None) -> list[str]:
        """Files of all figures, or of one stage's, of some kinds ("png", "pdf", "csv"); none of a stage that draws none."""
        names = self.names() if of is None else [one["name"] for one in self.by_stage.get(of, [])]
        return [f"{self.folder}/{name}.{kind}" for name in names for kind in kinds]

    def inputs(self, stage: str) -> list[str]:
        """What a stage's figures are drawn from, each file once."""
        values = [value for one in self.by_stage[stage] for value in one["inputs"].values()]
        return list(dict.fromkeys(path for value in values for path in ([value] if isinstance(value, str) else value)))

    def captions(self) -> list[str]:
        """Files of all captions."""
        return [caption(name) for name in self.names()]


def caption(name: str) -> str:
    """The file of a figure's caption, which the figures of a kind share."""
    return f"workflow/report/{name.removesuffix('_size').removesuffix('_step')}.rst"
