"""Names from templates: safe on every system whatever the service says, and without anything private."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from secret_watch import leaks

from asyncflow import FlowJob, UsageError
from asyncflow.download.file_names import (
    DEFAULT_TEMPLATE,
    FIELDS,
    NameFacts,
    Template,
    collision_key,
    identity,
    is_plain_name,
    numbered,
)

CREATED = datetime(2026, 11, 4, 9, 30, 12, tzinfo=UTC)
FACTS = NameFacts("google-flow", "video", "veo-3.1-fast", CREATED, "8244f1551f")
DEVICES = ("CON", "prn", "Aux", "NUL", "COM1", "lpt9", "COM¹", "conin$")


@pytest.mark.parametrize(
    ("template", "name"),
    [
        (DEFAULT_TEMPLATE, "google-flow-20261104-093012-8244f1551f-1.mp4"),
        ("{kind}_{index:02}.{ext}", "video_01.mp4"),
        ("{kind}-{index:3}.{ext}", "video-  1.mp4"),
        ("{created}", "20261104-093012.mp4"),
        ("{created:%Y-%m-%d %H.%M}", "2026-11-04 09.30.mp4"),
        ("{model}", "veo-3.1-fast.mp4"),
        ("my {{{kind}}}", "my {video}.mp4"),
        ("plain", "plain.mp4"),
        ("{ext}-{index}", "mp4-1.mp4"),
        ("...{kind}", "video.mp4"),
        ("-rf {kind}", "rf video.mp4"),
        ("{kind}. . ", "video.mp4"),
        ('a:b*c?<d>|e"f', "a_b_c__d__e_f.mp4"),
        ("tab\there", "tab_here.mp4"),
        ("\u202egpj.exe", "_gpj.exe.mp4"),
        ("~", "file.mp4"),
        ("con", "_con.mp4"),
        ("nul.txt", "_nul.txt.mp4"),
        ("e\u0301te\u0301", "été.mp4"),
        ("日本", "日本.mp4"),
    ],
)
def test_a_template_makes_a_name(template: str, name: str) -> None:
    assert Template(template).name(FACTS, 1, "mp4") == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("", "empty"),
        ("a/b", "slash"),
        ("a\\b", "slash"),
        ("..", None),
        ("{prompt}", "not {prompt}"),
        ("{title}", "not {title}"),
        ("{job_id}", "not {job_id}"),
        ("{kind.__class__}", "not {kind.__class__}"),
        ("{kind[0]}", "not {kind[0]}"),
        ("{0}", "not {0}"),
        ("{}", "not {}"),
        ("{kind!r}", "not {kind}"),
        ("{kind:>9}", "cannot be written"),
        ("{index:09999999999}", "cannot be written"),
        ("{index:{kind}}", "cannot be written"),
        ("{created:%A}", "cannot be written"),
        ("{created:%}", "cannot be written"),
        ("{kind", "cannot be read"),
        ("kind}", "cannot be read"),
    ],
)
def test_a_template_that_cannot_work_is_refused_at_once(template: str, words: str | None) -> None:
    if words is None:
        assert Template(template).name(FACTS, 1, "mp4") == "file.mp4"
        return
    with pytest.raises(UsageError) as refusal:
        Template(template)
    assert words in refusal.value.message


def test_times_are_in_utc() -> None:
    there = CREATED.astimezone(timezone(timedelta(hours=9)))
    facts = NameFacts("flowmusic", "music", "", there, "8244f1551f")
    assert Template("{created:%H%M}-{model}").name(facts, 1, "m4a") == "0930-model.m4a"


def test_a_job_of_unknown_age_is_undated() -> None:
    assert (
        Template().name(NameFacts("flowmusic", "music", "", None, "8244f1551f"), 2, "m4a") == "flowmusic-undated-8244f1551f-2.m4a"
    )


def test_an_address_that_the_service_puts_in_a_word_is_not_in_the_name() -> None:
    job = FlowJob(
        "j1104093012448120573v-u1234-email:jo-ann@example.com-bot:google-flow",
        "completed",
        kind="jo-ann@example.com",
        model="user:1234-abcdef",
    )
    name = Template("{kind}-{model}-{digest}").name(NameFacts.of(job), 1, "mp4")
    assert leaks(name) == []
    assert "jo-ann" not in name
    assert "abcdef" not in name


@pytest.mark.parametrize("device", DEVICES)
def test_devices_of_windows_are_no_names(device: str) -> None:
    for text in (device, f"{device}.tar", f"{device} "):
        assert Template("{model}").name(NameFacts("", "", text, None, ""), 1, "png").startswith("_")


@given(
    template=st.lists(st.one_of(st.text(max_size=8), st.sampled_from([f"{{{field}}}" for field in FIELDS]))).map("".join),
    words=st.lists(st.text(max_size=300), min_size=3, max_size=3),
    ext=st.sampled_from(["mp4", "m4a", "bin"]),
)
def test_whatever_the_service_says_the_name_is_one_plain_name(template: str, words: list[str], ext: str) -> None:
    try:
        made = Template(template)
    except UsageError:
        return
    facts = NameFacts(words[0], words[1], words[2], None, "8244f1551f")
    name = made.name(facts, 1, ext)
    assert name == unicodedata.normalize("NFC", name)
    assert name.endswith(f".{ext}")
    assert not set('<>:"/\\|?*@\0') & set(name)
    assert name[0] not in " .-~"
    assert len(name.encode()) <= 200
    assert all(letter.isprintable() for letter in name)
    stem = name.removesuffix(f".{ext}")
    assert stem
    assert not stem.endswith((".", " "))
    assert stem.partition(".")[0].strip().upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT1"}
    assert is_plain_name(name)
    assert is_plain_name(numbered(name, 2))


@pytest.mark.parametrize(
    "name", ["../a.mp4", "/etc/passwd", "a/b.mp4", "..", ".hidden.mp4", "a\0.mp4", "noext", "", "CON.mp4", "a\\b.mp4"]
)
def test_what_no_template_makes_is_no_plain_name(name: str) -> None:
    assert not is_plain_name(name)


@pytest.mark.parametrize(("one", "other"), [("A.mp4", "a.MP4"), ("é.mp4", "e\u0301.mp4"), ("STRASSE.png", "straße.png")])
def test_names_that_some_system_takes_for_one_have_one_key(one: str, other: str) -> None:
    assert collision_key(one) == collision_key(other)


def test_numbers_stand_before_the_last_dot() -> None:
    assert numbered("a.b.mp4", 3) == "a.b-3.mp4"


def test_only_digest_and_index_together_tell_whose_a_name_is() -> None:
    assert Template().is_telling
    assert not Template("{digest}").is_telling
    assert not Template("{index}").is_telling


def test_a_job_without_an_id_is_known_by_its_record() -> None:
    one, other = FlowJob("", "completed", kind="gif"), FlowJob("", "completed", kind="video")
    assert identity(one) == identity(FlowJob("", "failed"))
    assert len(identity(other)) == 64
