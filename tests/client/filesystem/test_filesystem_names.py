"""Folders, listings, buckets, odd keys, copies and deletions."""

import secrets

import pytest

KEYS = ["a b", "100%", "x#y?z", "ключ", "a&b=c+d", "star*[1]", "~", "a//".strip("/") + ":b"]


def test_a_tree_is_found_listed_and_walked(fs, bucket):
    fs.pipe({f"{bucket}/{key}": b"12" for key in ("a", "d/b", "d/e/c", "dd")})
    assert fs.ls(bucket, detail=False) == [f"{bucket}/{one}" for one in ("a", "d", "dd")]
    assert fs.find(f"{bucket}/d") == [f"{bucket}/d/b", f"{bucket}/d/e/c"]
    assert fs.find(f"{bucket}/d", withdirs=True) == [
        f"{bucket}/{one}" for one in ("d", "d/b", "d/e", "d/e/c")
    ]
    assert fs.find(bucket, maxdepth=1) == [f"{bucket}/a", f"{bucket}/dd"]
    assert fs.glob(f"{bucket}/d*") == [f"{bucket}/d", f"{bucket}/dd"]
    assert fs.glob(f"{bucket}/**/c") == [f"{bucket}/d/e/c"]
    walked = [(top, sorted(folders), sorted(files)) for top, folders, files in fs.walk(bucket)]
    assert walked == [
        (bucket, ["d"], ["a", "dd"]),
        (f"{bucket}/d", ["e"], ["b"]),
        (f"{bucket}/d/e", [], ["c"]),
    ]
    assert fs.du(bucket) == 8
    assert bucket in fs.ls("", detail=False)


def test_folders_are_what_keys_have_before_a_slash(fs, bucket):
    fs.pipe(f"{bucket}/d/b", b"")
    assert fs.isdir(f"{bucket}/d")
    assert not fs.isfile(f"{bucket}/d")
    assert fs.info(f"mg://{bucket}/d/") == {"name": f"{bucket}/d", "size": 0, "type": "directory"}
    assert not fs.exists(f"{bucket}/no")
    assert not fs.exists(f"no-{bucket}/a")
    assert not fs.exists(f"{bucket}/a//b")
    assert not fs.exists("NO/a")
    with pytest.raises(IsADirectoryError):
        fs.open(f"{bucket}/d")
    with pytest.raises(FileNotFoundError):
        fs.ls(f"{bucket}/no")


def test_an_object_and_a_folder_may_share_a_name(fs, bucket):
    fs.pipe({f"{bucket}/x": b"1", f"{bucket}/x/y": b"2"})
    fs.ls(bucket)
    assert fs.isfile(f"{bucket}/x")
    assert fs.cat_file(f"{bucket}/x") == b"1"
    assert fs.find(f"{bucket}/x") == [f"{bucket}/x/y"]
    fs.rm(f"{bucket}/x", recursive=True)
    assert fs.ls(bucket) == []


@pytest.mark.parametrize("key", KEYS)
def test_any_key_comes_back(fs, bucket, key):
    path = f"{bucket}/{key}/{key}"
    fs.pipe_file(path, key.encode())
    assert fs.find(bucket) == [path]
    assert fs.cat_file(path) == key.encode()
    fs.mv_file(path, f"{bucket}/{key}")
    assert fs.find(bucket) == [f"{bucket}/{key}"]
    fs.rm_file(f"{bucket}/{key}")
    assert fs.find(bucket) == []


def test_a_listing_is_remembered_until_something_changes_here(fs, connect, bucket):
    other = connect()
    assert fs.ls(bucket) == []
    other.pipe(f"{bucket}/a", b"1")
    assert not fs.exists(f"{bucket}/a")
    assert fs.exists(f"{bucket}/a", refresh=True)
    fs.invalidate_cache()
    assert fs.exists(f"{bucket}/a")
    fs.pipe(f"{bucket}/d/e/f", b"1")
    assert fs.ls(bucket, detail=False) == [f"{bucket}/a", f"{bucket}/d"]
    assert connect(use_listings_cache=False).ls(bucket) == fs.ls(bucket)


def test_the_version_tells_one_content_from_another(fs, bucket):
    fs.pipe(f"{bucket}/a", b"1")
    before = fs.ukey(f"{bucket}/a"), fs.checksum(f"{bucket}/a")
    assert (fs.ukey(f"{bucket}/a"), fs.checksum(f"{bucket}/a")) == before
    assert fs.created(f"{bucket}/a") <= fs.modified(f"{bucket}/a")
    fs.pipe(f"{bucket}/a", b"1")
    assert fs.ukey(f"{bucket}/a") != before[0]
    assert fs.checksum(f"{bucket}/a") != before[1]


def test_buckets_are_made_and_deleted(fs):
    bucket = f"b-{secrets.token_hex(4)}"
    fs.makedirs(f"{bucket}/any/folder")
    assert fs.isdir(bucket)
    with pytest.raises(FileExistsError):
        fs.mkdir(bucket)
    with pytest.raises(FileExistsError):
        fs.makedirs(bucket)
    fs.makedirs(bucket, exist_ok=True)
    fs.pipe(f"{bucket}/a", b"")
    with pytest.raises(OSError, match="still holds"):
        fs.rmdir(bucket)
    fs.rm(bucket, recursive=True)
    assert not fs.exists(bucket)
    with pytest.raises(FileNotFoundError):
        fs.mkdir(f"{bucket}/folder", create_parents=False)


def test_a_copy_takes_the_metadata_along(fs, bucket):
    fs.pipe(f"{bucket}/a", b"1", content_type="text/csv", tags={"x": "y"})
    fs.cp(f"{bucket}/a", f"{bucket}/b")
    info = fs.info(f"{bucket}/b")
    assert (info["content_type"], info["tags"]) == ("text/csv", {"x": "y"})
    with pytest.raises(FileNotFoundError):
        fs.cp(f"{bucket}/none", f"{bucket}/c")


def test_a_folder_moves_with_all_that_is_in_it(fs, bucket):
    fs.pipe({f"{bucket}/old/{key}": key.encode() for key in ("a", "d/b")})
    fs.mv(f"{bucket}/old", f"{bucket}/new", recursive=True)
    assert fs.find(bucket) == [f"{bucket}/new/a", f"{bucket}/new/d/b"]
    assert fs.cat_file(f"{bucket}/new/d/b") == b"d/b"


def test_deleting_what_is_not_there_is_an_error(fs, bucket):
    fs.pipe(f"{bucket}/d/a", b"")
    with pytest.raises(FileNotFoundError):
        fs.rm(f"{bucket}/none")
    with pytest.raises(IsADirectoryError):
        fs.rm(f"{bucket}/d")
    assert fs.exists(f"{bucket}/d/a")


def test_errors_are_those_of_files(fs, connect, service, bucket):
    fs.pipe(f"{bucket}/a", b"1")
    writer = connect(key=service.key("write"))
    with pytest.raises(PermissionError, match=f"mg://{bucket}/a"):
        writer.cat_file(f"{bucket}/a")
    writer.makedirs(f"{bucket}/d", exist_ok=True)
    writer.pipe(f"{bucket}/d/b", b"2")
    with pytest.raises(PermissionError):
        connect(key="mg_nobody").ls(bucket)
    with pytest.raises(OSError, match="key"):
        fs.pipe(f"{bucket}/a//b", b"")
    with pytest.raises(ConnectionError):
        connect(endpoint_url="http://127.0.0.1:1").ls(bucket)


def test_address_and_key_come_from_the_environment(connect, service, bucket, monkeypatch):
    with pytest.raises(ValueError, match="MEDIAGATE_KEY"):
        connect(key=None)
    monkeypatch.setenv("MEDIAGATE_URL", service.url)
    monkeypatch.setenv("MEDIAGATE_KEY", service.key("list"))
    assert connect(endpoint_url=None, key=None).ls(bucket) == []


def test_a_mapping_over_a_folder(fs, bucket):
    mapping = fs.get_mapper(f"{bucket}/store")
    mapping["d/a"] = b"1"
    assert dict(mapping) == {"d/a": b"1"}
    del mapping["d/a"]
    assert "d/a" not in mapping
