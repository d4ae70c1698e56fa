"""import and export as the installed command, on real servers."""

import asyncio
import json
import secrets

from service.client import AsyncMediagate, PutOptions
from tests.e2e.installation import ROOT_KEY

OPTIONS = PutOptions(
    content_type="text/plain", user_metadata={"who": "Zoë"}, tags={"a": "b"}, filename="ä.txt"
)
DATA = {"one": b"1", "sub/two": b"2" * (20 << 20), "sub-": b""}


def sums(done):
    told = json.loads(done.stdout.splitlines()[-1])
    return {name: value for name, value in told.items() if value and name != "moved_bytes"}


async def test_objects_go_out_to_s3_and_come_back_into_another_bucket(installation, service):
    bucket, again = (f"b-{secrets.token_hex(4)}" for _ in range(2))
    depot = f"s3://{installation.s3_bucket}/depot-{bucket}"
    async with AsyncMediagate(service.url, ROOT_KEY) as mediagate:
        for name in (bucket, again):
            await mediagate.make_bucket(name)
        for key, data in DATA.items():
            await mediagate.put(bucket, key, data, OPTIONS)

        async def run(*arguments):
            return sums(await asyncio.to_thread(installation.run, *arguments, "--json"))

        assert await run("export", bucket, depot) == {"get": 3}
        assert await run("import", depot, again) == {"put": 3}
        assert await run("import", depot, again, "--move") == {"same": 3}
        ours = {"bucket", "version", "etag", "created_at", "modified_at"}
        for key, data in DATA.items():
            old, new = [await mediagate.stat(name, key) for name in (bucket, again)]
            assert new.model_dump(exclude=ours) == old.model_dump(exclude=ours)
            assert await mediagate.get_bytes(again, key) == data
