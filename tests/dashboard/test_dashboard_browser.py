"""The page in a real browser: what a person sees, hears, clicks and presses.

They need Chromium (`apt-get install chromium`) and are asked for by their marker: `pytest -m browser`.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from browser import Page, chromium
from dashboard_kit import HOSTILE, NOW, START, TOKEN, Told, done, failed, flow_id, running, song

from asyncflow import Abandoned, AsyncClient, Changed, Dashboard, Ended, ErrorInfo, Unreachable
from asyncflow.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncflow import Event

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

NO_ANSWER = ErrorInfo("transport", "no answer", transient=True)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Page]:
    async with chromium(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Page) -> AsyncIterator[Page]:
    """A page on which nothing has gone wrong in the end, and that spoke to nobody but this machine."""
    browser.errors.clear()
    browser.requests.clear()
    browser.hosts.clear()
    await browser.look()
    yield browser
    await browser.open("about:blank")
    # A server that has gone is missed in so many words; everything else is a mistake of the page.
    assert [error for error in browser.errors if not ("net::ERR" in error and error.endswith("/events"))] == []
    assert {url.split("/")[2] for url in browser.requests if url.startswith("http")} <= browser.hosts


@asynccontextmanager
async def shown(page: Page, *events: Event, client: Any = None, port: int = 0, **options: Any) -> AsyncIterator[Told]:  # noqa: ANN401 - those of Dashboard
    """Open a dashboard that has heard *events*."""
    source = Told()
    # The records' times are fixed, so the clock is too: a job that began over a week ago has no known age.
    options.setdefault("wall_clock", lambda: START)
    options = {"title": "A test", "token": TOKEN} | options
    dashboard = Dashboard(source, client, **options)
    source.take(*events)
    async with dashboard.serve(port=port) as link:
        page.visits(link)
        await page.open(link)
        await page.until(
            "document.getElementById('line').dataset.state === 'live' || document.getElementById('notice').hidden === false"
        )
        yield source


def mix(count: int) -> list[Event]:
    """Return what *count* jobs came to: six in ten succeed, the others each come out in another way."""
    events: list[Event] = []
    for number in range(1, count + 1):
        match number % 10:
            case 1:
                events.append(Ended(failed(number)))
            case 2:
                events.append(Abandoned(flow_id(number), ErrorInfo("not_found", "Job not found")))
            case 3:
                events.append(Changed(running(number, prompt=f"prompt {number}")))
            case 4:
                events.append(Changed(song(number)))
            case _:
                events.append(Ended(done(number, prompt=f"prompt {number}")))
    return events


CARDS = "[...document.querySelectorAll('.card')]"
ORDER = """(() => {{
    const list = document.getElementById('order');
    list.value = '{}';
    list.dispatchEvent(new Event('change'));
}})()"""


async def names(page: Page) -> list[str]:
    """Return what the cards in sight are called, in the order of the page."""
    found: list[str] = await page.run(f"{CARDS}.map((card) => card.querySelector('.name').textContent)")
    return found


async def test_the_page_shows_what_there_is(page: Page) -> None:
    async with shown(page, *mix(20)):
        await page.until(f"{CARDS}.length >= 12")
        assert await page.text("#title") == "A test"
        assert (await page.text(".big")).split() == ["16", "of", "20", "jobs", "done"]
        seen = "[...document.querySelectorAll('#tiles button:not([hidden])')]"
        tiles = await page.run(f"{seen}.map((tile) => tile.innerText.split('\\n'))")
        assert tiles == [["4", "Running"], ["12", "Succeeded"], ["2", "Failed"], ["2", "Given up"]]
        assert await page.run("document.title") == "16/20, 4 not good · A test"
        reasons = await page.run("[...document.querySelectorAll('#reasons button')].map((button) => button.innerText)")
        assert reasons[0].split("\n") == ["Unsafe generation", "2", "Content policy"]
        assert await page.run("location.hash") == ""
        assert TOKEN not in await page.run("document.documentElement.outerHTML")


async def test_it_moves_by_itself(page: Page) -> None:
    async with shown(page) as source:
        await page.until("document.getElementById('empty').hidden === false")
        assert await page.text("#empty-title") == "No jobs yet"
        source.take(Changed(running(1)))
        await page.until("document.querySelector('.card[data-state=running]')")
        assert "started" in (await page.text(".card .word")).lower()
        source.silent.add(flow_id(1))
        source.take(Unreachable(flow_id(1), START, NO_ANSWER))
        await page.until("document.querySelector('.card[data-state=silent]')")
        source.take(Ended(done(1)))
        await page.until("document.querySelector('.card[data-state=succeeded]')")
        await page.until("document.getElementById('done').textContent === '1'")
        source.is_over = True
        source.take()
        await page.until("document.getElementById('line-text').textContent === 'Ended'")


async def test_filters_by_status_kind_reason_and_words(page: Page) -> None:
    async with shown(page, *mix(39), Changed(running(99, prompt="a paper lantern"))):
        await page.until(f"{CARDS}.length >= 12")
        await page.click('#tiles [data-key="failed"]')
        await page.until(f"{CARDS}.length === 4 && {CARDS}.every((card) => card.dataset.state === 'failed')")
        assert await page.text("#found") == "4 jobs of 40"
        await page.click('#tiles [data-key="failed"]')
        await page.click('#kinds [data-key="kind music"]')
        await page.until(f"{CARDS}.length === 4 && {CARDS}.every((card) => card.dataset.kind === 'music')")
        await page.click('#kinds [data-key="all"]')
        await page.click("#reasons li:nth-child(2) button")
        await page.until(f"{CARDS}.length === 4")
        await page.click("#reasons li:nth-child(2) button")
        await page.press("/")
        await page.write("LANTERN paper")
        await page.until(f"{CARDS}.length === 1")
        assert await names(page) == ["a paper lantern"]
        await page.write(" nothing like it")
        await page.until("document.getElementById('empty').hidden === false")
        await page.click("#clear")
        await page.until(f"{CARDS}.length >= 12")
        assert await page.run("document.activeElement.id") == "search"


async def test_orders(page: Page) -> None:
    async with shown(page, *mix(9)) as source:
        await page.until(f"{CARDS}.length === 9")
        assert (await names(page))[4] == "prompt 5"
        await page.run(ORDER.format("newest"))
        assert (await names(page))[0] == "prompt 9"
        await page.run(ORDER.format("moved"))
        source.take(Ended(done(3, prompt="the last")))
        await page.until(
            f"{CARDS}[0].querySelector('.name').textContent === 'prompt 3' && {CARDS}[0].dataset.state === 'succeeded'"
        )


@pytest.mark.parametrize("kind", ["video", "music", "image"])
async def test_a_click_plays_what_there_is(page: Page, kind: str) -> None:
    async with Simulator(seed=3) as service, AsyncClient(service.token, base_url=service.url) as client:
        [job_id] = service.seed_jobs(kind=kind, age=600, fate="success", media=2)
        job = await client.get_job(job_id)
        async with shown(page, Ended(job), client=client):
            await page.until("document.querySelector('.card img').naturalWidth > 0")
            await page.click(".card")
            await page.until("document.getElementById('detail').open")
            if kind == "image":
                await page.until("document.querySelector('#stage img').naturalWidth > 0")
            else:
                await page.until("document.querySelector('#stage video, #stage audio').currentTime > 0")
            assert len(await page.run("[...document.querySelectorAll('#strip button')].map((button) => button.textContent)")) == 2
            await page.click("#strip button:nth-child(2)")
            await page.until("document.querySelector('#strip button:nth-child(2)').getAttribute('aria-pressed') === 'true'")
            await page.until("(document.querySelector('#stage [src]').currentTime ?? 1) > 0")
            await page.press("Escape")
            await page.until("!document.getElementById('detail').open")
            await page.until("document.querySelector('#stage').children.length === 0")
            assert await page.run("document.activeElement.className") == "card"


async def test_it_finds_its_way_back_when_the_server_comes_again(page: Page) -> None:
    async with shown(page, Changed(running(1, prompt="before"))):
        await page.until(f"{CARDS}.length === 1")
        port = int(page.host.rpartition(":")[2])
        await page.run(
            "document.getElementById('search').value = 'be'; document.getElementById('search').dispatchEvent(new Event('input'))"
        )
    await page.until("document.getElementById('line').dataset.state === 'lost'")
    assert await names(page) == ["before"]
    source = Told()
    dashboard = Dashboard(source, title="Another", token=TOKEN)
    source.take(Changed(running(7, prompt="behind")), Changed(running(8, prompt="other")))
    async with dashboard.serve(port=port):
        await page.until("document.getElementById('line').dataset.state === 'live'", 20)
        await page.until("document.getElementById('title').textContent === 'Another'")
        assert await names(page) == ["behind"]
        source.take(Ended(done(7)))
        await page.until("document.querySelector('.card[data-state=succeeded]')")


async def test_a_link_without_its_key_says_so(page: Page) -> None:
    async with shown(page, Changed(running(1)), token="another-token-of-tests") as _:
        assert await page.run("document.getElementById('notice').hidden")
        host = page.host
        await page.run("sessionStorage.clear()")
        await page.open(f"http://{host}/")
        await page.until("document.getElementById('notice').hidden === false")
        assert await page.text("#notice-title") == "This page needs its link"
        assert await page.run(f"{CARDS}.length") == 0
    page.errors = [error for error in page.errors if "401" not in error]


async def test_whatever_a_prompt_says_is_text(page: Page) -> None:
    nasty = [
        HOSTILE,
        "javascript:alert(1)",
        "</script><svg onload=alert(1)>",
        "{{constructor}}",
        "data:\n\nevent: over\ndata: {}",
    ]
    events: list[Event] = [Changed(running(number, prompt=text)) for number, text in enumerate(nasty, 1)]
    events += [Ended(failed(9, HOSTILE, HOSTILE)), Changed(running(10, HOSTILE)), Changed(running(11, model=HOSTILE))]
    async with shown(page, *events, title=HOSTILE):
        await page.until(f"{CARDS}.length === 8")
        assert await page.text("#title") == HOSTILE
        assert (await names(page))[0] == HOSTILE
        for _ in range(8):
            await page.run("document.activeElement.blur()")
        await page.click(".card")
        for _ in range(7):
            await page.press("ArrowRight")
        assert await page.run("document.querySelectorAll('img[onerror], svg[onload], main script, dialog script').length") == 0
        assert await page.run("window.owned === undefined")
        assert await page.run("document.getElementById('line').dataset.state") == "live"


async def test_the_page_runs_nothing_that_is_not_its_own(page: Page) -> None:
    """Even if something got into it: no script or style in the page, no foreign picture, and no way to send anything out."""
    async with shown(page, Changed(running(1))):
        await page.until(f"{CARDS}.length === 1")
        tries = """(async () => {
            const script = document.createElement('script');
            try { script.textContent = 'window.owned = true'; document.body.append(script); } catch {}
            const markup = '<img src=x onerror="window.owned = true">';
            try { document.body.insertAdjacentHTML('beforeend', markup); } catch {}
            const image = new Image();
            const seen = await new Promise((resolve) => {
                image.onload = () => resolve(true);
                image.onerror = () => resolve(false);
                image.src = 'http://127.0.0.1:9/x.png';
            });
            let sent = true;
            try { await fetch('http://127.0.0.1:9/'); } catch { sent = false; }
            return [window.owned === undefined, seen, sent];
        })()"""
        assert await page.run(tries) == [True, False, False]
    assert page.errors
    page.errors.clear()
    page.requests = [url for url in page.requests if ":9/" not in url]


SCROLL = """new Promise((resolve) => {
    const end = document.documentElement.scrollHeight - innerHeight;
    const frames = [];
    let most = 0;
    let last = performance.now();
    const next = () => {
        const now = performance.now();
        frames.push(now - last);
        last = now;
        most = Math.max(most, document.querySelectorAll('.card').length);
        if (frames.length === 60) {
            scrollTo(0, end);
            resolve([frames.sort((one, other) => one - other)[30], most, end]);
            return;
        }
        // Never where it was the frame before: all rows are new each time.
        scrollTo(0, end * ((frames.length * 0.381966) % 1));
        requestAnimationFrame(next);
    };
    next();
})"""


async def test_five_thousand_jobs_scroll_like_two_hundred(page: Page) -> None:
    """Counted in nodes, and in how long half of the frames take at most: with two hundred jobs on the same machine."""
    async with shown(page, *mix(200)):
        await page.until(f"{CARDS}.length > 10")
        few, nodes, _ = await page.run(SCROLL)
    async with shown(page, *mix(5_000)) as source:
        await page.until("document.getElementById('all').textContent === '5,000'", 20)
        await page.until(f"{CARDS}.length > 10")
        many, most, height = await page.run(SCROLL)
        assert height > 100_000
        assert most == nodes < 60
        assert many < 2 * few + 10
        last = f"Math.max(...{CARDS}.map((card) => Number(card.dataset.number)))"
        await page.until(f"{last} === 5000")
        assert await page.run("document.querySelectorAll('*').length") < 1_500
        source.take(*(Ended(done(number)) for number in range(3, 5_000, 10)))
        await page.until("document.querySelector('#tiles [data-key=running] .count').textContent === '500'")
        order = f"{CARDS}.map((card) => Number(card.dataset.number))"
        await page.until(
            f"(() => {{ const order = {order}; return order.every((number, at) => !at || number > order[at - 1]); }})()"
        )


async def test_the_keyboard_goes_everywhere(page: Page) -> None:
    async with shown(page, *mix(400)):
        await page.until(f"{CARDS}.length >= 12")
        focused = (
            "[document.activeElement.id, document.activeElement.dataset.key ?? '', document.activeElement.dataset.number ?? '']"
        )
        await page.run("document.body.focus()")
        walk: list[list[str]] = []
        for _ in range(22):
            await page.press("Tab")
            walk.append(await page.run(focused))
        ids = [entry[0] for entry in walk]
        keys = [entry[1] for entry in walk]
        assert {"search", "order"} <= set(ids)
        assert {"running", "failed", "all", "kind music"} <= set(keys)
        # The grid is one stop.
        assert [entry[2] for entry in walk if entry[2]] == ["1"]
        columns = int(await page.run("document.getElementById('jobs').getAttribute('aria-colcount')"))
        await page.run("document.querySelector('.card').focus()")
        for key, number in (
            ("ArrowRight", 2),
            ("ArrowDown", 2 + columns),
            ("ArrowLeft", 1 + columns),
            ("ArrowUp", 1),
            ("ArrowUp", 1),
        ):
            await page.press(key)
            assert await page.run("Number(document.activeElement.dataset.number)") == number
        await page.press("End", control=True)
        assert await page.run("Number(document.activeElement.dataset.number)") == 400
        await page.until("document.activeElement.getBoundingClientRect().bottom <= innerHeight")
        await page.press("Home", control=True)
        await page.press("PageDown")
        assert await page.run("Number(document.activeElement.dataset.number)") > columns
        number = await page.run("Number(document.activeElement.dataset.number)")
        await page.press("Enter")
        assert await page.run("document.getElementById('detail').open && document.activeElement.id") == "detail-title"
        await page.press("ArrowRight")
        await page.press("Escape")
        await page.until(f"Number(document.activeElement.dataset.number) === {number + 1}")


async def test_the_focus_stays_with_its_job_when_others_come_before_it(page: Page) -> None:
    async with shown(page, *(Changed(running(number, prompt=f"prompt {number}")) for number in range(1, 5))) as source:
        await page.until(f"{CARDS}.length === 4")
        await page.run(ORDER.format("newest"))
        await page.run("document.querySelector('.card[data-number=\"4\"]').focus()")
        source.take(*(Changed(running(number)) for number in range(10, 60)))
        await page.until("document.getElementById('all').textContent === '54'")
        await page.until("document.activeElement.dataset.number === '4'")
        await page.press("Enter")
        assert await page.text("#prompt") == "prompt 4"


ROLES = """(() => {
    const problems = [];
    const all = (selector) => [...document.querySelectorAll(selector)];
    const text = (node) => node.labels?.[0]?.innerText ?? node.innerText ?? '';
    const labelled = (node) => document.getElementById(node.getAttribute('aria-labelledby') ?? '')?.innerText;
    const name = (node) => (node.getAttribute('aria-label') ?? text(node)).trim() || labelled(node);
    const roles = '[role=grid], [role=group], [role=img], [role=gridcell]';
    const named = `button, a, input, select, dialog[open], section:not(.notice), ${roles}`;
    for (const node of all(named)) {
        const isThere = !node.closest('[hidden], dialog:not([open])');
        if (isThere && !name(node)) problems.push('no name: ' + node.outerHTML.slice(0, 80));
    }
    for (const node of all('[aria-hidden=true]')) {
        if (node.querySelector('button, a, input, [tabindex]')) problems.push('hidden and focusable: ' + node.className);
    }
    for (const node of all('[role=row]')) {
        if (node.parentElement.getAttribute('role') !== 'grid' || !Number(node.ariaRowIndex)) problems.push('row');
        if ([...node.children].some((cell) => cell.role !== 'gridcell' || !Number(cell.ariaColIndex))) problems.push('cell');
    }
    const ids = all('[id]').map((node) => node.id);
    if (new Set(ids).size !== ids.length) problems.push('an id twice');
    if (all('h1').length !== 1 || !document.documentElement.lang || all('main').length !== 1) problems.push('head');
    if (all('[aria-live=polite]').length !== 1) problems.push('live region');
    if (all('img').some((image) => image.getAttribute('alt') === null)) problems.push('a picture without words');
    return problems;
})()"""

CONTRAST = """(() => {
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const over = (text, under) => {
        canvas.globalCompositeOperation = 'source-over';
        for (const paint of [`rgb(${under.join(' ')})`, text]) {
            canvas.fillStyle = paint;
            canvas.fillRect(0, 0, 1, 1);
        }
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const linear = (value) => value <= 10 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const ground = (node) => {
        const chain = [];
        for (let each = node; each; each = each.parentElement) chain.unshift(getComputedStyle(each).backgroundColor);
        return chain.reduce((under, text) => over(text, under), [128, 128, 128]);
    };
    const poor = new Set();
    for (const node of document.querySelectorAll('body *')) {
        const says = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
        const isLeftOut = node.closest('.unseen, .skip, template, noscript, option, :disabled');
        if (!says || isLeftOut || !node.getBoundingClientRect().width) continue;
        const style = getComputedStyle(node);
        const under = ground(node);
        const [high, low] = [light(over(style.color, under)), light(under)].sort((one, other) => other - one);
        const ratio = (high + 0.05) / (low + 0.05);
        const size = parseFloat(style.fontSize);
        const isLarge = size >= 24 || (size >= 18.7 && Number(style.fontWeight) >= 700);
        const what = `${ratio.toFixed(2)} ${node.className} ${node.textContent.trim().slice(0, 30)}`;
        if (ratio < (isLarge ? 3 : 4.5)) poor.add(what);
    }
    return [...poor];
})()"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
async def test_roles_names_and_contrast(page: Page, width: int, *, dark: bool) -> None:
    await page.look(width=width, dark=dark, still=True)
    events = [*mix(20), Unreachable(flow_id(3), START, NO_ANSWER)]
    async with shown(page, *events):
        await page.until(f"{CARDS}.length >= 4")
        await page.run("for (const panel of document.querySelectorAll('details')) panel.open = true")
        await page.click('#tiles [data-key="failed"]')
        await page.until("document.getElementById('found').textContent")
        assert await page.run(ROLES) == []
        assert await page.run(CONTRAST) == []
        await page.click('#tiles [data-key="failed"]')
        await page.until("document.getElementById('found').hidden")
        assert await page.run(CONTRAST) == []
        await page.click(".card[data-state=failed]")
        await page.until("document.getElementById('detail').open")
        assert await page.run(ROLES) == []
        assert await page.run(CONTRAST) == []
        # Nothing sticks out to the side.
        assert await page.run("document.documentElement.scrollWidth") <= width


async def test_what_has_happened_is_said_aloud_and_not_too_often(page: Page) -> None:
    async with shown(page, *mix(10)) as source:
        await page.until("document.getElementById('spoken').textContent === '8 of 10 jobs done, 2 not good.'")
        source.take(Ended(done(3)))
        await page.until("document.getElementById('done').textContent === '9'")
        assert await page.text("#spoken") == "8 of 10 jobs done, 2 not good."
        spoken = await page.run("document.querySelector('.card[data-state=succeeded]').getAttribute('aria-label')")
        assert spoken.startswith("Video, Succeeded, took 85 seconds: ")


async def test_whoever_wants_no_motion_gets_none(page: Page) -> None:
    await page.look(still=True)
    async with shown(page, Changed(running(1, created_at=START))):
        await page.until(f"{CARDS}.length === 1")
        assert await page.run("document.getAnimations().length") == 0


async def test_a_song_is_cancelled_where_that_is_allowed(page: Page) -> None:
    async with Simulator(seed=3) as service, AsyncClient(service.token, base_url=service.url) as client:
        [job_id] = service.seed_jobs(kind="music", duration=1e6)
        async with shown(page, Changed(await client.get_job(job_id)), client=client, actions=True) as source:
            await page.until(f"{CARDS}.length === 1")
            await page.click(".card")
            await page.until("document.querySelector('#acts button')")
            await page.click("#acts button")
            await page.until("document.getElementById('act-said').textContent.startsWith('Cancelled')")
            source.take(Ended(await client.get_job(job_id)))
            await page.until("document.getElementById('blame').textContent.startsWith('Cancelled')")
            assert await page.run("document.querySelectorAll('#acts button').length") == 0


async def test_the_request_budget_is_drawn(page: Page) -> None:
    now = NOW
    async with Simulator(seed=3) as service, AsyncClient(service.token, base_url=service.url) as client:
        source = Told()
        dashboard = Dashboard(source, client, token=TOKEN)
        source.take(Changed(running(1)))
        ids = service.seed_jobs(3)
        await asyncio.gather(*(client.get_job(job_id) for job_id in ids))
        assert dashboard._history is not None
        dashboard._history.note(dashboard._history.start + 4, type(dashboard._history._last)(3, 1))
        async with dashboard.serve() as link:
            page.visits(link)
            await page.open(link)
            await page.until("document.querySelectorAll('#chart rect.good').length > 0")
            assert await page.run("document.querySelectorAll('#chart rect.bad').length") == 1
            assert "3 requests in all" in await page.run("document.getElementById('chart').getAttribute('aria-label')")
            assert now
