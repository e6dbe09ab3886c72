"""Serve an empty project on this machine, to try the commands on: `python -m tests.cloud.fake FOLDER` prints what to set."""

from __future__ import annotations

import json
import shlex
import sys
import threading
from pathlib import Path

from relight.cloud.google import ENDPOINT
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.server import served
from tests.cloud.people import ACCOUNT


def main(folder: Path) -> None:
    """Until Ctrl-C; the key file of somebody who may do everything lies in `folder`."""
    cloud = Cloud()
    cloud.iam.make(ACCOUNT)
    folder.mkdir(parents=True, exist_ok=True)
    with served(cloud) as address:
        cloud.address = address
        key = folder / "key.json"
        key.write_text(json.dumps(cloud.identities.key_file(ACCOUNT, address)))
        print(f"export {ENDPOINT}={address} GOOGLE_APPLICATION_CREDENTIALS={shlex.quote(str(key.resolve()))}")
        print(f'the project is called "{cloud.project}", and {ACCOUNT} is signed in to it', flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(130)
