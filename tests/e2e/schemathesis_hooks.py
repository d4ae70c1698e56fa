"""What schemathesis loads before it runs (`SCHEMATHESIS_HOOKS`).

A schema says how a request is written, not what it means at this moment. So a request that is well
written may still be refused for the reasons below; everything else that fits the document must be
accepted: that is its check `positive_data_acceptance`, told better. And it learns to write the
header fields whose grammar no schema tells.
"""

import base64
import json

import schemathesis
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import positive_data_acceptance

OF_THE_MOMENT = {
    "digest_mismatch",
    "idempotency_mismatch",
    "invalid_cursor",
    "precondition_failed",
    "range_not_satisfiable",
    "too_large",
    "unsupported_media_type",
}
REFUSED_BY_NAME = {"atomic", "delimiter", "destination", "Idempotency-Key", "prefix", "Range"}
"""What is told and good in itself, but refused beside other parameters, or for an archive, or (a
move's destination) for being the source."""
TEXT = st.text("abcXYZ019 _-", max_size=8).map(str.strip)
SIZES_BYTES = {"sha-256": 32, "md5": 16, "crc32c": 4}


@schemathesis.check
def what_fits_is_accepted(ctx, response, case):
    if response.status_code < 500 and _is_told_better(response):
        return None
    return positive_data_acceptance(ctx, response, case)


def _is_told_better(response):
    try:
        problem = json.loads(response.content)
    except ValueError:
        return not response.content and response.status_code in (400, 412, 415, 416)
    if not isinstance(problem, dict):
        return False
    in_the_past = problem.get("detail") == "expires_at is in the past"
    named = problem.get("parameter", problem.get("field")) in REFUSED_BY_NAME
    return problem.get("code") in OF_THE_MOMENT or in_the_past or named


def _digest(algorithm, size_bytes):
    return st.binary(min_size=size_bytes, max_size=size_bytes).map(
        lambda raw: f"{algorithm}=:{base64.b64encode(raw).decode()}:"
    )


TAG = st.sampled_from(['"abc"', 'W/"abc"', '"01ARZ3NDEKTSV4RRFFQ69G5FAV"', '""'])
FORMATS = {
    "entity-tags": st.just("*") | st.lists(TAG, min_size=1, max_size=3).map(", ".join),
    "tags": st.dictionaries(
        TEXT.filter(bool).map(lambda name: name.replace(" ", "+")), TEXT, max_size=3
    ).map(
        lambda tags: "&".join(f"{name}={value.replace(' ', '+')}" for name, value in tags.items())
    ),
    "meta": TEXT | TEXT.map(lambda text: "UTF-8''%C3%A4" + text.replace(" ", "%20")),
    "md5": st.binary(min_size=16, max_size=16).map(lambda raw: base64.b64encode(raw).decode()),
    "digests": st.one_of(*(_digest(*item) for item in SIZES_BYTES.items())),
}
for name, strategy in FORMATS.items():
    schemathesis.openapi.format(name, strategy)
