"""What tests share, each thing under one name. A module says at its top what it offers.

In this process: `engine` (a core), `api` (the same behind HTTP), `models`, `tools`, `crashes`,
`clocks`; `connections` (raw ones); `runs_room`, `tasks_room`, `records_room` (what their clients
send); `transcripts` (the golden ones), `golden_functions`, `event_logs`.
The store: `databases`, `postgres`, `store`, `sqlite`, `statement_log`, `query_plans`,
`large_database`; what stands between: `pooler`, `network`.
As processes: `processes`, `command_line`, `deployment` (killed as a whole), `fleet` (many at once),
all of them started by `python_process` (as forks: `fork_server`); `stress`, `doctor`; `npm`,
`browser`, `cutting_proxy`.
Providers: `provider`, `provider_chunks`, `broken_answers`; `http_tools` (servers of HTTP tools).
Any sequence of moves: `state_machine`.
Time: `waiting` (bounds), `heartbeat` (a loop that stands still), `durations`, `long_cases`.
"""
