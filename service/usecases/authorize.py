"""One question, asked for every request: may this principal do that to this?"""

from __future__ import annotations

from service.errors import Forbidden
from service.model.api_key import Principal, Scope


def authorize(
    principal: Principal,
    scope: Scope,
    *,
    bucket: str | None = None,
    key: str | None = None,
    prefix: str | None = None,
) -> None:
    """Return if it may, raise Forbidden otherwise; whether there is such a thing is no matter.

    key: one object. prefix: all objects whose keys start so (a listing). Neither: the bucket
    itself, or with no bucket the tenant as a whole. Administration reaches beyond single objects,
    so a key limited to prefixes has none, and one limited to buckets has it in those only.
    """
    if scope not in principal.scopes:
        raise Forbidden(f"this API key lacks the scope `{scope}`", scope=str(scope))
    if bucket is not None and principal.buckets and bucket not in principal.buckets:
        raise Forbidden("this API key is limited to other buckets")
    if scope is Scope.ADMIN and (principal.prefixes or (principal.buckets and bucket is None)):
        raise Forbidden("this API key is limited to buckets or prefixes")
    name = key if key is not None else prefix
    if name is not None and principal.prefixes and not name.startswith(principal.prefixes):
        raise Forbidden("this API key is limited to other prefixes")
