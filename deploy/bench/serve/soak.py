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
#: The most seconds in which a damaged snapshot is refused.
_REFUSED = 20.0
#: The service embeds few questions at once, in numpy; the comparison many, maybe in torch.
_SAME = 2e-3


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
        refused: how many of them the log tells of.
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
        if self.refused < self.damaged:
            found.append(f"{self.refused} of {self.damaged} damaged snapshots were refused")
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
            _damage(service, url, step)
    return told


def _refused(service: Running) -> int:
    log = service.log.read_text(encoding="utf-8", errors="replace")
    return len(re.findall("the new snapshot is not used", log))


def _damage(service: Running, url: str, step: int) -> None:
    """Let a damaged snapshot be the newest one until all processes have refused it."""
    newest = max(Path(url, "snapshots").glob("*.json"))
    text = newest.read_text(encoding="utf-8")
    if step % 8 < 4:
        text = text[: len(text) // 2]
    else:
        # The digest of a manifest, which is intact.
        text = re.sub(r'("sha256": ")\w{8}', r"\g<1>00000000", text)
    damaged = newest.with_name(f"{int(newest.stem) + 1:0{len(newest.stem)}d}.json")
    wanted, latest = _refused(service) + _WORKERS, time.time() + _REFUSED
    damaged.write_text(text, encoding="utf-8")
    while _refused(service) < wanted and time.time() < latest:
        time.sleep(0.1)
    damaged.unlink()


def compare(url: str, record: Path, questions: list[str]) -> tuple[int, int]:
    """Return how many recorded answers are wrong, and how many snapshots they name."""
    answers: dict[int, list[tuple[int, list[Any]]]] = defaultdict(list)
    with open(record, encoding="utf-8") as lines:
        for line in lines:
            place, snapshot, hits = json.loads(line)
            answers[snapshot].append((place, hits))
    store, wrong = Store.open(url), 0
    for number, some in sorted(answers.items()):
        every = store.at(number).search(questions, 10)
        for place, hits in some:
            expected = [(hit.document_id, hit.score) for hit in every[place]]
            wrong += not _same(expected, hits)
    return wrong, len(answers)


def _same(expected: list[tuple[str, float]], found: list[Any]) -> bool:
    """Return whether two lists of hits are the same, but for the order of equal scores."""
    if len(expected) != len(found):
        return False
    if any(abs(a[1] - b[1]) > _SAME for a, b in zip(expected, found, strict=True)):
        return False
    least = expected[-1][1] + 2 * _SAME if expected else 0.0
    sure = {name for name, score in expected if score > least}
    return sure <= {name for name, _ in found}


def _some_ids(url: str) -> list[str]:
    store = Store.open(url)
    hits = store.search(["history", "science", "a river", "a war", "music"], 10)
    return list(dict.fromkeys(hit.document_id for some in hits for hit in some))


def _sleep_until(when: float) -> None:
    time.sleep(max(when - time.time(), 0.0))
