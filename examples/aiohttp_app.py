"""A web app that awaits a job in its handler: `python aiohttp_app.py [PORT]`.

    curl 'http://127.0.0.1:8000/jobs/<job id>'     {"outcome": "succeeded", "files": [...]}

The answer comes when the job has ended, or after 25 seconds with its status so far: ask again then. A user who hangs up
ends the wait.
"""

import sys
from collections.abc import AsyncIterator

from aiohttp import web

from asyncflow import AsyncClient, AsyncflowError, WaitTimeoutError

CLIENT = web.AppKey("client", AsyncClient)


async def life(app: web.Application) -> AsyncIterator[None]:
    async with AsyncClient() as client:
        app[CLIENT] = client
        yield


async def job(request: web.Request) -> web.Response:
    try:
        found = await request.app[CLIENT].wait(request.match_info["job_id"], timeout=25, raise_on_failure=False)
    except WaitTimeoutError as error:
        return web.json_response({"status": error.job.status if error.job else "unknown"}, status=202)
    except AsyncflowError as error:
        return web.json_response({"error": error.kind}, status=404 if error.kind in {"not_found", "expired"} else 502)
    return web.json_response({"outcome": found.outcome, "files": list(found.urls)})


def make_app() -> web.Application:
    app = web.Application(handler_args={"handler_cancellation": True})
    app.cleanup_ctx.append(life)
    app.router.add_get("/jobs/{job_id}", job)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
