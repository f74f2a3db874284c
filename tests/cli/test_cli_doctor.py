"""`asyncflow doctor`: each thing that may be wrong, and what it says of it."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
import trustme
from secret_watch import leaks

import asyncflow
from asyncflow.cli import main
from asyncflow.cli.commands.doctor import lines
from asyncflow.cli.doctor import environment as installation
from asyncflow.cli.doctor.environment import Finding, look_at_installation, look_at_settings, requirements
from asyncflow.cli.doctor.network import certificate_of, look_at_service, skew_of
from asyncflow.cli.output.live_view import plain
from asyncflow.simulator import SimulatorThread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator

TOKEN = "user:1234-abcdef"
NOW = datetime(2026, 5, 12, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def healthy() -> Iterator[SimulatorThread]:
    with SimulatorThread() as running:
        yield running


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, healthy: SimulatorThread, tmp_path: Path) -> None:
    # Whoever tests a second copy has two of them on the path, and is told so.
    own = Path(asyncflow.__file__).parent
    monkeypatch.setattr(
        sys, "path", [entry for entry in sys.path if (found := Path(entry, "asyncflow")) == own or not found.is_dir()]
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("USEAPI_TOKEN", TOKEN)
    monkeypatch.setenv("USEAPI_BASE_URL", healthy.url)
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def states(findings: Iterable[Finding]) -> dict[str, str]:
    found = list(findings)
    shown = [plain(line) for line in lines(found)]
    assert leaks("\n".join(shown)) == []
    assert max(map(len, shown), default=0) < 300
    assert "abcdef" not in repr(found)
    return {finding.name: finding.state for finding in found}


async def asked(timeout: float = 5.0) -> list[Finding]:
    return [finding async for finding in look_at_service(timeout)]


# -- this machine ---------------------------------------------------------------------------------------------------------------


def test_all_is_well_on_a_good_day(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [each["name"] for each in found] == [
        *("python", "asyncflow", "packages", "token", "base URL", "name", "connection", "clock", "service")
    ]
    assert [each for each in found if each["state"] != "ok"] == []
    assert main(["doctor", "--offline"]) == 0
    assert capfd.readouterr().out.endswith("\nall is well\n")


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (None, "USEAPI_TOKEN is not set"),
        ("  ", "USEAPI_TOKEN is empty"),
        (f" {TOKEN}", "there is white space around it"),
        (f'"{TOKEN}"', "there are quotation marks around it"),
        (f"Bearer {TOKEN}", "leave out the word Bearer"),
        ("1234-abcdef", "it does not look like user:<number>-..."),
        ("user:1234-ab cdef", "it does not look like"),
    ],
)
def test_a_token_that_cannot_be_one_is_told_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], token: str | None, words: str
) -> None:
    if token is None:
        monkeypatch.delenv("USEAPI_TOKEN")
    else:
        monkeypatch.setenv("USEAPI_TOKEN", token)
    assert main(["doctor", "--offline"]) == 1
    shown = capfd.readouterr().out
    assert words in shown
    assert "set USEAPI_TOKEN to your API token" in shown
    assert "cdef" not in shown


@pytest.mark.parametrize(
    ("url", "state"),
    [
        ("", "ok"),
        ("https://api.example.com", "ok"),
        ("http://localhost:1", "ok"),
        ("http://api.example.com", "warn"),
        ("nowhere", "fail"),
    ],
)
def test_the_base_url_is_looked_at(monkeypatch: pytest.MonkeyPatch, url: str, state: str) -> None:
    monkeypatch.setenv("USEAPI_BASE_URL", url)
    assert states(look_at_settings())["base URL"] == state


def test_a_proxy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "proxy" not in states(look_at_settings())
    monkeypatch.setenv("https_proxy", "http://someone:secret@127.0.0.1:3128")
    findings = list(look_at_settings())
    assert states(findings)["proxy"] == "warn"
    assert "secret" not in repr(findings)


def test_a_file_of_the_same_name_is_told(tmp_path: Path) -> None:
    (tmp_path / "asyncflow.py").touch()
    (tmp_path / "asyncflow").mkdir()
    assert states(look_at_installation()).get("name taken") == "warn"
    (tmp_path / "asyncflow" / "__init__.py").touch()
    taken = [finding.text for finding in look_at_installation() if finding.name == "name taken"]
    assert sorted(Path(text.split()[0]).name for text in taken) == ["asyncflow", "asyncflow.py"]


def test_another_package_that_owns_the_name_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    info = tmp_path / "elsewhere" / "asyncflow-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: asyncflow\nVersion: 1.0\n", "utf-8")
    (info / "top_level.txt").write_text("asyncflow\n", "utf-8")
    monkeypatch.syspath_prepend(str(info.parent))
    [finding] = [finding for finding in look_at_installation() if finding.name == "name taken"]
    assert (finding.state, finding.text) == ("fail", "the package asyncflow installs asyncflow too")
    assert finding.advice.startswith("python -m pip uninstall asyncflow, then ")


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    """Have the versions of packages be these; None is one that is missing."""
    real = metadata.version

    def version(name: str) -> str:
        if name.replace("-", "_") not in versions:
            return real(name)
        found = versions[name.replace("-", "_")]
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(metadata, "version", version)


def test_packages_that_are_missing_or_too_old_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"aiohttp", "anyio", "msgspec", "yarl", "click", "rich"} <= set(requirements())
    assert "redis" not in requirements()
    installed(monkeypatch, aiohttp="1.0", rich=None)
    monkeypatch.setattr(installation, "find_spec", lambda _: None)
    finding = next(finding for finding in look_at_installation() if finding.name == "packages")
    assert finding.state == "fail"
    assert "aiohttp 1.0 is older than" in finding.text
    assert "rich is missing" in finding.text


def test_another_version_than_the_installed_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, asyncflow_useapi="99.0")
    assert states(look_at_installation())["asyncflow"] == "warn"
    installed(monkeypatch, asyncflow_useapi=None)
    assert states(look_at_installation())["asyncflow"] == "warn"

    def requires(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    assert requirements()["aiohttp"] == ""


# -- the service ----------------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_refused_token_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USEAPI_TOKEN", "user:1234-wrong")
    [*_, last] = await asked()
    assert (last.name, last.state, last.advice) == (
        *("service", "fail", "the service does not know this token: copy it again from useapi.net"),
    )
    monkeypatch.setenv("USEAPI_TOKEN", "")
    [*_, last] = await asked()
    assert (last.name, last.state) == ("service", "skip")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("url", "state"),
    [("http://name.invalid", {"name": "fail"}), ("nowhere", {"service": "skip"}), ("ftp://x", {"service": "skip"})],
)
async def test_an_address_that_leads_nowhere_is_told(monkeypatch: pytest.MonkeyPatch, url: str, state: dict[str, str]) -> None:
    monkeypatch.setenv("USEAPI_BASE_URL", url)
    assert states(await asked()) == state


@pytest.mark.asyncio
async def test_a_closed_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("USEAPI_BASE_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        findings = await asked()
    assert states(findings) == {"name": "ok", "connection": "fail"}
    assert "connection refused" in findings[-1].text


@asynccontextmanager
async def serving(answer: bytes, *, context: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await reader.readline():
                writer.write(answer)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        (b"", "warn", "the service does not tell the time"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "warn", "the service does not tell the time"),
        (b"HTTP/1.1 200 OK\r\nDate: Tue, 12 May 2020 12:00:00 GMT\r\n\r\n", "fail", "ahead of the service's"),
        (b"x" * 100_000, "warn", "no answer to compare it with"),
    ],
)
async def test_the_clock_is_compared(monkeypatch: pytest.MonkeyPatch, answer: bytes, state: str, words: str) -> None:
    async with serving(answer) as port:
        monkeypatch.setenv("USEAPI_BASE_URL", f"http://127.0.0.1:{port}")
        findings = await asked()
    clock = next(finding for finding in findings if finding.name == "clock")
    assert clock.state == state
    assert words in clock.text
    assert findings[-1].state == "fail"  # it is no service


@pytest.mark.parametrize(
    ("ahead", "state"), [(0, "ok"), (29, "ok"), (-29, "ok"), (31, "warn"), (-100, "warn"), (301, "fail"), (-301, "fail")]
)
def test_how_far_off_a_clock_may_be(ahead: float, state: str) -> None:
    finding = skew_of(format_datetime(NOW, usegmt=True), NOW + timedelta(seconds=ahead))
    assert finding.state == state
    assert skew_of(format_datetime(NOW).replace("+0000", "-0000"), NOW).state == "ok"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def secure(authority: trustme.CA, name: str) -> AsyncGenerator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    async with serving(b"HTTP/1.1 200 OK\r\n\r\n", context=context) as port:
        yield port


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "is_trusted", "state"),
    [("127.0.0.1", True, "ok"), ("other.example.com", True, "fail"), ("127.0.0.1", False, "fail")],
)
async def test_tls_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, authority: trustme.CA, tmp_path: Path, name: str, state: str, *, is_trusted: bool
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with secure(authority, name) as port:
        monkeypatch.setenv("USEAPI_BASE_URL", f"https://127.0.0.1:{port}")
        findings = await asked()
    tls = next(finding for finding in findings if finding.name == "TLS")
    assert tls.state == state
    states(findings)


@pytest.mark.parametrize(
    ("until", "state"),
    [
        ("May 20 12:00:00 2026 GMT", "warn"),
        ("May 12 13:00:00 2026 GMT", "warn"),
        ("Jul  1 12:00:00 2026 GMT", "ok"),
        (None, "ok"),
    ],
)
def test_a_certificate_that_ends_soon_is_told(until: str | None, state: str) -> None:
    class Connection:
        def getpeercert(self) -> dict[str, str] | None:
            return None if until is None else {"notAfter": until}

        def version(self) -> str:
            return "TLSv1.3"

    assert certificate_of(cast("ssl.SSLObject", Connection()), 0.1, NOW).state == state


@pytest.mark.asyncio
async def test_no_tls_at_the_other_end_is_told(monkeypatch: pytest.MonkeyPatch, healthy: SimulatorThread) -> None:
    monkeypatch.setenv("USEAPI_BASE_URL", healthy.url.replace("http", "https"))
    assert states(await asked())["TLS"] == "fail"


@pytest.mark.asyncio
async def test_one_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        for scheme, name in (("http", "clock"), ("https", "TLS")):
            monkeypatch.setenv("USEAPI_BASE_URL", f"{scheme}://127.0.0.1:{silent.getsockname()[1]}")
            assert states(await asked(0.2))[name] in {"warn", "fail"}


def test_the_sum_is_told() -> None:
    ok, warn, fail = Finding("x", "ok", "y"), Finding("x", "warn", "y", "do"), Finding("x", "fail", "y", "do " * 40)
    assert plain([*lines([ok])][-1]) == "all is well"
    assert plain([*lines([ok, warn])][-1]) == "nothing is broken; 1 thing to look at"
    assert plain([*lines([warn, fail, fail])][-1]) == "2 problems, 1 more to look at"
    assert max(len(plain(line)) for line in lines([fail])) < 80
