"""REDbot's checks of one URL, as JSON lines [check, level, note, summary, subject].

A program of its own (`python redbot_check.py URL KEY`), since REDbot runs an event loop of its own.
"""

from __future__ import annotations

import json
import sys
from configparser import ConfigParser

import thor
from redbot.resource import HttpResource


def main(url: str, key: str) -> None:
    config = ConfigParser()
    config.read_dict({"redbot": {"enable_local_access": "True"}})
    resource = HttpResource(config["redbot"])
    resource.set_request(url, headers=[("Authorization", f"Bearer {key}")])

    def tell() -> None:
        checks = {"": resource, **resource.subreqs}
        for name, check in checks.items():
            print(json.dumps([name, "STATUS", str(check.response.status_code), "", ""]))
            for note in check.response.notes:
                about = [note.level.name, type(note).__name__, str(note.summary), note.subject]
                print(json.dumps([name, *about]))
        thor.stop()

    resource.on("check_done", tell)
    resource.check()
    thor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
