"""One class for each decision, all of them fit for a log and for another process."""

from __future__ import annotations

import copy
import pickle
import traceback
from typing import TYPE_CHECKING

import pytest

import asyncflow.errors as module
from asyncflow.errors import (
    AsyncflowError,
    BadRequestError,
    DecodeError,
    DownloadError,
    PaymentError,
    RateLimitedError,
    ServiceError,
    StallTimeoutError,
    UsageError,
    WaitTimeoutError,
    category_of,
    error_class,
)
from asyncflow.records import FlowJob, MusicJob

if TYPE_CHECKING:
    from collections.abc import Callable

JOB_ID = "j1104093012448120573v-u40417-email:marta.olsen@example.com-bot:google-flow"
TOKEN = "user:40417-aB3xYz9Qw7k"
LINK = "https://flow-content.google/video/x?Expires=1793900000&Signature=invented1"
ASSET_ID = "user:40417-email:6d617274612e6f6c73656e406578616d706c652e636f6d-video:c0ffee"
SECRETS = ("marta.olsen", "aB3xYz9Qw7k", "invented1", "6d617274", "%40", "u40417")

CLASSES = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, AsyncflowError)]


def full(cls: type[AsyncflowError]) -> AsyncflowError:
    """Return an error with every field, and with a secret wherever there may be one."""
    return cls(
        f"{JOB_ID} {TOKEN} {LINK} {ASSET_ID} {JOB_ID.replace('@', '%40').replace(':', '%3A')} marta.olsen@example.com",
        kind="rate_limited",
        transient=True,
        retry_after=12.5,
        status=429,
        code="QUOTA",
        reason="PUBLIC_ERROR_USER_QUOTA_REACHED",
        job_id=JOB_ID,
        job=FlowJob(JOB_ID, "failed"),
        details=("PUBLIC_ERROR_USER_QUOTA_REACHED",),
    )


def test_an_error_whose_message_says_it_all_does_not_add_its_reason() -> None:
    assert str(DownloadError("the folder is full", reason="no_room")) == "the folder is full"
    assert str(ServiceError("it failed", reason="NO_ROOM")) == "it failed (NO_ROOM)"


def test_every_class_is_public() -> None:
    assert {cls.__name__ for cls in CLASSES} - {"AsyncflowError"} <= set(module.__all__)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("repeat", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])  # noqa: S301 - our own
def test_copy_from_another_process_has_all_fields(
    cls: type[AsyncflowError], repeat: Callable[[AsyncflowError], AsyncflowError]
) -> None:
    error = full(cls)
    again = repeat(error)
    assert type(again) is cls
    assert vars(again) == vars(error)
    assert (str(again), repr(again)) == (str(error), repr(error))


@pytest.mark.parametrize("cls", CLASSES)
def test_no_secret_is_shown(cls: type[AsyncflowError]) -> None:
    error = full(cls)
    for shown in (str(error), repr(error), *traceback.format_exception(error), str(error.args)):
        assert not [secret for secret in SECRETS if secret in shown]
    assert "marta.olsen" in error.message


def test_text_tells_job_cause_reason_and_status() -> None:
    error = RateLimitedError("slow down", status=429, reason="PUBLIC_ERROR_HIGH_TRAFFIC", job_id=JOB_ID)
    assert str(error) == "job 8244f1551f: slow down (PUBLIC_ERROR_HIGH_TRAFFIC) [HTTP 429]"
    assert repr(error) == f"RateLimitedError({str(error)!r}, kind='rate_limited')"


def test_text_falls_back_to_the_kind_and_does_not_repeat_a_reason() -> None:
    assert str(ServiceError(kind="upstream_error")) == "upstream error"
    assert str(ServiceError("it was PUBLIC_ERROR_X", reason="PUBLIC_ERROR_X")) == "it was PUBLIC_ERROR_X"


def test_text_is_one_line_of_what_the_service_says() -> None:
    assert str(BadRequestError("no\r\nsuch \x1b[31mthing")) == "no such [31mthing"
    assert len(str(BadRequestError("x" * 10_000))) < 600


def test_class_follows_from_the_kind() -> None:
    assert error_class("client_error") is error_class("payload_too_large") is BadRequestError
    assert error_class("insufficient_credits") is PaymentError
    assert (
        error_class("timeout")
        is error_class("unavailable")
        is error_class("upstream_error")
        is error_class("server")
        is ServiceError
    )
    assert error_class("what is this") is AsyncflowError
    for cls in CLASSES:
        assert error_class(cls.default_kind) is cls or cls is AsyncflowError


def test_timeouts_are_timeouts() -> None:
    assert issubclass(StallTimeoutError, WaitTimeoutError)
    with pytest.raises(TimeoutError):
        raise StallTimeoutError("no news for 60 s", job=MusicJob("x"))


@pytest.mark.parametrize(
    ("reason", "category"),
    [
        ("PUBLIC_ERROR_UNSAFE_GENERATION", "policy"),
        ("PUBLIC_ERROR_MINOR_INPUT_IMAGE", "policy"),
        ("PUBLIC_ERROR_IP_INPUT_IMAGE", "policy"),
        ("PUBLIC_ERROR_AUDIO_FILTERED", "policy"),
        ("PUBLIC_ERROR_UNUSUAL_ACTIVITY_TOO_MUCH_TRAFFIC", "captcha"),
        ("PUBLIC_ERROR_PER_MODEL_DAILY_QUOTA_REACHED", "account_cooldown"),
        ("no_eligible_account", "account_cooldown"),
        ("PUBLIC_ERROR_MODEL_OVERLOADED", "capacity"),
        ("PUBLIC_ERROR_VIDEO_GENERATION_TIMED_OUT", None),
        (None, None),
    ],
)
def test_reasons_come_in_families(reason: str | None, category: str | None) -> None:
    assert category_of(reason) == category


def test_category_falls_back_to_the_kind() -> None:
    assert RateLimitedError(reason="PUBLIC_ERROR_MINOR").category == "policy"
    assert RateLimitedError("busy").category == "capacity"
    assert DecodeError("cut").category is None


def test_usage_error_has_no_hint_of_its_own_and_others_have() -> None:
    assert UsageError("empty id").hint == ""
    assert "base URL" in error_class("redirect").hint


@pytest.mark.parametrize("reason", ["token", "base_url", "duplicate_key", "percent_encoded"])
def test_the_reason_of_a_usage_error_is_for_code_and_not_in_its_text(reason: str) -> None:
    error = UsageError("no", reason=reason)
    assert (str(error), error.reason, error.category) == ("no", reason, None)
