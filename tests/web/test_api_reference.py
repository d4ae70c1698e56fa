"""docs/api.md tells the routes and the errors that there are, and no others."""

import re
from pathlib import Path

from service import errors
from service.errors import MediagateError
from service.protocol import tus
from service.web.problems import problem_of
from service.web.routes import ROUTES

PAGE = (Path(__file__).parent.parent.parent / "docs" / "api.md").read_text("utf-8")
OF_THE_FRAMEWORK = {"method_not_allowed": 405, "expectation_failed": 417}


def tree(kind):
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ in (errors.__name__, tus.__name__):
            yield from tree(child)


def told_status(kind):
    """SchemaMismatch stops a start, and BlobMissing is told as `internal`: both are 500."""
    return problem_of(kind("")).status


def test_every_code_is_told_with_its_status():
    told = dict(re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \|", PAGE, re.MULTILINE))
    expected = {kind.code: str(told_status(kind)) for kind in tree(MediagateError)}
    expected |= {code: str(status) for code, status in OF_THE_FRAMEWORK.items()}
    assert told == expected


def test_every_route_is_told_with_its_scope():
    told = re.findall(r"^\| `([A-Z]+) (/\S+)` \| (\w+) \|", PAGE, re.MULTILINE)
    assert sorted(told) == sorted(
        (route.method, route.path, str(route.scope) if route.scope else "none") for route in ROUTES
    )
