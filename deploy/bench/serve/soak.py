"""A long load with mishaps: new and damaged snapshots, clients that vanish, a killed worker.

Each answer is compared with what a search of the snapshot that it names finds.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploy.bench.serve.load import Load, start_load
from deploy.bench.serve.services import Running, serving, wait_for
from transforms.search.store import Store
from transforms.transactions.removal import remove_documents

#: New snapshots, and damaged ones among them, in the whole time.
SWAPS, DAMAGED = 20, 5
_QUESTIONS = 100
_CLIENTS, _VANISHING, _WORKERS = 8, 2, 2
#: Seconds after a kill in which requests of that worker fail.
_KILLED = 3.0
#: The most seconds in which a damaged snapshot is refused, or a process started.
_LONGEST = 90.0


@dataclass(frozen=True)
class Soaked:
    """What happened.

    Attributes:
        requests: how many were answered.
        wrong: how many answers differ from the snapshot that they name.
        errors: how many requests failed, but for those of the killed worker.
        killed: how many requests failed when a worker was killed.
        vanished: how many clients went away.
        snapshots: how many snapshots answers came from.
        damaged: how many damaged snapshots were there.
        refused: how often a process refused one of them, as the log tells.
        memory: bytes at the end, by those after a minute.
        megabytes: the memory after each new snapshot.
    """

    requests: int
    wrong: int
    errors: int
    killed: int
    vanished: int
    snapshots: int
    damaged: int
    refused: int
    memory: float
    megabytes: list[int]

    @property
    def missed(self) -> list[str]:
        """What is not as it should be, a sentence each."""
        found = []
        if self.wrong or self.errors:
            found.append(f"{self.wrong} answers are wrong, {self.errors} requests failed")
        if self.killed > _CLIENTS:
            found.append(f"{self.killed} requests failed with a worker that had {_CLIENTS} at most")
        if self.refused != _WORKERS * self.damaged:
            problem = f"{_WORKERS} processes refused {self.damaged} damaged snapshots"
            found.append(f"{problem} {self.refused} times, and each should once")
        if self.memory > 1.1:
            found.append(f"the memory grew {self.memory:.2f} times")
        return found


def soak(store: str, questions: list[str], seconds: float, work: Path) -> dict[str, Any]:
    """Serve a copy of a store under load for some seconds, and return what happened."""
    url, record = str(work / "soaked"), work / "answers.jsonl"
    shutil.copytree(store, url)
    bodies = [{"question": each, "k": 10} for each in questions[:_QUESTIONS]]
    with serving(url, "--workers", str(_WORKERS), "--follow", "1s") as service:
        wait_for(service.port)
        load = Load(service.port, "/search", bodies, _CLIENTS, seconds, 0.0, _VANISHING)
        load.record = str(record)
        asking = start_load(load)
        told = _mishaps(service, url, seconds)
        figures = json.loads(asking.communicate()[0])
        refused = _refused(service)
        shutil.copy(service.log, work.parent / "soak.log")
        grown = service.memory() / told.pop("memory")
    ended = told.pop("killed")
    killed = sum(0 <= when - ended <= _KILLED for when, _ in figures["errors"])
    wrong, snapshots = compare(url, record, questions[:_QUESTIONS])
    found = Soaked(
        requests=figures["requests"],
        wrong=wrong,
        errors=len(figures["errors"]) - killed,
        killed=killed,
        vanished=figures["vanished"],
        snapshots=snapshots,
        damaged=told["damaged"],
        refused=refused,
        memory=grown,
        megabytes=told["megabytes"],
    )
    return asdict(found) | {"missed": found.missed}


def _mishaps(service: Running, url: str, seconds: float) -> dict[str, Any]:
    """Change the store, damage it and kill a worker while clients ask; return when and how much."""
    begin = time.time()
    told: dict[str, Any] = {"damaged": 0, "megabytes": []}
    ids = _some_ids(url)
    for step in range(SWAPS):
        _sleep_until(begin + seconds * (step + 0.5) / (SWAPS + 1))
        whole = len(service.servers()) == _WORKERS
        if whole and "memory" not in told and time.time() - begin > min(60.0, seconds / 3):
            told["memory"] = service.memory()
        told["megabytes"].append(service.memory() >> 20)
        remove_documents(url, ids[step : step + 1])
        if step == SWAPS // 2:
            told["killed"] = time.time()
            os.kill(service.servers()[-1], signal.SIGKILL)
        elif step % (SWAPS // DAMAGED) == 1:
            told["damaged"] += 1
            _damage(service, url, step, _WORKERS + ("killed" in told))
    return told


def _refused(service: Running) -> int:
    return _counted(service, "the new snapshot is not used")


def _counted(service: Running, words: str) -> int:
    return service.log.read_text(encoding="utf-8", errors="replace").count(words)


def _damage(service: Running, url: str, step: int, ready: int) -> None:
    """Let a damaged snapshot be the newest one until all processes have refused it.

    Args:
        service: the service.
        url: its store.
        step: says what is damaged.
        ready: how many processes have started before, in all.
    """
    newest = max(Path(url, "snapshots").glob("*.json"))
    text = newest.read_text(encoding="utf-8")
    if step % 8 < 4:
        text = text[: len(text) // 2]
    else:
        # The digest of a manifest, which is intact.
        text = re.sub(r'("sha256": ")\w{8}', r"\g<1>00000000", text)
        text = re.sub(r'("number": )\d+', rf"\g<1>{int(newest.stem) + 1}", text)
    damaged = newest.with_name(f"{int(newest.stem) + 1:0{len(newest.stem)}d}.json")
    # The one in the place of the killed one takes a while to open the store.
    _wait_until(lambda: _counted(service, " is ready") >= ready)
    wanted = _refused(service) + _WORKERS
    # A process must not read a part of it.
    new = damaged.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.rename(damaged)
    _wait_until(lambda: _refused(service) >= wanted)
    damaged.unlink()


def _wait_until(reached: Callable[[], bool]) -> None:
    latest = time.time() + _LONGEST
    while not reached() and time.time() < latest:
        time.sleep(0.1)


def compare(url: str, record: Path, questions: list[str]) -> tuple[int, int]:
    """Return how many recorded answers are wrong, and how many snapshots they name."""
    answers: dict[int, list[tuple[int, list[Any]]]] = defaultdict(list)
    with open(record, encoding="utf-8") as lines:
        for line in lines:
            place, snapshot, hits = json.loads(line)
            answers[snapshot].append((place, hits))
    store, wrong = Store.open(url), 0
    for number, some in sorted(answers.items()):
        old = store.at(number)
        # One by one: whatever questions came together, each has the answer that it has alone.
        expected = {
            place: [[hit.document_id, hit.score] for hit in old.search([questions[place]], 10)[0]]
            for place in {place for place, _ in some}
        }
        wrong += sum(expected[place] != hits for place, hits in some)
    return wrong, len(answers)


def _some_ids(url: str) -> list[str]:
    store = Store.open(url)
    hits = store.search(["history", "science", "a river", "a war", "music"], 10)
    return list(dict.fromkeys(hit.document_id for some in hits for hit in some))


def _sleep_until(when: float) -> None:
    time.sleep(max(when - time.time(), 0.0))
