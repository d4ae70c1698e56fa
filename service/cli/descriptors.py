"""How many files and sockets this process may have open.

The usual soft limit of 1024 is for programs that use select(), which cannot name higher ones; those
that do not, as we with epoll, are expected to raise it to the hard limit themselves (systemd.exec,
LimitNOFILE).
"""

from __future__ import annotations

import resource

import structlog

from service.settings import Settings

log = structlog.get_logger()
_PER_DOWNLOAD = 5
"""A connection to the store and, where bytes are spliced, a pipe's two ends and a copy of each of
the two sockets."""
_OTHERS = 100
"""Databases, logs, the event loop."""


def allow_descriptors(settings: Settings) -> None:
    """Raise the soft limit to the hard one; warn where that is less than the limits may need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError) as error:  # macOS refuses the hard limit that it tells
            log.warning("descriptors_not_raised", limit=soft, error=str(error))
            hard = soft
    connections = settings.limits.max_connections + settings.s3.max_connections
    wanted = connections + _PER_DOWNLOAD * settings.s3.max_downloads + _OTHERS
    if hard != resource.RLIM_INFINITY and hard < wanted:
        log.warning("few_descriptors", limit=hard, wanted=wanted)
