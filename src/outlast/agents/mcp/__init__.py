"""Tools of MCP servers: connections, what a server lists, calls and their results.

    agents file ──► ToolSpec with `lists` (a source) ──► stored with the agent's version
                                │ when a segment begins
    McpTools.listed ──► connection ──► tools/list ──► a ToolSpec for each tool (`listing`)
                                │ when the model calls one
    McpTools.call ──► the same connection ──► tools/call ──► JSON (`result`)

Only `client`, `connection`, `http`, `stdio` and `result` import the SDK, the package `mcp`.
"""
