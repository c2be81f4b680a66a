"""The page that shows the run: main numbers, figures with captions, clusters with their tokens in context.

Makes: `report/index.html`, one file beside its figures. All text of the corpus is escaped.
"""

from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from quanta import clusters, corpus, selection, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = corpus.load_tokens(inputs.tokens, inputs.offsets)
    chosen = selection.read_selection(inputs.selection, tokens)
    found = clusters.describe(
        clusters.read_labels(inputs.labels, len(chosen)),
        chosen,
        storage.read_table(inputs.documents, ("document", "source")),
        tokens,
        corpus.Texts(corpus.load_tokenizer(Path(inputs.tokenizer).parent)),
        n_clusters=params.show,
        examples=params.examples,
    )
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = template.from_string(Path(inputs.template).read_text(encoding="utf-8")).render(
        run=params.run,
        summary=storage.read_json(inputs.summary),
        table=storage.read_table(inputs.table).fillna("").to_dict(orient="records"),
        figures=[
            {"name": name, "caption": Path(path).read_text(encoding="utf-8").strip()}
            for name, path in zip(params.names, inputs.captions, strict=True)
        ],
        clusters=found,
        n_clusters=params.show,
    )
    with storage.atomic(outputs.page) as temporary:
        temporary.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
