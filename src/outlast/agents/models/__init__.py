"""Models behind one port: `catalogue` finds a model by its string.

`openai_chat` speaks to any OpenAI-compatible endpoint over `wire`; `bridge` takes every other
provider from pydantic-ai; `scripted` answers from a file; `local` runs a GGUF in a child process.
Nothing heavy is imported before a model of its kind is used.
"""
