from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from asyncflow.cli.exits import BadIdsError
from asyncflow.cli.input.ids import collect_ids, ids_in_text, text_of

if TYPE_CHECKING:
    from pathlib import Path

FLOW = "j1121233937813847339v-u1234-email:ada.lind@example.com-bot:google-flow"
MUSIC = "job:37ebdcd9-e87a-4613-a443-df789558867f-user:1234-ada.lind@example.com-bot:flowmusic"


def written(path: Path, content: bytes | str) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        ("\n\n  \n", []),
        ("# all comments\n#x\n", []),
        ("a\nb", [(1, "a"), (2, "b")]),
        ("a\r\n\r\nb\r\n", [(1, "a"), (3, "b")]),
        ("  a  # the first\n\t\nb\t", [(1, "a"), (3, "b")]),
    ],
)
def test_lines_are_ids_but_for_blanks_and_comments(text: str, ids: list[tuple[int, str]]) -> None:
    assert list(ids_in_text(text)) == ids


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_whatever_editor_wrote_the_file(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path / "ids.txt", f"# ids\r\n{FLOW}\r\n\r\n{MUSIC}\r\n{FLOW}\r\n".encode(encoding))
    assert collect_ids([], [path]) == [FLOW, MUSIC]


def test_arguments_come_before_files_and_doubles_go(tmp_path: Path) -> None:
    path = written(tmp_path / "ids.txt", f"{FLOW}\n{MUSIC}\n")
    assert collect_ids([MUSIC], [path, path]) == [MUSIC, FLOW]


def test_ten_thousand_lines(tmp_path: Path) -> None:
    ids = [f"j1121233937{number:09}v-u1234-email:ada.lind@example.com-bot:google-flow" for number in range(10_000)]
    path = written(tmp_path / "ids.txt", "\n".join(ids))
    assert collect_ids([], [path]) == ids


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (f"{FLOW}\n\nj12\n", "ids.txt, line 3: 'j12' is no job id: it does not end in -bot:google-flow or -bot:flowmusic"),
        (
            "a b\nc\nd",
            "ids.txt, line 1: 'a b' is no job id: it does not end in -bot:google-flow or -bot:flowmusic (2 more like it)",
        ),
        (FLOW.replace(":", "%3A"), "is percent-encoded"),
        ("ada.lind@example.com-bot:midjourney", "'<e-mail>:midjourney' is no job id"),
        ("user:1234-abcdef", "'<token>' is no job id"),
        ("", "no job ids in "),
        ("# nothing\n", "no job ids in "),
        (b"\x00\x01\x02\xff" * 50, "ids.txt is no text file"),
        (b"\xff\xfeabc", "ids.txt is no text file"),
        ("x" * 5000, "..."),
    ],
)
def test_the_first_wrong_line_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | str, complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "ids.txt", content)
    with pytest.raises(BadIdsError) as refusal:
        collect_ids([], ["ids.txt"])
    assert complaint in refusal.value.text
    assert "example.com" not in refusal.value.text
    assert len(refusal.value.text) < 200


@pytest.mark.parametrize(
    ("arguments", "files", "complaint"),
    [
        ([], [], "no job ids: name some, or a --file of them"),
        ([""], [], "a job id is empty"),
        (["ids.txt"], [], "'ids.txt' is no job id: it is a file, use --file ids.txt"),
        ([], ["missing.txt"], "missing.txt: no such file or directory"),
        ([], ["."], ".: is a directory"),
        ([], ["a\0b"], "a b: no such file"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], files: list[str], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "ids.txt", FLOW)
    with pytest.raises(BadIdsError) as refusal:
        collect_ids(arguments, files)
    assert refusal.value.text == complaint


def test_a_process_without_standard_input_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(BadIdsError, match="standard input is closed"):
        collect_ids(["-"], [])


def test_a_text_keeps_what_it_says() -> None:
    assert text_of("ä\n".encode(), "x") == "ä\n"
