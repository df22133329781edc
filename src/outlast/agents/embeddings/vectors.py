"""Arithmetic on vectors: numpy, imported at the first use, in a thread."""

import heapq
from collections.abc import Sequence
from typing import Any, Final

DIMENSION_BYTES: Final = 4
"""Bytes of a float32."""
_LONGEST: Final = 8192
"""Maximum dimensions of a vector."""


def unit_vectors(rows: Sequence[Any]) -> tuple[bytes, ...]:
    """Return each row of numbers as float32 of unit length.

    Raises ValueError or TypeError if they are no vectors of one length.
    """
    import numpy as np

    given = np.asarray(rows, dtype=np.float64)
    if given.ndim != 2 or not 0 < given.shape[1] <= _LONGEST:  # noqa: PLR2004 - rows of numbers
        raise ValueError("not a table of numbers")
    lengths = np.linalg.norm(given, axis=1, keepdims=True)
    if not np.isfinite(given).all() or not np.isfinite(lengths).all() or not lengths.all():
        raise ValueError("a vector has no direction")
    return tuple(row.tobytes() for row in (given / lengths).astype("<f4"))


def nearest(
    query: bytes, names: Sequence[str], table: Any, most: int, rows: Sequence[int] | None = None
) -> list[tuple[float, str]]:
    """Return the names of the rows with the largest cosine, with it, the nearest first.

    All rows have unit length and the query's dimensions. `rows`: the numbers of those that count;
    None: all. Runs long: for a thread.
    """
    import numpy as np

    if rows is not None:
        names, table = [names[at] for at in rows], table[np.array(rows, dtype=np.intp)]
    if not names:
        return []
    cosines = table @ np.frombuffer(query, dtype="<f4")
    if most < len(names):
        best = np.argpartition(cosines, len(names) - most)[-most:].tolist()
    else:
        best = list(range(len(names)))
    found = [(float(cosines[at]), names[at]) for at in best]
    return heapq.nlargest(most, found)


def is_installed() -> bool:
    """Whether numpy is there."""
    from importlib.util import find_spec

    return find_spec("numpy") is not None
