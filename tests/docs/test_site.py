"""The documentation as a site: it builds without a warning, and no page loads anything from another host."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

pytest.importorskip("mkdocs", reason="mkdocs-material is not installed: pip install -e '.[docs]'")

ROOT = Path(__file__).parents[2]
LOADING = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "link": "href",
}
ONLY_NAMED = {"canonical", "next", "prev"}  # a link to another page is followed by people, not by the browser


class Loads(HTMLParser):
    """What a browser fetches to show a page, and the classes of its code blocks."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.classes: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.classes |= set(told.get("class", "").split())
        if told.get(LOADING.get(tag, "")) and told.get("rel") not in ONLY_NAMED:
            self.fetched.append(told[LOADING[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It, built as `make site` builds it: with mkdocs' own strictness about links and anchors."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


def pages(site: Path) -> list[Path]:
    found = [page for page in site.rglob("*.html") if page.name != "404.html"]  # which nobody asks for by a file's name
    assert len(found) > 30
    return found


def test_every_page_of_the_tree_is_a_page_of_the_site(site: Path) -> None:
    written = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    made = {page.relative_to(site) for page in pages(site)}
    assert written <= made
    assert {Path("index.html"), Path("contributing.html"), Path("changelog.html"), Path("decisions.html")} <= made
    assert Path("source/examples/transcripts.py.html") in made


def test_no_page_loads_from_another_host(site: Path) -> None:
    outside = {
        (page.name, address)
        for page in pages(site)
        for address in Loads(page).fetched
        if "//" in address or not (page.parent / address.partition("?")[0].partition("#")[0]).exists()
    }
    assert outside == set()


def test_no_page_has_a_diagram_that_the_theme_would_fetch_a_program_for(site: Path) -> None:
    assert [page.name for page in pages(site) if "mermaid" in Loads(page).classes] == []


def test_styles_and_fonts_are_our_own(site: Path) -> None:
    styles = [style.read_text(encoding="utf-8") for style in site.rglob("*.css")]
    assert styles
    assert not any("url(http" in style or "@import" in style or "url(//" in style for style in styles)


def test_the_order_of_reading_begins_with_the_first_steps() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert list(nav[0].values()) == ["index.md"]
