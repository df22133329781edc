"""The rows of memory stores in a large database, and of what their requests reserve."""

from typing import Final

_STORE = "'mem_' || lpad((n % 20)::text, 26, '0')"
MEMORY: Final = {
    "reserved_requests": (
        2000,
        {
            "id": "'step_' || lpad(n::text, 26, '0')",
            "workspace_id": "'ws_' || n % 1000",
            "key_id": "''",
            "reserved": "'{}'",
            "at": "n",
        },
    ),
    "memory_stores": (
        2000,
        {
            "id": "'mem_' || lpad(n::text, 26, '0')",
            "workspace_id": "'ws_' || n % 1000",
            "name": "'notes'",
            "description": "''",
            "metadata": "'{}'",
            "created_at": "n",
            "updated_at": "n",
            "items": "1",
            "bytes": "1",
            "erasing_since": "CASE WHEN n % 500 = 0 THEN n END",
            "embed_at": "CASE WHEN n % 500 = 1 THEN n END",
        },
    ),
    "memory_items": (
        20_000,
        {
            "id": "'item_' || lpad(n::text, 26, '0')",
            "store_id": _STORE,
            "key": "'k' || n",
            "content": "'text'",
            "metadata": "'{}'",
            "sha256": "md5(n::text)",
            "bytes": "4",
            "version": "1",
            "created_at": "n",
            "updated_at": "n",
            "writer": "'{}'",
            "words": "lpad((n % 20)::text, 6, '0') || 'w' || n % 1000 || ' ' "
            "|| lpad((n % 20)::text, 6, '0') || 'w7'",
        },
    ),
    "memory_vectors": (
        20_000,
        {
            "store_id": _STORE,
            "item_id": "'item_' || lpad(n::text, 26, '0')",
            "version": "1",
            "due_at": "CASE WHEN n % 100 < 20 THEN n END",
            "vector": "CASE WHEN n % 100 >= 20 THEN decode(md5(n::text), 'hex') END",
            "changed": "n",
        },
    ),
    "memory_versions": (
        20_000,
        {
            "item_id": "'item_' || lpad((n / 2)::text, 26, '0')",
            "version": "1 + n % 2",
            "store_id": _STORE,
            "key": "'k' || n",
            "sha256": "md5(n::text)",
            "at": "n",
            "writer": "'{}'",
            "execution_id": "CASE WHEN n % 10 = 0 THEN 'exec_' || n END",
        },
    ),
}
