"""Does the crash matrix bite? `python -m tests.faults.mutations [name …]`

Removes one safeguard at a time in a temporary copy, runs the matrix there, and prints a table; the
exit status is 1 if any mutant survives. Safeguards inside stores/mongo cannot be shown on stores in
memory: they are removed from the fake that makes the same promise (`stands for` says of which
file), and tests/contract holds the real one to it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("service", "tests", "setup.cfg", "pyproject.toml")
LEDGER = "tests/fakes/upload_ledger.py"
REPLICA = "tests/fakes/replica.py"
DELETIONS = "tests/fakes/deletions.py"
PATIENCE_S = 600
AT_ONCE = 2


@dataclass(frozen=True)
class Mutation:
    """changes: (old, new) in `file`, each old exactly once. stands_for: what a fake stands for."""

    name: str
    file: str
    changes: tuple[tuple[str, str], ...]
    stands_for: str = ""

    def applied(self, root: Path) -> str:
        """The file as it reads then; ValueError where it is not what it was."""
        text = (root / self.file).read_text()
        for old, new in self.changes:
            if text.count(old) != 1:
                raise ValueError(f"{self.name}: {old!r} occurs {text.count(old)} times")
            text = text.replace(old, new)
        return text


MUTATIONS = (
    Mutation(
        "epoch guard",
        LEDGER,
        (
            (
                "if upload is None or upload.ref != ref or upload.state not in states:",
                "if upload is None or upload.state not in states:",
            ),
        ),
        "stores/mongo/commit.py, owned()",
    ),
    Mutation(
        "intent before bytes (one PutObject)",
        "service/usecases/store_body.py",
        (
            (
                "            await self._put(key, part)\n        finally:",
                "            key = new_blob_key(self._upload.intent.tenant)\n"
                "            await self._put(key, part)\n"
                "            ledger = self._runtime.metadata.uploads\n"
                "            await ledger.switch_key(self._upload.ref, key)\n        finally:",
            ),
        ),
    ),
    Mutation(
        "intent before bytes (multipart)",
        "service/usecases/open_multipart.py",
        (
            ("        await ledger.switch_key(ref, key)\n", ""),
            (
                "    await ledger.save_multipart(ref, key, multipart)\n",
                "    if key != upload.intent.blob_key:\n"
                "        await ledger.switch_key(ref, key)\n"
                "    await ledger.save_multipart(ref, key, multipart)\n",
            ),
        ),
    ),
    Mutation(
        "HEAD after an ambiguous Complete: taken for a no",
        "service/usecases/complete_multipart.py",
        (
            (
                "if lost and await is_whole(runtime, key, size_bytes, crc64nvme):\n",
                "if False:\n",
            ),
        ),
    ),
    Mutation(
        "HEAD after an ambiguous Complete: taken for a yes",
        "service/usecases/complete_multipart.py",
        (
            (
                "if lost and await is_whole(runtime, key, size_bytes, crc64nvme):\n",
                "if lost:\n",
            ),
        ),
    ),
    Mutation(
        "read-back after an ambiguous commit: none, taken for a no",
        REPLICA,
        (("        found = landed(self.majority)\n", "        found = None\n"),),
        "stores/mongo/transactions.py, _read_back()",
    ),
    Mutation(
        "read-back after an ambiguous commit: not by majority",
        REPLICA,
        (("        found = landed(self.majority)\n", "        found = landed(self.local)\n"),),
        "stores/mongo/transactions.py, _read_back()",
    ),
    Mutation(
        "read-back of an upload that others settled",
        "service/usecases/commit_upload.py",
        (
            (
                "            return await self._settled_by_others(error)\n",
                "            raise error\n",
            ),
        ),
    ),
    Mutation(
        "the step to `undoing`: after the bytes, not before",
        "service/usecases/undo.py",
        (
            (
                "    await clear(runtime, await _won(runtime, ref))\n",
                "    found = await runtime.metadata.uploads.get(ref.id)\n"
                "    assert found is not None\n"
                "    await remove_blobs(runtime, found.keys)\n"
                "    await clear(runtime, await _won(runtime, ref))\n",
            ),
        ),
    ),
    Mutation(
        "the step to `undoing`: an error told without it",
        "service/usecases/commit_upload.py",
        (
            (
                "        try:\n            await give_up(",
                "        if not isinstance(error, Fenced):\n            raise error\n"
                "        try:\n            await give_up(",
            ),
        ),
    ),
    Mutation(
        "second look of the tombstone",
        "service/usecases/sweep.py",
        (
            (
                "            await remove_blobs(runtime, upload.keys)\n",
                "",
            ),
        ),
    ),
    Mutation(
        "second look of the leftovers",
        "service/usecases/sweep.py",
        (
            (
                "again = runtime.settings.uploads.tombstone_s if upload.looks == 0 else None",
                "again = None",
            ),
        ),
    ),
    Mutation(
        "preconditions inside the transaction",
        LEDGER,
        (("        intent.preconditions.check_write(latest)\n", ""),),
        "stores/mongo/commit.py, _check()",
    ),
    Mutation(
        "nothing newer, when rolled forward",
        "service/usecases/sweep.py",
        (("            base_seq=completion.base_seq,\n", ""),),
    ),
    Mutation(
        "nothing newer, when the client is gone",
        "service/usecases/commit_upload.py",
        (("base_seq=completion.base_seq if self._abandoned else None", "base_seq=None"),),
    ),
    Mutation(
        "uploads fenced before a bucket goes",
        "service/usecases/delete_bucket.py",
        (("    await _fence_uploads(runtime, bucket)\n", ""),),
    ),
    Mutation(
        "grace of dead versions",
        "service/usecases/sweep.py",
        (("versions.dead(older_than_s=grace_s,", "versions.dead(older_than_s=0,"),),
    ),
    Mutation(
        "old versions kept by an overwrite",
        "tests/fakes/version_index.py",
        (
            (
                "if isinstance(current, DeleteMarker) or bucket.settings.versioning:",
                "if isinstance(current, DeleteMarker):",
            ),
        ),
        "stores/mongo/placing.py, _end()",
    ),
    Mutation(
        "changes of one key conflict",
        DELETIONS,
        (
            (
                "if (current_of(tables, self.place), entries_of(tables, self.place)) != before:",
                "if False:",
            ),
        ),
        "stores/mongo/deletions.py, the filters of its updates",
    ),
    Mutation(
        "the heir of a deleted version",
        DELETIONS,
        (
            (
                "put_entry(tables, replace(others[0], latest=True, changed_seq=seq))",
                "tables.tombstones[self.place] = Tombstone(seq, self.clock.now)",
            ),
        ),
        "stores/mongo/deletions.py, _remove()",
    ),
    Mutation(
        "HEAD after an ambiguous CopyObject: taken for a yes",
        "service/usecases/store_copy.py",
        (
            (
                "    if not await is_whole(",
                "    if lost is None and not await is_whole(",
            ),
        ),
    ),
    Mutation(
        "intent before bytes (one CopyObject)",
        "service/usecases/store_copy.py",
        (
            (
                "        await _copy_whole(runtime, original, upload.intent.blob_key, lease)\n"
                "        return _stored(original, upload.intent.blob_key)\n",
                "        key = new_blob_key(upload.intent.tenant)\n"
                "        await _copy_whole(runtime, original, key, lease)\n"
                "        await runtime.metadata.uploads.switch_key(upload.ref, key)\n"
                "        return _stored(original, key)\n",
            ),
            (
                "from service.settings import MAX_PARTS, MIB\n",
                "from service.settings import MAX_PARTS, MIB\n"
                "from service.stores.blob_layout import new_blob_key\n",
            ),
        ),
    ),
    Mutation(
        "a moved version leaves no dead one",
        DELETIONS,
        (
            (
                "            del tables.versions[entry.id]\n",
                "            kill(tables, entry, self.clock.now)\n",
            ),
        ),
        "stores/mongo/deletions.py, _let_go()",
    ),
    Mutation(
        "a move and a change of its source conflict",
        "tests/fakes/handover.py",
        (("            remove()\n", "            deletion.prepare()()\n"),),
        "stores/mongo/handover.py, one snapshot",
    ),
    Mutation(
        "a move and a change of its destination conflict",
        "tests/fakes/handover.py",
        (
            (
                "if now_there != before or tables.buckets.get(bucket.id) != bucket:",
                "if tables.buckets.get(bucket.id) != bucket:",
            ),
        ),
        "stores/mongo/handover.py, one snapshot",
    ),
    Mutation(
        "a move ends the version that it copied, and no other",
        LEDGER,
        (
            (
                "it = Preconditions(if_match=EntityTags((EntityTag(source.version),)))",
                "it = Preconditions()",
            ),
        ),
        "stores/mongo/commit.py, _remove_source()",
    ),
    Mutation(
        "an overwrite that keeps versions ends none",
        "tests/fakes/version_index.py",
        (
            (
                "if isinstance(current, DeleteMarker) or bucket.settings.versioning:",
                "if isinstance(current, DeleteMarker):",
            ),
        ),
        "stores/mongo/placing.py and stores/sqlite/placing.py, _end()",
    ),
    Mutation(
        "a marker's event",
        DELETIONS,
        (
            (
                "            tables.events.append("
                "Event(kind, key, seq, marker.id, bucket_id, marker.id))\n",
                "",
            ),
        ),
        "stores/mongo/deletions.py and stores/sqlite/deletions.py, _hide()",
    ),
    Mutation(
        "the youngest of the others is the latest",
        DELETIONS,
        (
            (
                "put_entry(tables, replace(others[0], latest=True, changed_seq=seq))",
                "put_entry(tables, replace(others[-1], latest=True, changed_seq=seq))",
            ),
        ),
        "stores/mongo/deletions.py and stores/sqlite/deletions.py, _remove()",
    ),
    Mutation(
        "the order of a key outlives its youngest version",
        DELETIONS,
        (
            (
                "put_entry(tables, replace(others[0], latest=True, changed_seq=seq))",
                "put_entry(tables, replace(others[0], latest=True))",
            ),
        ),
        "stores/mongo/deletions.py and stores/sqlite/deletions.py, _remove()",
    ),
    Mutation(
        "the blob of a version that was ended for good",
        DELETIONS,
        (
            (
                "        elif others:\n            kill(tables, target, self.clock.now)\n",
                "        elif others:\n            tables.versions.pop(target.id, None)\n",
            ),
        ),
        "stores/mongo/deletions.py and stores/sqlite/deletions.py, _remove()",
    ),
    Mutation(
        "resumable: a claim raises the epoch",
        "tests/fakes/resumables.py",
        (("found.ref.epoch + 1, owner)", "found.ref.epoch, found.ref.owner)"),),
        "stores/mongo/resumables.py and stores/sqlite/resumables.py, claim()",
    ),
    Mutation(
        "resumable: keys before bytes",
        "service/usecases/resumable/held.py",
        (("        await self._ledger.note_key(self.upload.ref, key)\n", ""),),
    ),
    Mutation(
        "resumable: part numbers of two owners",
        "service/usecases/resumable/held.py",
        (
            (
                "self._number = self.progress.span.reserved if self.progress.span else 0",
                "self._number = len(self.parts)",
            ),
        ),
    ),
    Mutation(
        "resumable: bytes are lost only to their owner",
        "service/usecases/resumable/seal.py",
        (
            (
                "    await give_up(held.runtime, held.upload.ref)\n",
                "",
            ),
        ),
    ),
    Mutation(
        "resumable: a Complete that is not known to be done",
        "service/usecases/resumable/seal.py",
        (
            (
                "        if span.multipart_id in known and isinstance(error, OutcomeUnknown):\n"
                "            raise\n",
                "",
            ),
        ),
    ),
    Mutation(
        "resumable: nothing newer, when nobody waits",
        "service/usecases/resumable/finish.py",
        (("                base_seq=base_seq,\n            )\n", "            )\n"),),
    ),
    Mutation(
        "resumable: a join that was not ended begins again",
        "service/usecases/resumable/finish.py",
        (("    if span is not None and span.of_copies:\n", "    if False:\n"),),
    ),
)


@dataclass(frozen=True)
class Verdict:
    red: bool
    first: str


def judge(mutation: Mutation | None) -> Verdict:
    """Run the matrix on a copy, changed or not, until its first failure."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        root = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, root / name, ignore=ignored)
            else:
                shutil.copy(source, root / name)
        if mutation is not None:
            (root / mutation.file).write_text(mutation.applied(root))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=short"]
        command += ["-p", "no:cacheprovider", "--timeout=60", "tests/faults/test_crash_matrix.py"]
        done = subprocess.run(
            command, cwd=root, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    if done.returncode not in (0, 1):
        raise SystemExit(f"the matrix did not run:\n{done.stdout}{done.stderr}")
    found = re.search(r"^(\S+/\d+/\S+ \(\S+\))\n +(.*)$", done.stdout, re.MULTILINE)
    if done.returncode == 1 and found is None:
        raise SystemExit(f"{mutation}: red, but not for a broken promise:\n{done.stdout[-3000:]}")
    return Verdict(done.returncode == 1, f"{found[1]}: {found[2]}" if found else "")


def main(names: list[str]) -> int:
    chosen = [m for m in MUTATIONS if not names or any(name in m.name for name in names)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        untouched, *verdicts = pool.map(judge, [None, *chosen])
    if untouched.red:
        print(f"the matrix is red without any mutation: {untouched.first}")
        return 1
    for mutation, verdict in zip(chosen, verdicts, strict=True):
        where = (
            f"{mutation.file} for {mutation.stands_for}" if mutation.stands_for else mutation.file
        )
        print(f"{'red     ' if verdict.red else 'SURVIVES'}  {mutation.name}\n          {where}")
        if verdict.red:
            print(f"          {verdict.first}")
    survivors = sum(not verdict.red for verdict in verdicts)
    print(f"{len(verdicts) - survivors} of {len(verdicts)} mutants are found out")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
