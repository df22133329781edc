"""Who waits to be let go, while the server is looked at."""

import asyncio
from collections import defaultdict


class Gates:
    """Who waits to be let go, by plot."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[asyncio.Event]] = defaultdict(list)
        self.asking: set[str] = set()
        """Plots whose model waits, which a pause may close at once."""
        self.open = False
        """Nothing waits any more."""

    def __contains__(self, plot: str) -> bool:
        return bool(self._waiting.get(plot))

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    async def wait(self, plot: str) -> None:
        if self.open:
            return
        gate = asyncio.Event()
        self._waiting[plot].append(gate)
        try:
            await gate.wait()
        finally:
            self._waiting[plot].remove(gate)

    def release(self, plot: str) -> None:
        for gate in self._waiting.get(plot, ())[:1]:
            gate.set()

    def release_all(self) -> None:
        for gates in self._waiting.values():
            for gate in gates:
                gate.set()
