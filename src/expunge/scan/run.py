"""The evaluative model at work on whole files."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, count, islice
from pathlib import Path

from expunge.dialogue import parse
from expunge.errors import ExpungeError, InputError
from expunge.files import exists, file_digest, read_text
from expunge.judges.verdict import Judge
from expunge.progress import Advance, Progress, Quiet
from expunge.scan.asking import Asking
from expunge.scan.block import SIZE, Block, BlockJudge, Line, SetAside, content_ids, content_of, own_ids
from expunge.scan.identity import identity_of
from expunge.scan.journal import Entry, Journal, receipt_of
from expunge.sources import stream_rows, unsliced

Load = Callable[[], Sequence[Judge]]


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `number` (from 1) of `count`: every `count`-th block of the source.

    Raises:
        InputError: no such part.
    """

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise InputError(
                f"there is no shard {self.number} of {self.count}", remedy="Shards count from 1, as in 1/8."
            )

    def holds(self, block: int) -> bool:
        return block % self.count == self.number - 1

    def file(self, out: Path) -> Path:
        """Where this part of `out` is written."""
        return out if self.count == 1 else out.with_name(f"{out.stem}.{self.number}-of-{self.count}{out.suffix}")


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan did, see `Block`. path: of the verdicts. resumed: rows that an earlier, cut off call had read. aside:
    how many rows were set aside; `journal.aside_of` says where they are listed.
    """

    path: Path
    read: int
    written: int
    silent: int
    aside: int
    resumed: int
    labels: Counter[str]
    votes: Counter[str]


def scan(
    sources: Sequence[str | Path],
    judges: Sequence[Judge],
    out: Path,
    *,
    asking: Asking | None = None,
    shard: Shard | None = None,
    workers: int = 0,
    load: Load | None = None,
    set_aside: SetAside | None = None,
    progress: Progress | None = None,
) -> Scan:
    """Judge every row of the sources and write the verdicts to `out`, in order. Killed, the same call goes on.

    asking: how rows without a response are answered first; None refuses them. shard: a part only, written beside `out`,
    with a receipt for `merge`. workers: processes that judge; each makes its judges by `load`, which must be picklable
    (a function of a module). 0 judges here. set_aside: rows that are no dialogues, and those that the chat format which
    it gives cannot encode, are left out and listed beside `out`; picklable with workers. None stops at such a row.

    Memory is bounded whatever the number of rows, but for about 200 bytes a row that has an id.

    Raises:
        InputError: no judge, a source or row that cannot be used, or ids that stand for two dialogues; what was done
            before is kept. OutputError: see `Journal`.
    """
    if not judges:
        raise InputError("there is no judge", remedy="Name at least one, such as privacy.")
    if workers and (load is None or asking is not None):
        raise InputError("workers judge logged dialogues only", remedy="For prompts, share the work by --shard.")
    progress = progress or Quiet()
    shard = shard or Shard()
    identity = identity_of(sources, judges, asking, shard)
    with Journal(shard.file(out), identity) as journal, progress.stage("Judging", None) as advance:
        resumed = sum(entry["read"] for entry in journal.entries)
        ids = _Ids()
        todo = _todo(sources, shard, list(journal.entries), ids, advance)
        for block in _judged(todo, judges, asking, workers, load, set_aside):
            ids.add(block.ids)
            journal.add(block)
            advance(block.read)
        receipt = identity | {"digests": [_digest(source) for source in sources]}
        journal.finish(receipt if shard.count > 1 else None)
    entries = journal.entries
    return Scan(
        path=journal.out,
        read=sum(e["read"] for e in entries),
        written=sum(e["written"] for e in entries),
        silent=sum(e["silent"] for e in entries),
        aside=sum(len(e.get("aside", ())) for e in entries),
        resumed=resumed,
        labels=_total(e["labels"] for e in entries),
        votes=_total(e["votes"] for e in entries),
    )


def finished(
    sources: Sequence[str | Path], judges: Sequence[Judge], out: Path, *, asking: Asking | None, shard: Shard
) -> bool:
    """Whether this very shard was written before, and lies there with its receipt (`merge` checks its content)."""
    part = shard.file(out)
    if not (exists(part) and exists(receipt_of(part))):
        return False
    wanted = identity_of(sources, judges, asking, shard) | {"digests": [_digest(source) for source in sources]}
    try:
        receipt = json.loads(read_text(receipt_of(part)))
        return bool({name: receipt[name] for name in wanted} == json.loads(json.dumps(wanted)))
    except (ValueError, KeyError, TypeError):
        return False


def _digest(source: str | Path) -> str:
    path = Path(unsliced(source)[0])
    return file_digest(path) if exists(path) and path.is_file() else ""


def _todo(
    sources: Sequence[str | Path], shard: Shard, done: Sequence[Entry], ids: _Ids, advance: Advance
) -> Iterator[tuple[int, list[Line]]]:
    """The shard's blocks, with their numbers, but for those done, of which only the ids are read."""
    rows = chain.from_iterable(_lines(source) for source in sources)
    for number in count():
        lines = list(islice(rows, SIZE))
        if not lines:
            if len(range(shard.number - 1, number, shard.count)) < len(done):
                raise _changed(sources[-1])
            return
        if not shard.holds(number):
            continue
        place = number // shard.count
        if place < len(done):
            if content_of(lines) != done[place]["content"]:
                raise _changed(*lines[0][:2])
            aside = {(file, line) for file, line, _ in done[place].get("aside", ())}
            known = [item for item in lines if item[2].get("id") is not None and item[:2] not in aside]
            dialogues = [parse(row, file=file, line=line) for file, line, row in known]
            ids.add(own_ids(known, dialogues, content_ids(known, dialogues)))
            advance(len(lines))
        else:
            yield number, lines


def _changed(file: str | Path, line: int | None = None) -> InputError:
    remedy = "Remove the unfinished verdicts (.part and .part.state) to begin anew."
    return InputError("the input has changed where it was judged before", file=file, line=line, remedy=remedy)


def _lines(source: str | Path) -> Iterator[Line]:
    file, _ = unsliced(source)
    for line, row in stream_rows(source):
        yield file, line, row


def _judged(
    todo: Iterator[tuple[int, list[Line]]],
    judges: Sequence[Judge],
    asking: Asking | None,
    workers: int,
    load: Load | None,
    set_aside: SetAside | None,
) -> Iterator[Block]:
    """The blocks judged, in order."""
    if not workers:
        judge = BlockJudge(judges, asking, set_aside)
        yield from (judge.judge(number, lines) for number, lines in todo)
        return
    here = cache(lambda: BlockJudge(judges, set_aside=set_aside))
    context = multiprocessing.get_context("spawn")  # a forked torch may hang
    with ProcessPoolExecutor(workers, context, initializer=partial(_begin, load, set_aside)) as pool:
        waiting: deque[tuple[Future[Block], int, list[Line]]] = deque()

        def first() -> Block:
            work, number, lines = waiting.popleft()
            try:
                return work.result()
            except RecursionError:  # nested too deeply to be handed over, but not to be read
                return here().judge(number, lines)

        try:
            for number, lines in todo:
                with _deaf():
                    waiting.append((pool.submit(_work, number, lines), number, lines))
                if len(waiting) > 3 * workers:
                    yield first()
            while waiting:
                yield first()
        except BrokenProcessPool:
            remedy = "Perhaps for want of memory: give fewer --workers. The same command goes on."
            raise ExpungeError("a worker died", remedy=remedy) from None
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _deaf() -> Iterator[None]:
    """What is started here hears no Ctrl-C, which a terminal sends to every process: the parent ends them all."""
    if hasattr(signal, "pthread_sigmask"):  # not on every system
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


_worker: BlockJudge
"""Of a worker process."""


def _begin(load: Load | None, set_aside: SetAside | None) -> None:
    global _worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = BlockJudge(load() if load else (), set_aside=set_aside)


def _end_with_parent() -> None:
    """A pool's workers outlive a parent that was killed, and wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(0)


def _work(number: int, lines: list[Line]) -> Block:
    return _worker.judge(number, lines)


class _Ids:
    """Refuses an id that stands for two dialogues. A dictionary of 64-bit hashes: about 200 bytes an id."""

    def __init__(self) -> None:
        self._content: dict[int, int] = {}

    def add(self, ids: Iterable[tuple[int, int, str, int]]) -> None:
        for id, content, file, line in ids:
            if self._content.setdefault(id, content) != content:
                raise InputError(
                    "this id is used for another dialogue before",
                    file=file,
                    line=line,
                    remedy="Give each dialogue its own id, or leave the ids out.",
                )


def _total(counts: Iterable[dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for found in counts:
        total.update(found)
    return total
