"""Every Python example of the README and the docs runs, against the simulator, in the form in which it is read.

An example may await at its top level. It finds `job_id`, a video that succeeds, and `job_ids`, jobs of several kinds and fates of
which one still runs, unless the example waits for callbacks, which nobody sends here; USEAPI_TOKEN and USEAPI_BASE_URL lead to
the simulator. `watcher` is a watch that has not begun, and `secret` that of its callbacks.
"""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, NamedTuple

import pytest
import pytest_asyncio

from asyncflow import AsyncClient
from asyncflow.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    page: str
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str, text: str) -> list[Block]:
    """Return the fenced blocks of *text*; the line of a block is that of its first line of code."""
    return [Block(page, text.count("\n", 0, found.start(2)) + 1, found[1], found[2]) for found in FENCE.finditer(text)]


BLOCKS = [block for page in PAGES for block in blocks_of(page.relative_to(ROOT).as_posix(), page.read_text("utf-8"))]
# The page about testing is made of tests: tests/test_docs_testing.py runs it. What needs a store has a test beside one.
EXAMPLES = [
    block
    for block in BLOCKS
    if block.language == "python" and block.page != "docs/testing.md" and "asyncflow.cluster" not in block.text
]


async def run(block: Block, **names: object) -> dict[str, object]:
    """Run *block* as a module that may await, with its lines numbered as in its page, and return its names."""
    source = "\n" * (block.line - 1) + block.text
    code = compile(source, block.page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    names |= {"__name__": "__main__"}
    result = FunctionType(code, names)()
    if inspect.isawaitable(result):
        await result
    return names


@pytest_asyncio.fixture
async def simulator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Simulator]:
    async with Simulator(seed=1, speed=50) as service:
        monkeypatch.setenv("USEAPI_TOKEN", service.token)
        monkeypatch.setenv("USEAPI_BASE_URL", service.url)
        yield service


@pytest.mark.asyncio
@pytest.mark.parametrize("block", [pytest.param(block, id=block.name) for block in EXAMPLES])
async def test_an_example_runs(block: Block, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    job_id, *_ = job_ids = [
        *simulator.seed_jobs(kind="video", age=600, fate="success"),
        *simulator.seed_jobs(kind="image", age=600, fate="partial"),
        *simulator.seed_jobs(kind="music", age=600, fate="failed"),
        *simulator.seed_jobs(kind="image", age=600 if "webhook_fallback" in block.text else 0, duration=50, fate="success"),
    ]
    async with AsyncClient() as client:
        await run(block, job_id=job_id, job_ids=job_ids, watcher=client.watch(job_ids), secret="a-secret")


def test_every_block_says_what_it_is_written_in() -> None:
    assert {block.language for block in BLOCKS} <= {"python", "sh", "text", "toml", "yaml", "json", "ini"}
    assert any(block.page == "README.md" and block.language == "python" for block in BLOCKS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_link_to_a_page_of_ours_leads_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_listed() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages == set(re.findall(r"\((\w+\.md)\)", index))


@pytest.mark.asyncio
async def test_a_broken_example_is_seen_where_it_stands() -> None:
    [block] = blocks_of("page.md", "# A page\n\n```python\nimport asyncio\n\nawait asyncio.wait([missing])\n```\n")
    with pytest.raises(NameError, match="missing") as failure:
        await run(block)
    assert (failure.traceback[-1].path, failure.traceback[-1].lineno + 1) == ("page.md", 6)


@pytest.mark.asyncio
async def test_an_example_may_do_without_await() -> None:
    [block] = blocks_of("page.md", "```python\ntwice = 2 * number\n```\n")
    assert (await run(block, number=21))["twice"] == 42
