"""The numbered black-box checks of the Shared Signals contract, against the server over HTTP with real receivers.

    python judge.py

Every SET that comes by any way is verified with PyJWT and by the rules, a sample of them with jose under Node.
Checks 43 and after are those of the `revocation` judge, of `stream-faults`, and of the layers' own tests.
"""

import shutil
import sys
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "durability")]

import api_checks
import delivery_checks
import set_checks
from judging import ROOT, Judge
from stage import OPEN, Stage

SECURE = "https://as.example/writ"
GIVE_UP = 60  # seconds; the least that can be set
SETTINGS = OPEN | {"WRIT_EVENTS__POLL_WAIT": "3", "WRIT_EVENTS__GIVE_UP": str(GIVE_UP)}


def run(judge, checks, *arguments):
    """One group. What goes wrong in it fails it, and the others are still checked."""
    name = checks.__qualname__.replace("_", " ")
    print(f"-- {name}", flush=True)
    try:
        checks(judge, *arguments)
    except Exception:  # noqa: BLE001 -- the judge goes on with what is left
        judge.check(f"{name} could be checked to its end", False, traceback.format_exc(limit=-3).strip())


def main():
    judge = Judge("streams")
    directory = ROOT / "target/conformance/scenes/streams"
    shutil.rmtree(directory, ignore_errors=True)
    stage = Stage(judge, directory / "node", SETTINGS)
    secure = Stage(judge, directory / "secure", issuer=SECURE)
    try:
        stage.start()
        secure.start()
        run(judge, api_checks.discovery, stage, secure)
        run(judge, api_checks.authorization, stage)
        run(judge, api_checks.streams, stage, secure)
        later = [delivery_checks.UnknownKey(stage), delivery_checks.GivesUp(stage, GIVE_UP)]
        for checks in (api_checks.status, api_checks.verification, set_checks.what_ended, set_checks.who_sees,
                       set_checks.emitted, set_checks.by_the_transmitter, delivery_checks.push, delivery_checks.poll):
            run(judge, checks, stage)
        for one in later:
            run(judge, one.check)
        run(judge, delivery_checks.crash, stage)
        run(judge, set_checks.all_of_them, stage)
    finally:
        for one in (stage, secure):
            one.stop()
    judge.finish()


if __name__ == "__main__":
    main()
