"""The service's HTTP in both directions: requests out, answers in.

Pure: no clock, no I/O, no asyncio. A `Request` says what goes on the wire, down to the literal target; `decode_answer` turns
status, headers and bytes into a record, or raises the error that they mean.
"""

from asyncflow.protocol.requests import (
    SERVICES,
    Request,
    asset_request,
    cancel_request,
    file_request,
    job_request,
    service_of,
    stats_request,
    submit_request,
)
from asyncflow.protocol.responses import Answer, decode_answer, decode_job, read_nudge, transport_error, under_asked_id
from asyncflow.protocol.submissions import PreparedSubmit, SubmitRequest, is_ambiguous, order_of

__all__ = [
    "SERVICES",
    "Answer",
    "PreparedSubmit",
    "Request",
    "SubmitRequest",
    "asset_request",
    "cancel_request",
    "decode_answer",
    "decode_job",
    "file_request",
    "is_ambiguous",
    "job_request",
    "order_of",
    "read_nudge",
    "service_of",
    "stats_request",
    "submit_request",
    "transport_error",
    "under_asked_id",
]
