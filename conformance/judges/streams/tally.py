"""The truth against what receivers wrote down: lost, twice, out of order, and what was none of their business."""

import json
import statistics
from collections import Counter
from pathlib import Path


class Ledger:
    """The lines of one receiver, read as they come."""

    def __init__(self, path):
        self.path, self.read = Path(path), 0
        self.lines, self.names, self.first = [], {}, {}  # by jti and by what it is about: the first line
        self.ends = Counter()

    def refresh(self):
        if not self.path.exists():
            return self
        with open(self.path, "rb") as file:
            file.seek(self.read)
            new = file.read()
        new = new[: new.rfind(b"\n") + 1]
        self.read += len(new)
        for line in map(json.loads, new.splitlines()):
            self.lines.append(line)
            if "jti" in line and line["jti"] not in self.names:
                line["about"] = tuple(line["about"])
                if line["about"][0] == "client":
                    name = line["about"][1]
                    line["about"] = ("client", name, self.ends[name])
                    self.ends[name] += 1
                self.names[line["jti"]] = line
                self.first.setdefault(line["about"], line)
        return self

    def missing(self, truth, resource):
        """Revocations that were answered and have not arrived."""
        self.refresh()
        return [one for one in truth
                if one.concerns(resource) and one.answered is not None and one.about not in self.first]


ANSWER = 100  # SETs in one answer to a poll, at most


class Tally:
    """What one receiver has, compared with the truth since `since`."""

    def __init__(self, station, truth, places):
        self.name, self.resource = station.name, station.resource
        self.ledger, self.truth, self.places = station.ledger.refresh(), truth, places
        started = sum("started" in line for line in self.ledger.lines)
        self.restarts = max(0, started - 1) if station.kind == "poll" else 0
        self.known = {one.about: one for one in truth}
        self.sets = [self.named(line) for line in self.ledger.names.values()]
        self.first = {line["about"]: line for line in reversed(self.sets)}

    def named(self, line):
        """With the end of an agent counted in the order of commits, and not in which it came."""
        if line["about"][0] != "client":
            return line
        return line | {"about": self.places["txn", line["txn"]]}

    def lost(self):
        return self.ledger.missing(self.truth, self.resource)

    def received(self):
        return len(self.sets)

    def duplicates(self):
        return sum("jti" in line for line in self.ledger.lines) - len(self.sets)

    def wrong(self):
        return [line["wrong"] for line in self.ledger.lines if "wrong" in line]

    def refused(self):
        return sum("refused" in line for line in self.ledger.lines)

    def renamed(self):
        """Things that were told under two names: a retry would not be recognised."""
        names = {}
        for line in self.sets:
            names.setdefault(line["about"], set()).add(line["jti"])
        return [about for about, jtis in names.items() if len(jtis) > 1]

    def runs(self):
        """What has to be in order. Of a poll's answer nobody knows whether it arrived. What was handed out to a
        receiver that was killed therefore comes again after what never was (contracts/ssf.md 6.2): one answer's worth,
        once for each time it was started again."""
        runs, run, place, left = [], [], 0, self.restarts
        for line in self.sets:
            here = self.places.get(line["about"], place)
            if here < place and left:
                left -= 1
                runs.append(run)
                run = []
            run.append(line)
            place = here
        return [*runs, run]

    def again(self):
        """How many came after newer ones for that reason."""
        newest, found = 0, 0
        for run in self.runs():
            places = [self.places[line["about"]] for line in run if line["about"] in self.places]
            found += sum(place < newest for place in places)
            newest = max([newest, *places])
        return found

    def disordered(self):
        """Pairs of which the second had been answered before the first was asked for."""
        found = []
        for run in self.runs():
            newest = (0.0, None)
            for line in run:
                one = self.known.get(line["about"])
                if one is None:
                    continue
                if one.answered is not None and one.answered < newest[0]:
                    found.append((newest[1], one.about))
                newest = max(newest, (one.sent, one.about))
        return found

    def misplaced(self):
        """SETs that came before one which was committed before them, by the order of the database."""
        found = 0
        for run in self.runs():
            places = [self.places[line["about"]] for line in run if line["about"] in self.places]
            found += sum(a > b for a, b in zip(places, places[1:]))
        return found + (self.again() > ANSWER * self.restarts)

    def foreign(self):
        """Tokens and grants of other resources, and such as nobody revoked."""
        found = []
        for line in self.sets:
            about = line["about"]
            one = self.known.get(about)
            if (one is None and about[0] != "stream") or (one is not None and not one.concerns(self.resource)):
                found.append(about)
        return found

    def delays(self, truth=None):
        """Milliseconds from the answer to the receipt."""
        first = self.first
        return [max(0.0, (first[one.about]["at"] - one.answered) * 1000) for one in truth or self.truth
                if one.concerns(self.resource) and one.answered is not None and one.about in first]


def places(database):
    """Where each thing stands in the order of commits, read from the database by another program than Writ; and for
    the `txn` of each end of an agent which one of that agent's it is."""
    found, ends = {}, Counter()
    for seq, txn, subject in database.rows("SELECT seq, txn, subject FROM signal ORDER BY seq"):
        subject = json.loads(subject)
        session, agent = subject.get("session"), subject.get("application")
        if session:
            key = ("jti", session["jti"]) if session["format"] == "jwt_id" else ("grant", session["id"])
        elif agent:
            key = ("client", agent["sub"], ends[agent["sub"]])
            ends[agent["sub"]] += 1
            found["txn", txn] = key
        else:
            continue
        found[key] = int(seq)
    return found


HEAD = (f"{'receiver':<22}{'revoked':>8}{'received':>9}{'lost':>6}{'twice':>7}{'disorder':>9}{'late':>6}{'refused':>8}"
        f"{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")


def report(judge, what, tallies, truth):
    """A line of counts for each receiver, and a check for each kind of fault over all of them."""
    judge.note(f"{what}: {sum(one.answered is not None for one in truth)} revocations answered, "
               f"{sum(one.answered is None for one in truth)} without an answer")
    judge.note(HEAD)
    counts = {name: [] for name in ("lost", "renamed", "disordered", "foreign", "wrong")}
    misplaced = 0
    for tally in tallies:
        expected = [one for one in truth if one.concerns(tally.resource) and one.answered is not None]
        delays = sorted(tally.delays())
        for name, found in counts.items():
            found.extend((tally.name, one) for one in getattr(tally, name)())
        out = tally.misplaced()
        misplaced += out
        late = statistics.quantiles(delays, n=100)[-1] if len(delays) > 1 else 0
        judge.note(f"{tally.name:<22}{len(expected):>8}{tally.received():>9}{len(tally.lost()):>6}"
                   f"{tally.duplicates():>7}{len(tally.disordered()) + out:>9}{tally.again():>6}"
                   f"{tally.refused():>8}"
                   f"{statistics.median(delays) if delays else 0:>9.1f}{late:>9.1f}{max(delays, default=0):>9.1f}")
    for name, words in (
        ("lost", "no revocation that was answered is lost"),
        ("renamed", "each has one jti, however often it was sent"),
        ("disordered", "what was answered before another was asked for comes first"),
        ("foreign", "nobody hears of tokens of other resources, or of such as nobody revoked"),
        ("wrong", "every SET is one, by PyJWT and the rules"),
    ):
        judge.check(f"{what}: {words}", not counts[name],
                    f"{len(counts[name])}: {counts[name][:3]}" if counts[name] else "0")
    judge.equal(f"{what}: all come in the order in which they were committed, by the database", misplaced, 0)
    silent = [tally.name for tally in tallies if not tally.received()]
    judge.check(f"{what}: every receiver received something", not silent, silent or "")
