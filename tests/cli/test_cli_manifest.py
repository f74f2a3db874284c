"""Manifests: what a file asks for, line by line, and what is wrong with it before anything is sent."""

from __future__ import annotations

import csv
import io
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncflow.cli.input.manifest import BadManifestError, ManifestLine, read_manifest

VIDEOS = "google-flow/videos"


def read(text: str) -> list[ManifestLine]:
    return read_manifest(text, "batch")


def flaws(text: str) -> list[str]:
    with pytest.raises(BadManifestError) as failure:
        read(text)
    return [line.strip() for line in failure.value.text.split("\n")]


def bodies(text: str) -> list[dict[str, Any]]:
    return [entry.line.body for entry in read(text)]


# -- JSON lines ----------------------------------------------------------------------------------------------------------------


def test_json_lines_are_numbered_as_in_the_file() -> None:
    entries = read(
        '\n{"path": "google-flow/videos", "body": {"prompt": "a"}, "key": "k"}\r\n\n'
        '  {"path": "flowmusic/music", "body": {"prompt": "b\\u2028c"}}'
    )
    assert [(entry.number, entry.line.path, entry.line.key) for entry in entries] == [
        (2, VIDEOS, "k"),
        (4, "flowmusic/music", None),
    ]
    assert entries[0].key == "k"
    assert entries[1].key.endswith("-1")
    assert entries[1].line.body == {"prompt": "b\u2028c"}


def test_equal_lines_have_keys_of_their_own() -> None:
    line = '{"path": "google-flow/videos", "body": {"prompt": "a"}}\n'
    assert len({entry.key for entry in read(line * 3)}) == 3


def test_every_flaw_is_named_before_anything_is_sent() -> None:
    lines = [f'{{"path": "{VIDEOS}", "body": {{"prompt": "{number}"}}, "key": "k{number}"}}' for number in range(198)]
    lines += ["{", f'{{"path": "{VIDEOS}", "key": "k7"}}']
    assert flaws("\n".join(lines)) == [
        "the manifest has flaws, nothing was submitted",
        "batch, line 199: is no JSON by itself: a manifest has one object a line",
        "batch, line 200: the key is that of line 8",
    ]


def test_only_the_first_flaws_are_told() -> None:
    told = flaws("{\n" * 12)
    assert len(told) == 1 + 5 + 1
    assert told[-1] == "and 7 more like these"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"path": "videos", "body": {}}', "unknown service"),
        ('{"path": "google-flow", "body": {}}', "names an endpoint"),
        ('{"body": {}}', "missing required field `path`"),
        ('{"path": "google-flow/videos", "prompt": "x"}', "unknown field `prompt`"),
        ('{"path": "google-flow/videos", "body": {"replyRef": 1}}', "is text"),
        ('{"path": "google-flow/videos"} trailing', "no JSON"),
        ('["google-flow/videos"]', "object with a path"),
    ],
)
def test_a_flaw_of_a_line_is_told_with_its_number(line: str, words: str) -> None:
    [_, told] = flaws(f"\n{line}")
    assert told.startswith("batch, line 2: ")
    assert words in told


@pytest.mark.parametrize("text", ["", "\n \n", "path,prompt\n", "path\n\n"])
def test_an_empty_manifest_is_none(text: str) -> None:
    assert flaws(text) == ["batch holds no lines to submit"]


def test_no_prompt_is_told_with_a_flaw() -> None:
    assert "secret" not in " ".join(flaws('{"path": "google-flow/videos", "body": {"prompt": "secret", "replyRef": 2}}'))
    assert "secret" not in " ".join(flaws(f"path,prompt,count:number\n{VIDEOS},secret,secret"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(min_size=1), json_values, max_size=4), min_size=1, max_size=5))
def test_what_is_written_as_json_is_read_as_it_was(given_bodies: list[dict[str, Any]]) -> None:
    given_bodies = [{key: value for key, value in body.items() if key != "replyRef"} for body in given_bodies]
    text = "".join(json.dumps({"path": VIDEOS, "body": body}) + "\n" for body in given_bodies)
    assert bodies(text) == given_bodies


@given(st.text() | st.text(alphabet='{}[]",:\n\tpathkeybody;1.', max_size=80))
def test_any_text_is_a_manifest_or_has_a_flaw(text: str) -> None:
    for form in (None, "json", "csv"):
        with suppress(BadManifestError):
            entries = read_manifest(text, "batch", form)
            assert len({entry.key for entry in entries}) == len(entries)
            assert all(1 <= entry.number <= text.count("\n") + text.count("\r") + 1 for entry in entries)


# -- CSV -----------------------------------------------------------------------------------------------------------------------


def test_the_first_line_names_the_columns() -> None:
    [first, second] = read('path,key,prompt,count\ngoogle-flow/videos,k1,"a kite, red",2\n\nflowmusic/music,,brass,\n')
    assert (first.number, first.line.path, first.line.key, first.line.body) == (
        2,
        VIDEOS,
        "k1",
        {"prompt": "a kite, red", "count": 2},
    )
    assert (second.number, second.line.path, second.line.key, second.line.body) == (
        4,
        "flowmusic/music",
        None,
        {"prompt": "brass"},
    )


@pytest.mark.parametrize("delimiter", ",;\t")
def test_other_delimiters_will_do(delimiter: str) -> None:
    assert bodies(f"path{delimiter}prompt\n{VIDEOS}{delimiter}a kite\n") == [{"prompt": "a kite"}]


def test_a_cell_may_hold_lines() -> None:
    [first, second] = read(f'path,lyrics\nflowmusic/music,"one\ntwo\nthree"\n{VIDEOS},x\n')
    assert (first.number, first.line.body) == (2, {"lyrics": "one\ntwo\nthree"})
    assert second.number == 5


@pytest.mark.parametrize(
    ("column", "cell", "value"),
    [
        ("count", "2", 2),
        ("count", " 2 ", 2),
        ("strength", "-0.5", -0.5),
        ("strength", "1e3", 1000.0),
        ("instrumental", "true", True),
        ("instrumental", "FALSE", False),
        ("media", '[{"a": 1}]', [{"a": 1}]),
        ("options", '{"a": null}', {"a": None}),
        ("seed", "0042", "0042"),
        ("seed", "1.", "1."),
        ("note", "null", "null"),
        ("prompt", "1984", "1984"),
        ("prompt", "true", "true"),
        ("prompt", "[intro]", "[intro]"),
        ("replyRef", "12", "12"),
        ("seed:text", "42", "42"),
        ("prompt:number", "42", 42),
        ("flag:flag", "True", True),
        ("any:json", '"x"', "x"),
        ("a.b.c", "1", {"b": {"c": 1}}),
    ],
)
def test_cells_are_what_they_look_like(column: str, cell: str, value: object) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([["path", column], [VIDEOS, cell]])
    name = column.partition(":")[0].partition(".")[0]
    assert bodies(text.getvalue()) == [{name: value}]


def test_dots_fill_one_object_together() -> None:
    assert bodies(f"path,a.b,a.c,d\n{VIDEOS},1,x,\n{VIDEOS},,y,2\n") == [{"a": {"b": 1, "c": "x"}}, {"a": {"c": "y"}, "d": 2}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prompt\nx", "line 1: there is no column path"),
        ("path,prompt:colour\nx,y", "line 1: the column 'prompt:colour' is no field"),
        ("path,,prompt\nx,y,z", "line 1: the column '' is no field"),
        ("path,prompt,prompt\nx,y,z", "line 1: two columns are called 'prompt'"),
        ("path,count:number\ngoogle-flow/videos,two", "line 2: the cell of count is not of its column's kind"),
        ("path,media\ngoogle-flow/videos,[1", "line 2: the cell of media is not of its column's kind"),
        ("path,a,a.b\ngoogle-flow/videos,1,2", "line 2: a.b belongs to a field that has a value of its own"),
        ("path,a.b,a\ngoogle-flow/videos,1,2", "line 2: a belongs to a field that has a value of its own"),
        ('path,a,a.b\ngoogle-flow/videos,"{""c"": 1}",2', "line 2: a.b belongs to a field"),
        ("path,prompt\ngoogle-flow/videos,a,b", "line 2: has 3 cells for 2 columns"),
        ('path,prompt\ngoogle-flow/videos,"a', "line 2: is no CSV"),
        ("path,prompt\n,x", "line 2: the line is no submit: object missing required field `path`"),
    ],
)
def test_a_flaw_of_a_table_is_told_with_its_line(text: str, words: str) -> None:
    [_, told] = flaws(text)
    assert words in told


cells = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1).filter(lambda cell: bool(cell.strip()))


@given(st.lists(cells, min_size=1, max_size=6), st.sampled_from(",;\t"))
def test_text_that_is_written_as_csv_is_read_as_it_was(prompts: list[str], delimiter: str) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([["path", "prompt"], *([VIDEOS, prompt] for prompt in prompts)])
    assert [body["prompt"] for body in bodies(text.getvalue())] == prompts
