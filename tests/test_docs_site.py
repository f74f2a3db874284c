"""The docs as a site: it is built without a warning, every link in it leads somewhere, and each public name has its place."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

import pytest

import asyncflow
from asyncflow import simulator, telemetry, testing
from asyncflow.contrib import opentelemetry, prometheus

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
MODULES = (asyncflow, simulator, telemetry, testing, opentelemetry, prometheus)
PUBLIC = [f"{module.__name__}.{name}" for module in MODULES for name in module.__all__]


class Page(HTMLParser):
    """What a page links to, what it loads by itself, and the anchors in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name: value or "" for name, value in attrs}
        if "id" in names:
            self.anchors.add(names["id"])
        if tag == "a" and "href" in names:
            self.links.add(names["href"])
        is_style = tag == "link" and {"stylesheet", "icon", "preload"} & set(names.get("rel", "").split())
        if is_style or tag in {"script", "img", "iframe", "source"}:
            self.loads.add(names.get("src") or names.get("href") or "")


class Site(NamedTuple):
    folder: Path
    pages: dict[str, Page]

    def lacks(self, page: str, link: str) -> bool:
        """Return whether a *link* in *page* leads nowhere; foreign ones are not followed."""
        parts = urlsplit(urljoin(f"/{page}", link))
        if parts.scheme or parts.netloc or not link:
            return False
        path = unquote(parts.path).lstrip("/") or "index.html"
        if path in self.pages:
            return bool(parts.fragment) and unquote(parts.fragment) not in self.pages[path].anchors
        return not (self.folder / path).is_file()


def build(docs: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of *docs* in *folder*."""
    shutil.copytree(docs, folder / "docs", dirs_exist_ok=True)
    shutil.copy(ROOT / "zensical.toml", folder)
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT / "docs", folder)
    assert built.returncode == 0, built.stdout + built.stderr
    root = folder / "site"
    pages = {path.relative_to(root).as_posix(): Page(path.read_text("utf-8")) for path in root.rglob("*.html")}
    return Site(root, pages)


def test_every_page_is_built(site: Site) -> None:
    sources = {path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert {path.replace("README.html", "index.html") for path in sources} <= set(site.pages)


def test_every_page_is_in_the_navigation(site: Site) -> None:
    linked = {urlsplit(urljoin("/index.html", link)).path.lstrip("/") for link in site.pages["index.html"].links}
    assert set(site.pages) - {"404.html"} - linked - {"index.html"} == set()


def test_every_link_leads_somewhere(site: Site) -> None:
    pages = [(name, page) for name, page in site.pages.items() if name != "404.html"]
    assert [(name, link) for name, page in pages for link in sorted(page.links | page.loads) if site.lacks(name, link)] == []


def test_a_link_that_leads_nowhere_is_seen(site: Site) -> None:
    assert site.lacks("errors.html", "nowhere.html")
    assert site.lacks("errors.html", "#nothing")
    assert not site.lacks("errors.html", "journal.html#when-it-fails")


def test_a_page_loads_nothing_from_a_foreign_host(site: Site) -> None:
    foreign = {link for page in site.pages.values() for link in page.loads if urlsplit(link).netloc}
    assert foreign == set()


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_its_place_in_the_reference(site: Site, name: str) -> None:
    assert any(name in page.anchors for path, page in site.pages.items() if path.startswith("api/"))


def test_a_warning_ends_the_build(tmp_path: Path) -> None:
    docs = tmp_path / "source"
    docs.mkdir()
    (docs / "README.md").write_text("# Index\n\n[gone](gone.md)\n", "utf-8")
    (tmp_path / "site").mkdir()
    assert build(docs, tmp_path).returncode != 0


def test_the_text_for_language_models_names_every_page() -> None:
    text = (ROOT / "docs" / "llms.txt").read_text("utf-8")
    named = set(re.findall(r"\((\S+\.md)\)", text))
    assert named == {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")} - {"README.md"}
