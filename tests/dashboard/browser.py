"""A real browser for the tests: headless Chromium, spoken to over its debugging protocol by nothing but aiohttp."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
from anyio import to_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["Page", "chromium"]

_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--mute-audio",
    "--autoplay-policy=user-gesture-required",
    "--remote-debugging-port=0",
)
_KEYS = {
    "Enter": ("Enter", 13, "\r"),
    " ": ("Space", 32, " "),
    "Escape": ("Escape", 27, ""),
    "Tab": ("Tab", 9, ""),
    "ArrowLeft": ("ArrowLeft", 37, ""),
    "ArrowUp": ("ArrowUp", 38, ""),
    "ArrowRight": ("ArrowRight", 39, ""),
    "ArrowDown": ("ArrowDown", 40, ""),
    "End": ("End", 35, ""),
    "Home": ("Home", 36, ""),
    "PageDown": ("PageDown", 34, ""),
}
_CONTROL = 2


class Page:
    """A tab: what it shows is asked for in JavaScript, what it is told comes as keys and clicks of a user."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.hosts: set[str] = set()
        self.host: str = ""
        self._loaded = asyncio.Event()

    async def listen(self) -> None:
        """Take in what the browser says, until it says no more."""
        async for message in self._socket:
            said = msgspec.json.decode(message.data, type=dict[str, Any])
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            else:
                self._hear(said["method"], said["params"])

    def _hear(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Runtime.exceptionThrown":
                self.errors.append(str(params["exceptionDetails"].get("exception", params["exceptionDetails"])))
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Page.loadEventFired":
                self._loaded.set()
            case _:
                pass

    async def say(self, method: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401 - the protocol's
        """Give the browser a command and return its answer."""
        number = next(self._numbers)
        self._answers[number] = answer = asyncio.get_running_loop().create_future()
        await self._socket.send_str(msgspec.json.encode({"id": number, "method": method, "params": params}).decode())
        said = await asyncio.wait_for(answer, 20)
        if "error" in said:
            raise AssertionError(f"{method}: {said['error']}")
        result: dict[str, Any] = said["result"]
        return result

    def visits(self, url: str) -> None:
        """Note the host of a page that is about to be opened."""
        self.host = url.split("/")[2]
        self.hosts.add(self.host)

    async def open(self, url: str) -> None:
        """Go to *url* and wait until it is loaded."""
        self._loaded.clear()
        await self.say("Page.navigate", url=url)
        await asyncio.wait_for(self._loaded.wait(), 20)

    async def run(self, script: str) -> Any:  # noqa: ANN401 - whatever the script gives
        """Return the value of a JavaScript expression, awaited if it is a promise."""
        said = await self.say("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True)
        if "exceptionDetails" in said:
            raise AssertionError(f"{script}: {said['exceptionDetails']}")
        return said["result"].get("value")

    async def until(self, script: str, seconds: float = 10) -> Any:  # noqa: ANN401 - see `run`
        """Return the value of an expression as soon as it is true; it is asked again whenever the page has painted."""
        waiting = f"""new Promise((resolve, reject) => {{
            const end = performance.now() + {seconds * 1000};
            const look = () => {{
                const value = (() => {{ try {{ return {script}; }} catch {{ return null; }} }})();
                if (value) resolve(value instanceof Node ? true : value);
                else if (performance.now() > end) resolve(null);
                else setTimeout(look, 25);
            }};
            look();
        }})"""
        value = await self.run(waiting)
        assert value, f"never: {script} {self.errors}"
        return value

    async def text(self, selector: str) -> str:
        """Return what an element shows."""
        return str(await self.run(f"document.querySelector({msgspec.json.encode(selector).decode()}).innerText"))

    async def press(self, key: str, *, control: bool = False) -> None:
        """Press and release a key."""
        code, number, letter = _KEYS.get(key, (f"Key{key.upper()}", ord(key.upper()) if len(key) == 1 else 0, key))
        common = {"key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": _CONTROL if control else 0}
        await self.say(
            "Input.dispatchKeyEvent", type="keyDown" if letter else "rawKeyDown", text="" if control else letter, **common
        )
        await self.say("Input.dispatchKeyEvent", type="keyUp", **common)

    async def write(self, text: str) -> None:
        """Write into what has the focus."""
        await self.say("Input.insertText", text=text)

    async def click(self, selector: str) -> None:
        """Click into the middle of an element, as a mouse does."""
        quoted = msgspec.json.encode(selector).decode()
        script = f"""(() => {{
            const node = document.querySelector({quoted});
            node.scrollIntoView({{block: "nearest"}});
            const box = node.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()"""
        x, y = await self.run(script)
        for kind in ("mousePressed", "mouseReleased"):
            await self.say("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def look(self, *, width: int = 1280, height: int = 800, dark: bool = False, still: bool = False) -> None:
        """Set the size of the window and what its owner likes."""
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        await self.say("Emulation.setEmulatedMedia", features=features)
        await self.say("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)

    async def picture(self, path: Path) -> None:
        """Save what is to be seen."""
        said = await self.say("Page.captureScreenshot", format="png")
        await to_thread.run_sync(path.write_bytes, base64.b64decode(said["data"]))


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Page]:
    """Start a browser with a new profile in *folder*, and give its one tab."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program is not None, "these tests need Chromium: apt-get install chromium"
    environment = {"HOME": str(folder), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    process = await asyncio.create_subprocess_exec(
        *(program, *_OPTIONS, f"--user-data-dir={folder / 'profile'}", "about:blank"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
    )
    try:
        assert process.stderr is not None
        url = ""
        async with asyncio.timeout(30):
            while not url:
                said = (await process.stderr.readline()).decode()
                assert said, "Chromium did not start"
                _, _, url = said.partition("DevTools listening on ws://")
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{url.partition('/')[0]}/json/list") as answer:
                tabs = await answer.json()
            address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
            async with session.ws_connect(address, max_msg_size=64_000_000) as socket:
                page = Page(socket)
                listening = asyncio.create_task(page.listen())
                draining = asyncio.create_task(process.stderr.read())
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await page.say(f"{domain}.enable")
                # As if its window were in front: else nothing in it gets the focus.
                await page.say("Emulation.setFocusEmulationEnabled", enabled=True)
                await page.look()
                yield page
                await socket.close()
                await listening
        draining.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
