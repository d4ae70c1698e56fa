"""The field `search` of an object's document: all that a search reads by.

Made from the version alone, in `version_in`; whoever changes the key or the facts of a document in
place has to write it anew.
"""

from __future__ import annotations

from service.model.search import Order, Position
from service.model.version import Version
from service.protocol.terms import terms_of
from service.stores.mongo.driver import Document
from service.stores.search_plan import position_of


def searchable(version: Version) -> Document:
    return {
        "terms": terms_of(version.key, version.facts),
        "created": place_text(position_of(version, Order.CREATED), Order.CREATED),
        "size": place_text(position_of(version, Order.SIZE), Order.SIZE),
    }


def place_text(place: Position, order: Order) -> str:
    """A place as one string that sorts as the order does: the number, then the key."""
    return place.key if order is Order.KEY else number_text(place.number) + place.key


def number_text(number: int) -> str:
    """Sorts as the number does, up to 2^64; every place of this number starts so."""
    return f"{number:016x}"
