"""What an upload of several files answers with: a form, or an archive that is unpacked."""

from __future__ import annotations

from service.errors import MediagateError
from service.web.json import Answer
from service.web.problems import problem_of
from service.web.version_answer import VersionAnswer


class FileProblem(Answer):
    """As in a problem of its own (RFC 9457)."""

    title: str
    status: int
    code: str
    detail: str


class RefusedFile(Answer):
    """name: as it stands in the archive."""

    name: str
    problem: FileProblem


class FilesAnswer(Answer):
    """items: one for each file, in the order of the request. created: how many are stored."""

    items: list[VersionAnswer | RefusedFile]
    created: int
    failed: int


def refused(name: str, error: MediagateError) -> RefusedFile:
    told = problem_of(error)
    problem = FileProblem(title=told.title, status=told.status, code=told.code, detail=told.detail)
    return RefusedFile(name=name, problem=problem)
