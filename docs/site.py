"""What the site needs beside the pages of docs/: those that stand elsewhere, and the files that pages point at.

Read by mkdocs (`hooks` in mkdocs.yml). On the disk every link leads to a file of the tree; on the site a link out of
docs/ leads to a page made of that file.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
MOVED = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
DECISIONS = "decisions.md"
FOLDERS = {"docs/adr": DECISIONS}
SOURCES = "source"  # pages made of code
LANGUAGES = {".py": "python", ".js": "javascript", ".json": "json"}

_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)(?=[)#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here."""
    for name, page in MOVED.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    files.append(File.generated(config, DECISIONS, content=_decisions()))
    for path in sorted({path for text in _texts() for path in _outside(*text)}):
        files.append(File.generated(config, _source_page(path), content=_source(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Every link as it leads on the site."""
    here = page.file.src_uri
    there = next((name for name, moved in MOVED.items() if moved == here), f"docs/{here}")
    if here == DECISIONS or here.startswith(f"{SOURCES}/"):
        return markdown
    return _LINK.sub(
        lambda link: posixpath.relpath(_on_site(_target(there, link[1])), posixpath.dirname(here)), markdown
    )


def _texts() -> list[tuple[str, str]]:
    """Every page as a path in the tree, and its text."""
    pages = [*(ROOT / name for name in MOVED), *(ROOT / "docs").rglob("*.md")]
    return [(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in pages]


def _outside(page: str, text: str) -> list[str]:
    """The files that a page points at and that are no part of the site by themselves."""
    targets = [_target(page, link) for link in _LINK.findall(text)]
    return [path for path in targets if not path.startswith("docs/") and path not in MOVED]


def _target(page: str, link: str) -> str:
    """A link of a page as a path in the tree."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def _on_site(path: str) -> str:
    """Where a path of the tree is on the site."""
    if path in MOVED or path in FOLDERS:
        return MOVED.get(path) or FOLDERS[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else _source_page(path)


def _source_page(path: str) -> str:
    return f"{SOURCES}/{path}.md"


def _source(path: str) -> str:
    """A page that shows a file, or the files of a folder."""
    parts = [f"# {path}", ""]
    for file in sorted((ROOT / path).iterdir()) if (ROOT / path).is_dir() else [ROOT / path]:
        if file.name != path.rpartition("/")[2]:
            parts += [f"## {file.name}", ""]
        if file.suffix == ".md":
            parts += [file.read_text(encoding="utf-8")]
        else:
            parts += [
                f"````{LANGUAGES.get(file.suffix, 'text')}",
                file.read_text(encoding="utf-8").rstrip(),
                "````",
                "",
            ]
    return "\n".join(parts)


def _decisions() -> str:
    """The list of the decision records."""
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    titles = [(record.name, record.read_text(encoding="utf-8").partition("\n")[0]) for record in records]
    lines = [f"- [{title.removeprefix('# ')}](adr/{name})" for name, title in titles]
    return "\n".join(["# Decisions", "", "What was decided, why, and what it costs.", "", *lines, ""])
