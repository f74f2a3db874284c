"""What the tests of `_repr_html_` share: a fragment as a browser reads it, and values that do not belong into one."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

EMAIL = "jo-ann+flow@example.com"
JOB_ID = f"j1104093012448120573v-u1234-email:{EMAIL}-bot:google-flow"
NASTY = '<img src=x onerror="alert(1)">&"'
LINK = "https://media.example/v?Signature=s3cret"


@dataclass
class Read(HTMLParser):
    """A fragment as a browser reads it: every element closed, the texts in order."""

    html: str
    texts: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []
        self.feed(self.html)
        self.close()
        assert self._open == []
        assert set(self.tags) <= {"div", "span", "table", "thead", "tbody", "tr", "th", "td"}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert {name for name, _ in attrs} <= {"style", "scope", "title"}
        self.tags.append(tag)
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def shown(value: object) -> list[str]:
    html = str(getattr(value, "_repr_html_", value.__str__)())
    for secret in ("jo-ann", "s3cret", "1104093012448", "a red kite", EMAIL.encode().hex()):
        assert secret not in html
    return Read(html).texts
