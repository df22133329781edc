"""How much is measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """The numbers of a whole run."""

    first_tokens: int = 300
    runs: int = 400
    """Of each round; a third of it at concurrency 1."""
    rounds: int = 3
    streams: int = 500
    many_streams: int = 2000
    words: int = 30
    killed: int = 50
    few: int = 1_000
    many: int = 100_000
    pages: int = 200
    items: int = 10_000
    """Of a memory store."""
    vectors: tuple[int, ...] = (10_000, 50_000)
    """Items of memory stores that are searched by meaning."""
    searches: int = 20
    suspended: int = 10_000
    settle: float = 3.0
    """Seconds until a server that has started is idle."""
    idle_seconds: float = 10.0
    starts: int = 3
    stored: int = 300
    few_steps: int = 10
    many_steps: int = 1_000
    """Of one execution; both even."""
    install: bool = True
    workers: tuple[int, ...] = (1, 2, 4)
    resting: tuple[int, ...] = (1, 10, 50)
    """Workers that do nothing; the first is one."""
    hand_overs: int = 200
    talks: int = 10
    """Streams of so many words at the same time, whose words are timed."""
    cancels: int = 50
    deaths: int = 3
    """Workers killed one after the other."""
    held: int = 10
    """Executions that each of them has then."""
    tree_cancels: int = 10
    """Trees of ten branches cancelled one after the other."""
    console_rows: int = 1_000_000
    """Executions behind the console's list."""
    console_steps: int = 10_000
    viewers: int = 50
    """Pages that follow executions in the console."""
    due: tuple[int, ...] = (1_000,)
    """Schedules that are due in the same minute."""
    due_servers: tuple[int, ...] = (2, 5)
    """On Postgres."""


QUICK = Scale(
    first_tokens=20,
    runs=30,
    rounds=1,
    streams=20,
    many_streams=30,
    words=6,
    killed=5,
    few=100,
    many=1_000,
    pages=20,
    items=200,
    vectors=(200, 400),
    searches=5,
    suspended=200,
    settle=0.5,
    idle_seconds=1.0,
    starts=1,
    stored=20,
    many_steps=40,
    install=False,
    workers=(1, 2),
    resting=(1, 2),
    hand_overs=10,
    talks=2,
    cancels=2,
    deaths=1,
    held=2,
    tree_cancels=1,
    console_rows=2_000,
    console_steps=200,
    viewers=3,
    due=(20,),
    due_servers=(2,),
)
"""Only to see that everything runs; its figures say nothing."""
