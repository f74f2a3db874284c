"""Hand asyncflow your job ids: it tells every status change, each outcome exactly once, and loses nothing.

The names below are the public contract, with those of `asyncflow.records`, `simulator`, `telemetry` and `testing`; each is
loaded when it is first used, so that `import asyncflow` costs next to nothing. Imports point down this map and never up
(tests/test_architecture.py holds it):

    redaction                       what may be shown of a secret
    notebook                        how values show themselves in one
    errors                          one class for each decision that a caller can take
    services                        what a service is: one folder each, with its records and decoders
    records                         the public names of those records
    events, protocol                what a watch reports; requests out, answers in
    report                          what a run cost and what it was worth
    polling, pacing                 when to ask about each job, and how fast to ask at all
    telemetry                       facts about our own work, and the hooks that hear of them
    ------------------------------- pure above: no clock, no I/O, no asyncio
    logs                            the standard library's logging, redacted
    stream                          an async iterator over tasks that it owns
    watcher                         JobWatcher: poll many jobs, yield their events
    client                          AsyncClient: outbound HTTP
    download                        Downloader: media to files
    journal                         Journal: which jobs are watched, across restarts
    webhook                         WebhookReceiver: inbound HTTP, and out of it a nudge
    ------------------------------- shells above: one kind of I/O each
    cli, dashboard, contrib         built from public names only
    simulator, testing              witnesses: they share no code with what they test
"""

from importlib import import_module

TYPE_CHECKING = False  # as type checkers know it; to import `typing` takes longer than all of this
if TYPE_CHECKING:
    from asyncflow.client import (
        AsyncClient,
        SubmitBatch,
    )
    from asyncflow.dashboard import (
        Dashboard,
    )
    from asyncflow.download import (
        Downloader,
        DownloadProgress,
        DownloadStats,
        JobFiles,
        MediaFile,
    )
    from asyncflow.errors import (
        AccountError,
        AsyncflowError,
        AuthenticationError,
        BadRequestError,
        DecodeError,
        DownloadError,
        EdgeBlockedError,
        JobExpiredError,
        JobFailedError,
        JobNotFoundError,
        JournalError,
        LinkExpiredError,
        ModeratedError,
        OutcomeUnknownError,
        PaymentError,
        PermissionDeniedError,
        RateLimitedError,
        RedirectError,
        ServiceError,
        StallTimeoutError,
        StartTimeoutError,
        StoreError,
        TransportError,
        UsageError,
        WaitTimeoutError,
    )
    from asyncflow.events import (
        Abandoned,
        Changed,
        Ended,
        ErrorInfo,
        Event,
        Expiring,
        SubmitResult,
        Unreachable,
    )
    from asyncflow.journal import (
        Journal,
        JournalEntry,
    )
    from asyncflow.pacing import (
        Pacer,
        PacerStats,
    )
    from asyncflow.polling import (
        Policy,
        PollPolicy,
        backoff,
        fixed_interval,
        webhook_fallback,
    )
    from asyncflow.protocol import (
        SubmitRequest,
        service_of,
    )
    from asyncflow.records import (
        AnyJob,
        Failure,
        FlowJob,
        FlowStats,
        Job,
        Media,
        MusicJob,
        MusicStats,
        Outcome,
    )
    from asyncflow.report import (
        RunReport,
    )
    from asyncflow.watcher import (
        JobWatcher,
        WatchStats,
    )
    from asyncflow.webhook import (
        WebhookReceiver,
    )

__version__ = "0.1.0"

__all__ = [
    "Abandoned",
    "AccountError",
    "AnyJob",
    "AsyncClient",
    "AsyncflowError",
    "AuthenticationError",
    "BadRequestError",
    "Changed",
    "Dashboard",
    "DecodeError",
    "DownloadError",
    "DownloadProgress",
    "DownloadStats",
    "Downloader",
    "EdgeBlockedError",
    "Ended",
    "ErrorInfo",
    "Event",
    "Expiring",
    "Failure",
    "FlowJob",
    "FlowStats",
    "Job",
    "JobExpiredError",
    "JobFailedError",
    "JobFiles",
    "JobNotFoundError",
    "JobWatcher",
    "Journal",
    "JournalEntry",
    "JournalError",
    "LinkExpiredError",
    "Media",
    "MediaFile",
    "ModeratedError",
    "MusicJob",
    "MusicStats",
    "Outcome",
    "OutcomeUnknownError",
    "Pacer",
    "PacerStats",
    "PaymentError",
    "PermissionDeniedError",
    "Policy",
    "PollPolicy",
    "RateLimitedError",
    "RedirectError",
    "RunReport",
    "ServiceError",
    "StallTimeoutError",
    "StartTimeoutError",
    "StoreError",
    "SubmitBatch",
    "SubmitRequest",
    "SubmitResult",
    "TransportError",
    "Unreachable",
    "UsageError",
    "WaitTimeoutError",
    "WatchStats",
    "WebhookReceiver",
    "backoff",
    "fixed_interval",
    "service_of",
    "webhook_fallback",
]

_HOMES = {
    "Abandoned": "events",
    "AccountError": "errors",
    "AnyJob": "records",
    "AsyncClient": "client",
    "AsyncflowError": "errors",
    "AuthenticationError": "errors",
    "BadRequestError": "errors",
    "Changed": "events",
    "Dashboard": "dashboard",
    "DecodeError": "errors",
    "DownloadError": "errors",
    "DownloadProgress": "download",
    "DownloadStats": "download",
    "Downloader": "download",
    "EdgeBlockedError": "errors",
    "Ended": "events",
    "Event": "events",
    "Failure": "records",
    "FlowJob": "records",
    "FlowStats": "records",
    "Job": "records",
    "JobExpiredError": "errors",
    "JobFailedError": "errors",
    "JobFiles": "download",
    "JobNotFoundError": "errors",
    "JobWatcher": "watcher",
    "Journal": "journal",
    "JournalEntry": "journal",
    "JournalError": "errors",
    "LinkExpiredError": "errors",
    "Media": "records",
    "MediaFile": "download",
    "ModeratedError": "errors",
    "MusicJob": "records",
    "MusicStats": "records",
    "Outcome": "records",
    "OutcomeUnknownError": "errors",
    "Pacer": "pacing",
    "PacerStats": "pacing",
    "PaymentError": "errors",
    "PermissionDeniedError": "errors",
    "Policy": "polling",
    "PollPolicy": "polling",
    "ErrorInfo": "events",
    "RateLimitedError": "errors",
    "RedirectError": "errors",
    "RunReport": "report",
    "ServiceError": "errors",
    "StallTimeoutError": "errors",
    "StartTimeoutError": "errors",
    "SubmitResult": "events",
    "SubmitBatch": "client",
    "SubmitRequest": "protocol",
    "StoreError": "errors",
    "TransportError": "errors",
    "Expiring": "events",
    "Unreachable": "events",
    "UsageError": "errors",
    "WaitTimeoutError": "errors",
    "WatchStats": "watcher",
    "WebhookReceiver": "webhook",
    "backoff": "polling",
    "fixed_interval": "polling",
    "webhook_fallback": "polling",
    "service_of": "protocol",
}


if not TYPE_CHECKING:  # a type checker that saw this would take any name for granted

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'asyncflow' has no attribute {name!r}")
        value = getattr(import_module(f"asyncflow.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
