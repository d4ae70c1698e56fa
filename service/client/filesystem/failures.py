"""The service's errors as those that Python programs expect of files."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from service import errors
from service.client.problems import Unreachable
from service.errors import MediagateError, PreconditionFailed

_BY_KIND: dict[type[MediagateError], int] = {
    errors.NotFound: errno.ENOENT,
    errors.Gone: errno.ENOENT,
    errors.Unauthenticated: errno.EACCES,
    errors.Forbidden: errno.EACCES,
    errors.BucketExists: errno.EEXIST,
    errors.BucketNotEmpty: errno.ENOTEMPTY,
    errors.Conflict: errno.EBUSY,
    errors.DigestMismatch: errno.EIO,
    errors.Invalid: errno.EINVAL,
    errors.TooLarge: errno.EFBIG,
    errors.UnsupportedMedia: errno.EINVAL,
    errors.StoreFull: errno.ENOSPC,
    errors.RateLimited: errno.EAGAIN,
    errors.SlowClient: errno.ETIMEDOUT,
    errors.StoreTimeout: errno.ETIMEDOUT,
    Unreachable: errno.ECONNABORTED,
}
"""OSError makes FileNotFoundError, PermissionError, FileExistsError and so on of the number."""


@contextmanager
def as_os_errors(path: str, *, creates: bool = False) -> Iterator[None]:
    """Errors of the client become OSErrors that name the path; the client's is their cause.

    creates: the only condition is that nothing is there yet.
    """
    try:
        yield
    except PreconditionFailed as error:
        raise (exists_already(path) if creates else replaced(path)) from error
    except MediagateError as error:
        raise os_error(error, path) from error


def os_error(error: MediagateError, path: str) -> OSError:
    number = next((_BY_KIND[kind] for kind in type(error).__mro__ if kind in _BY_KIND), errno.EIO)
    return OSError(number, error.detail, f"mg://{path}")


def not_found(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "there is no such object or folder", f"mg://{path}")


def is_a_folder(path: str) -> IsADirectoryError:
    return IsADirectoryError(errno.EISDIR, "that is a folder, not an object", f"mg://{path}")


def exists_already(path: str) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "that is there already", f"mg://{path}")


def replaced(path: str) -> OSError:
    """The version that was meant is not the latest any more."""
    return OSError(errno.ESTALE, "replaced or deleted meanwhile", f"mg://{path}")


def not_removed(path: str, problem: dict[str, Any]) -> OSError:
    """problem: of one key among many."""
    number = errno.EACCES if problem.get("status") in (401, 403) else errno.EIO
    return OSError(number, problem.get("detail", "not deleted"), f"mg://{path}")
