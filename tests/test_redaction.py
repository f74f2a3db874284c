"""Nothing secret is shown, in whatever form it comes; ordinary text stays as it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncflow.redaction import digest, one_line, redact

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = 5000 if os.environ.get("ASYNCFLOW_LONG") else 150

FLOW_ID = "j1104093012448120573v-u40417-email:marta.olsen@example.com-bot:google-flow"
MUSIC_ID = "job:7b1c2d90-4e55-4a0b-9f37-0c6a2b8e11d4-user:40417-marta.olsen@example.com-bot:flowmusic"
THIRD_FORM = "20261104093012448-user:40417-bot:google-flow"
ASSET_ID = "user:40417-email:6d617274612e6f6c73656e406578616d706c652e636f6d-video:c0ffee01-17aa-4b3c-8d21-5e0f9a7b0001"
TOKEN = "user:40417-aB3xYz9Qw.7~k+/L="


@pytest.mark.parametrize("job_id", [FLOW_ID, MUSIC_ID, THIRD_FORM])
@pytest.mark.parametrize("spell", [str, lambda text: quote(text, ""), lambda text: quote(quote(text, ""), "")])
def test_job_id_is_shown_as_its_digest_however_it_is_encoded(job_id: str, spell: Callable[[str], str]) -> None:
    assert redact(f"GET /v1/jobs/{spell(job_id)}: gone") == f"GET /v1/jobs/job {digest(job_id)}: gone"


def test_digest_is_short_stable_and_total() -> None:
    assert digest(FLOW_ID) == "8244f1551f"
    assert digest(FLOW_ID) != digest(MUSIC_ID)
    assert len(digest("\ud800")) == 10


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Bearer {TOKEN} was refused", "Bearer <token> was refused"),
        (f"token={TOKEN}", "token=<token>"),
        (quote(TOKEN, ""), "<token>"),
        ("Authorization: Bearer 0123456789abcdef", "Authorization: Bearer <token>"),
        (ASSET_ID, "<asset>"),
        ("user:40417-video:CAUSinvented_upsampled", "<asset>"),
        ("user:40417-marta.olsen@example.com-clip:0a0b0c0d-1111", "<asset>"),
        ("Invalid id user%3A40417-email%3A6d61-image%3Ac0ffee", "Invalid id <asset>"),
        ("account nobody@example.com not found", "account <e-mail> not found"),
        ("nobody%40example.com nobody%2540example.com", "<e-mail> <e-mail>"),
        ("/accounts/o'brien+x@example.com/x", "/accounts/<e-mail>/x"),
        ("6e6f626f6479406578616d706c652e636f6d", "<e-mail>"),
        ("a6e6f626f6479406578616d706c652e636f6d", "<e-mail>"),
        ("email:6d617274", "email:<e-mail>"),
        ("https://cdn.example/v.mp4?Expires=1&Signature=abc", "https://cdn.example/v.mp4?…"),
        ("https://me:secret@cdn.example/v.mp4", "https://cdn.example/v.mp4"),
        (r"https:\/\/cdn.example\/v.mp4\u0026Signature=abc", r"https:\/\/cdn.example\/v.mp4\u0026Signature=…"),
        ("https%3A%2F%2Fcdn.example%2Fv%3FSignature%3Dabc%26x%3D1", "https%3A%2F%2Fcdn.example%2Fv%3FSignature=…"),
        ("v.mp4?X-Goog-Signature=abc&sig=def", "v.mp4?X-Goog-Signature=…&sig=…"),
    ],
)
def test_secret_is_not_shown(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Account ma***@example.com in error state: refresh token rejected",
        "send a Bearer token, the email: is missing; 3 @ 4, @type",
        "see https://useapi.net/docs/api-google-flow-v1",
        "GET /v1/google-flow/jobs/?options=summary: no answer [HTTP 503]",
        "d41d8cd98f00b204e9800998ecf8427e c0ffee01-17aa-4b3c-8d21-5e0f9a7b0001",
        "the design=5 of user: 7, job: none",
        "Reklámszöveg, \N{SNOWMAN} 夜市",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == text


def test_lone_surrogates_become_printable() -> None:
    redact("\ud83d lone").encode()


def test_one_line_has_no_line_breaks_control_characters_or_length() -> None:
    assert one_line("a\n\tb\x1b[31m\u202e c") == "a b [31m c"
    assert one_line("x" * 600) == "x" * 500 + "…"


word = st.text("abcdefghijklmnopqrstuvwxyzABCDEFXYZ0123456789", min_size=1, max_size=12)
local_part = st.builds("{}{}{}".format, word, st.sampled_from([".", "-", "+", "_", "'", "!", ""]), word)
address = st.builds("{}@{}.{}".format, local_part, word, st.sampled_from(["example.com", "example.org", "mail.example.net"]))
number = st.integers(1, 10**6)
# Only words that prose does not hold by chance count as shown.
secret_word = st.text("ABCDEFGHJKLMNPQRSTUVWXYZ23456789", min_size=12, max_size=20)


def hexed(text: str) -> str:
    return text.encode().hex()


secrets = st.one_of(
    st.builds(lambda mail, n: (f"j{n + 10**18}v-u{n}-email:{mail}-bot:google-flow", (mail,)), address, number),
    st.builds(lambda mail, n: (f"job:7b1c2d90-4e55-4a0b-{n}-user:{n}-{mail}-bot:flowmusic", (mail,)), address, number),
    st.builds(lambda core, n: (f"user:{n}-{core}", (core,)), secret_word, number),
    st.builds(lambda mail, n: (f"user:{n}-email:{hexed(mail)}-video:c0ffee", (hexed(mail), mail)), address, number),
    st.builds(lambda mail, n: (f"user:{n}-{mail}-clip:c0ffee", (mail,)), address, number),
    st.builds(lambda core: (f"https://flow-content.google/v?Expires=17&KeyName=k&Signature={core}", (core,)), secret_word),
    st.builds(lambda mail: (mail, (mail,)), address),
    st.builds(lambda mail: (hexed(mail), (hexed(mail),)), address),
)
spellings = st.sampled_from(
    [str, lambda text: quote(text, ""), lambda text: quote(text, ":@"), lambda text: quote(quote(text, ""), "")]
)
around = st.sampled_from(
    ["", " ", "'", '"', "(", ")", ",", ": ", "\n", " for ", "Bearer ", "/v1/google-flow/jobs/", "=", "[", "]", "…", "日本"]
)


@settings(max_examples=LONG, deadline=None)
@given(st.lists(st.tuples(around, secrets, spellings), min_size=1, max_size=4), around)
def test_no_secret_survives_in_any_spelling(
    parts: list[tuple[str, tuple[str, tuple[str, ...]], Callable[[str], str]]], end: str
) -> None:
    text = " ".join(before + spell(secret) for before, (secret, _), spell in parts) + end
    shown = redact(text)
    for _, (_, cores), _ in parts:
        for core in cores:
            for spelling in (core, quote(core, ""), quote(quote(core, ""), "")):
                assert spelling not in shown
    assert redact(shown) == shown


@settings(max_examples=LONG, deadline=None)
@given(st.lists(st.text("abcdefghijklmnopqrstuvwxyz'().,;!?-ABCäöü日本", min_size=1, max_size=9), max_size=12).map(" ".join))
def test_prose_is_never_touched(text: str) -> None:
    assert redact(text) == text


@settings(max_examples=LONG, deadline=None)
@given(st.text())
def test_any_text_can_be_redacted_and_printed(text: str) -> None:
    redact(text).encode()
    assert one_line(text).isprintable()


def test_a_megabyte_is_redacted_in_linear_time() -> None:
    for text in (
        "a" * 1_000_000,
        "1" * 1_000_000,
        "user:1-" * 30_000,
        "a@" * 90_000,
        "j1234567890v-u1" * 20_000,
        "%25" * 90_000,
    ):
        assert redact(text) is not None
