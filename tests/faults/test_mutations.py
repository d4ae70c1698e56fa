"""The mutants still fit the code; that the matrix finds them out takes minutes (mutations.py)."""

from __future__ import annotations

import pytest

from tests.faults.mutations import MUTATIONS, ROOT, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_mutation_still_applies(mutation: Mutation) -> None:
    compile(mutation.applied(ROOT), mutation.file, "exec")
