"""Which deliveries this installation has: a redirect needs an address that clients can reach."""

from __future__ import annotations

from service.errors import Conflict
from service.model.bucket import Bucket, Delivery
from service.usecases.runtime import Runtime


def check_delivery(runtime: Runtime, wanted: Delivery) -> None:
    """Raises Conflict where a bucket asks for what cannot be done here."""
    if wanted is Delivery.REDIRECT and not runtime.settings.s3.public_endpoint:
        raise Conflict("delivery: redirect needs the setting s3.public_endpoint")


def redirects(runtime: Runtime, bucket: Bucket) -> bool:
    """Whether its downloads are redirected. An installation that lost its public endpoint, or was
    rebuilt without one, sends the bytes itself."""
    wanted = bucket.settings.delivery is Delivery.REDIRECT
    return wanted and runtime.settings.s3.public_endpoint is not None
