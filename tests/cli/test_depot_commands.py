"""What import and export refuse before anything is opened."""

import pytest

from service.cli.depots import refuse_our_own
from service.errors import Invalid
from service.settings import S3, Settings

SETTINGS = Settings(s3=S3(bucket="ours"))


@pytest.mark.parametrize("prefix", ["", "blobs/", "blobs/default/", "journal/", "probes/x/"])
def test_the_services_own_blobs_are_no_place_for_objects(prefix):
    with pytest.raises(Invalid, match="keeps its own data"):
        refuse_our_own(SETTINGS, "ours", prefix)


@pytest.mark.parametrize(("bucket", "prefix"), [("ours", "films/"), ("theirs", "blobs/")])
def test_what_lies_beside_them_is(bucket, prefix):
    refuse_our_own(SETTINGS, bucket, prefix)
