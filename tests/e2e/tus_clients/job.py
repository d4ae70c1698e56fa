"""What a client is told to do, as it travels to a program: one object of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass

RETRIES = 500
RETRY_DELAY_S = 0.2


@dataclass(frozen=True)
class Job:
    """file: a path. headers: of every request. metadata: for Upload-Metadata."""

    endpoint: str
    file: str
    headers: Mapping[str, str]
    metadata: Mapping[str, str]
    retries: int = RETRIES
    retry_delay_s: float = RETRY_DELAY_S

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def read_job() -> Job:
    return Job(**json.load(sys.stdin))
