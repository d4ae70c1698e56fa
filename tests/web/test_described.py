"""Every route is described beside its handler, and what it says of its query is what it takes."""

import pytest

from service.web.describe import Json, Operation
from service.web.routes import ROUTES
from tests.web.serving import ROOT_KEY

NAMES = [f"{route.method} {route.path}" for route in ROUTES]


@pytest.fixture(params=ROUTES, ids=NAMES)
def route(request):
    return request.param


def test_every_route_has_its_description(route):
    assert isinstance(route.operation, Operation), "put @describe(…) above the handler"
    operation = route.operation
    assert operation.summary.endswith(".")
    assert "\n" not in operation.summary
    assert operation.answers
    assert all(100 <= status < 400 or status == 503 for status in operation.answers)


def test_every_query_parameter_says_what_it_is(route):
    fields = route.operation.query.model_fields if route.operation.query else {}
    assert not [name for name, field in fields.items() if not field.description]


def test_a_body_of_json_belongs_to_a_method_that_has_one(route):
    if any(isinstance(body, Json) for body in route.operation.bodies):
        assert route.method in ("PUT", "POST", "PATCH")


def test_handlers_have_names_of_their_own():
    names = [route.operation.name for route in ROUTES]
    assert len(set(names)) == len(names)


GUARDED = [route for route in ROUTES if route.scope is not None]
"""The open ones take whatever other people's tools send."""


@pytest.mark.parametrize("route", GUARDED, ids=lambda route: f"{route.method} {route.path}")
async def test_what_a_route_does_not_take_is_refused_by_name(service, route):
    path = route.path.format(bucket="films", key="a", id="01ARZ3NDEKTSV4RRFFQ69G5FAV")
    async with service.fetch(route.method, f"{path}?nonsense=1", key=ROOT_KEY) as response:
        problem = await response.json(content_type=None)
        assert (response.status, problem["parameter"]) == (400, "nonsense")
