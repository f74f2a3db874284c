# ruff: noqa: D101 - what a shape means, its words and the pages say; only what they do not say has a docstring.
"""The shapes in which Google Flow sends its records, past and present, with the fields that we read and no others.

Pure: no clock, no I/O, no asyncio. Every field may be missing or null. Shapes: https://useapi.net/docs/api-google-flow-v1 and
the page's versions of November 2025 and February 2026.
"""

from __future__ import annotations

from msgspec import Struct


class Echo(Struct, gc=False, rename="camel"):
    model: str | None = None
    reply_ref: str | None = None


class Error(Struct, gc=False):
    code: int | str | None = None
    message: str | None = None
    status: str | None = None


class MediaStatus(Struct, gc=False, rename="camel"):
    media_generation_status: str | None = None
    error: Error | str | None = None
    failure_reasons: list[str | None] | None = None


class Metadata(Struct, gc=False, rename="camel"):
    media_title: str | None = None
    media_status: MediaStatus | None = None


class File(Struct, gc=False, rename="camel"):
    """A generated video or image of whatever age: the fields that any of them has."""

    seed: int | None = None
    fife_url: str | None = None
    uri: str | None = None
    serving_base_uri: str | None = None
    encoded_image: str | None = None
    encoded_video: str | None = None
    media_generation_id: str | None = None


class Dimensions(Struct, gc=False):
    length: str | None = None


class Video(Struct, gc=False, rename="camel"):
    generated_video: File | None = None
    dimensions: Dimensions | None = None


class Image(Struct, gc=False, rename="camel"):
    generated_image: File | None = None


class MediaEntry(Struct, gc=False, rename="camel"):
    media_metadata: Metadata | None = None
    video: Video | None = None
    image: Image | None = None
    media_generation_id: str | None = None
    video_url: str | None = None
    thumbnail_url: str | None = None


class OperationMetadata(Struct, gc=False):
    video: File | None = None


class Operation(Struct, gc=False):
    metadata: OperationMetadata | None = None
    error: Error | str | None = None


class OperationEntry(Struct, gc=False, rename="camel"):
    operation: Operation | None = None
    status: str | None = None
    video: File | None = None
    media_generation_id: str | None = None


class Attempt(Struct, gc=False):
    success: bool | None = None


class Captcha(Struct, gc=False):
    attempts: list[Attempt | None] | None = None


class Answer(Struct, gc=False, rename="camel"):
    """What the work brought: the `response` of a record, and the whole body of a synchronous POST."""

    media: list[MediaEntry | None] | None = None
    operations: list[OperationEntry | None] | None = None
    encoded_video: str | None = None
    encoded_gif: str | None = None
    encoded_image: str | None = None
    captcha: Captcha | None = None
    remaining_credits: int | None = None
    error: Error | str | None = None


class Record(Answer, gc=False, rename="camel"):
    jobid: str | None = None
    job_id: str | None = None
    type: str | None = None
    status: str | None = None
    created: str | None = None
    updated: str | None = None
    request: Echo | None = None
    response: Answer | None = None
    error_details: str | None = None
    code: int | str | None = None


NO_ECHO = Echo()
NO_FILE = File()
NO_OPERATION = Operation()
