"""The way from a client to media hosts, which never see its token: made when a file is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncflow.errors import UsageError

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    import aiohttp

    from asyncflow.download import Downloader, DownloadOptions, JobFiles, MediaFile, MediaTransport
    from asyncflow.records import Job

__all__ = ["MediaAccess"]


class MediaAccess:
    """Downloads for a client of the service at *base_url*; they share connections and threads."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._carrier: MediaTransport | None = None
        self._is_closed = False

    def downloader(
        self,
        folder: str | os.PathLike[str],
        read: Callable[[str], Awaitable[Job]],
        fresh_url: Callable[[str], Awaitable[str]],
        *,
        keep_open: bool,
        on_done: Callable[[JobFiles], None] | None,
        options: DownloadOptions,
    ) -> Downloader:
        """Return a downloader that reads jobs by *read* and gets new links by *fresh_url*."""
        from asyncflow.download import Downloader  # noqa: PLC0415 - nothing of it is loaded before a file is asked for

        return Downloader(
            folder, read=read, fresh_url=fresh_url, carrier=self._out(), keep_open=keep_open, on_done=on_done, **options
        )

    def open(self, url: str, headers: Mapping[str, str] | None) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Ask a media host for *url*."""
        return self._out().open(url, headers)

    def _out(self) -> MediaTransport:
        from asyncflow.download import MediaTransport  # noqa: PLC0415 - see above

        if self._is_closed:
            raise UsageError("this client is closed; make a new one")
        if self._carrier is None:
            self._carrier = MediaTransport(self._base_url)
        return self._carrier

    async def aclose(self) -> None:
        """Close the connections to media hosts."""
        self._is_closed = True
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            await carrier.aclose()


async def only_job(downloader: Downloader, job: Job | str) -> tuple[MediaFile, ...]:
    """Return the files of *job*, the one job of *downloader*; raises what keeps it from having any."""
    async with downloader:
        downloader.add(job)
        downloader.finish()
        async for files in downloader:
            if files.error is not None:
                raise files.error.exception(files.job_id or None)
            return files.files
    raise UsageError("the download was closed before it was done")
