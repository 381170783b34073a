"""Three general OAuth client libraries as token clients: oauth4webapi, openid-client and Authlib."""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from judging import HERE, Judge

LIBRARIES = {
    "oauth4webapi": [os.environ.get("NODE", "node"), str(HERE / "clients/oauth4webapi.mjs")],
    "openid-client": [os.environ.get("NODE", "node"), str(HERE / "clients/openid-client.mjs")],
    "Authlib": [sys.executable, str(HERE / "clients/authlib_client.py")],
}

if __name__ == "__main__":
    judge = Judge("clients")
    for library, command in LIBRARIES.items():
        print(f"==== {library}")
        run = subprocess.run(command, capture_output=True, text=True, timeout=90)
        judge.add(run.stdout)
        judge.check(f"{library} ran to its end", f"judge {library}: " in run.stdout, run.stderr[-1500:])
    judge.finish()
