"""Instances made ready to be sent: as they are, or converted some ahead of the sending, in threads.

The codecs work without the interpreter's lock, so threads of one process keep all its cores busy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from pacs.routing.senders.content import Content, Source
from pacs.routing.senders.faults import SendingFault
from pacs.routing.senders.outcome import Outcome

# Converts an instance into the first of some transfer syntaxes that can hold it. Raises SendingFault.
type Convert = Callable[[Source, Sequence[str]], Content]
# Tells the transfer syntaxes in which an instance may go, the best first; none: it can't be sent at all.
type SyntaxesFor = Callable[[Source], Sequence[str]]


class Preparing:
    """Gives instances ready to be sent.

    Parameters
    ----------
    convert : what is to be done with them.
    always : whether all are to be converted, not only those that are to have another transfer syntax.
    threads : instances that are converted at the same time; twice as many are kept ready.
    """

    def __init__(self, convert: Convert, *, always: bool, threads: int) -> None:
        self._convert = convert
        self._always = always
        self._threads = threads

    def __call__(self, sources: Sequence[Source], syntaxes_for: SyntaxesFor) -> Iterator[Content | Outcome]:
        """Yield what became of each source, in their order."""
        wanted = [(source, syntaxes_for(source)) for source in sources]
        if not any(self._is_converted(*one) for one in wanted):
            for source, _ in wanted:
                yield _made(Content.as_stored, source)
            return
        with ThreadPoolExecutor(self._threads) as pool:
            yield from self._ahead(pool, wanted)

    def _ahead(
        self, pool: ThreadPoolExecutor, wanted: Sequence[tuple[Source, Sequence[str]]]
    ) -> Iterator[Content | Outcome]:
        ready: deque[Future[Content | Outcome]] = deque()
        try:
            for source, syntaxes in wanted:
                ready.append(pool.submit(self._one, source, syntaxes))
                if len(ready) > 2 * self._threads:
                    yield ready.popleft().result()
            while ready:
                yield ready.popleft().result()
        finally:
            for future in ready:
                future.cancel()

    def _one(self, source: Source, syntaxes: Sequence[str]) -> Content | Outcome:
        if not self._is_converted(source, syntaxes):
            return _made(Content.as_stored, source)
        return _made(lambda one: self._convert(one, syntaxes or [source.syntax]), source)

    def _is_converted(self, source: Source, syntaxes: Sequence[str]) -> bool:
        # What is to be changed never goes out as it is, whatever was negotiated.
        return self._always or (bool(syntaxes) and syntaxes[0] != source.syntax)


def _made(make: Callable[[Source], Content], source: Source) -> Content | Outcome:
    try:
        return make(source)
    except SendingFault as fault:
        return Outcome.not_made(source, str(fault))
