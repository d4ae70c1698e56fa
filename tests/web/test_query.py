"""Text in a query has one spelling; what has another is refused by the parameter's name."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import ClassVar

import pytest
from aiohttp.test_utils import make_mocked_request
from pydantic import Field

from service.errors import Invalid
from service.web.query import Query, read_query


class Colour(StrEnum):
    RED = "red"


class Wanted(Query):
    families: ClassVar[dict[str, str]] = {"tag.": "tags"}
    size: int | None = Field(None, ge=1)
    deep: bool = False
    since: datetime | None = None
    colour: Colour | None = None
    tags: dict[str, str] = Field(default_factory=dict)


def read(query):
    return read_query(make_mocked_request("GET", f"/x?{query}"), Wanted)


def test_values_are_read_by_their_types():
    assert read("") == Wanted()
    assert read("size=07&deep=true&colour=red") == Wanted(size=7, deep=True, colour=Colour.RED)
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert read("since=2026-01-02T04:04:05%2B01:00").since == moment


def test_a_family_gathers_its_parameters():
    assert read("tag.year=2026&tag.a%20b=").tags == {"year": "2026", "a b": ""}


@pytest.mark.parametrize(
    ("query", "parameter"),
    [("size=1_0", "size"), ("size=%2B1", "size"), ("size=%D9%A1", "size"), ("size=", "size"),
     ("size=0", "size"), ("size=1.0", "size"), ("deep=yes", "deep"), ("deep=True", "deep"),
     ("since=1767322800", "since"), ("since=2026-01-02", "since"),
     ("since=2026-13-02T00:00:00Z", "since"),
     ("colour=blue", "colour"), ("tags=x", "tags"), ("tag.=x", "tag."), ("Size=1", "Size"),
     ("size=1&size=1", "size"), ("tag.a=1&tag.a=2", "tag.a")],
)  # fmt: skip
def test_what_is_not_understood_is_refused_by_name(query, parameter):
    with pytest.raises(Invalid) as told:
        read(query)
    assert told.value.extras == {"parameter": parameter}


def test_a_broken_escape_is_refused():
    with pytest.raises(Invalid):
        read("colour=%2")
