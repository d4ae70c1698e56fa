"""Presigned GET URLs, each made once and used until shortly before it expires.

aiobotocore takes 2.1–2.6 ms of CPU for a GetObject, 0.5 ms for a presigned URL, and a plain GET of
one 0.3 ms. A blob never changes under its key, so neither does what its URL gives.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from yarl import URL

from service.model.ids import BlobKey

_LIVES_S = 3600
_MARGIN_S = 300
"""Clocks may differ by so much, and a request may take so long to arrive."""
_MOST = 8192
"""About 2 KiB each."""


class SignedUrls:
    """client: of aiobotocore; signing sends nothing."""

    def __init__(
        self, client: Any, bucket: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._clock = clock
        self._known: OrderedDict[BlobKey, tuple[float, URL]] = OrderedDict()

    async def get(self, key: BlobKey) -> URL:
        until, url = self._known.get(key, (0.0, None))
        if url is not None and self._clock() < until:
            self._known.move_to_end(key)
            return url
        began = self._clock()
        signed = await self._client.generate_presigned_url(
            "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=_LIVES_S
        )
        # As signed: quoted again, the path would no longer be what the signature covers.
        url = URL(signed, encoded=True)
        self._known[key] = (began + _LIVES_S - _MARGIN_S, url)
        self._known.move_to_end(key)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return url

    def forget(self, key: BlobKey) -> None:
        self._known.pop(key, None)
