"""Turn the unpacked Debian packages linux-doc-6.1 and debian-handbook into one file of JSON Lines.

    python texts.py FOLDER texts.jsonl

FOLDER is where `dpkg -x` put both packages. A line has `text` and `part`. The handbook's pages are stripped to the
text of their paragraphs; translations of both packages are left out, so that all texts are English.
"""

import gzip
import json
import sys
from html.parser import HTMLParser
from pathlib import Path


class Paragraphs(HTMLParser):
    """Collects the text of the handbook's paragraphs, headings, terms and listings."""

    VOID = ("area", "br", "col", "hr", "img", "input", "link", "meta")

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[str] = []
        self.open: list[bool] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.VOID:
            return
        starts = tag in ("h1", "h2", "h3", "h4", "dt", "pre") or ("class", "para") in attrs
        if starts:
            self.kept.append("")
        self.open.append(starts or (bool(self.open) and self.open[-1]))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1]:
            self.kept[-1] += data


def kernel_texts(folder: Path) -> list[str]:
    paths = sorted(path for path in folder.rglob("*.rst.gz") if "translations" not in path.parts)
    return [gzip.open(path).read().decode("utf-8", errors="replace") for path in paths]


def handbook_texts(folder: Path) -> list[str]:
    texts = []
    for path in sorted(folder.rglob("html/en-US/*.html")):
        page = Paragraphs()
        page.feed(path.read_text(encoding="utf-8"))
        texts.append("\n\n".join(text.strip() for text in page.kept if text.strip()))
    return texts


def main() -> None:
    folder, target = Path(sys.argv[1]), Path(sys.argv[2])
    parts = {"kernel documentation": kernel_texts(folder), "handbook": handbook_texts(folder)}
    with target.open("w", encoding="utf-8") as file:
        for part, texts in parts.items():
            print(f"{part}: {len(texts)} texts, {sum(map(len, texts)):,} characters")
            file.writelines(json.dumps({"text": text, "part": part}) + "\n" for text in texts)


if __name__ == "__main__":
    main()
