"""Counters and histograms that are changed in every run, each by one thread alone.

The library's lock a value for each change, which costs several times as much as the change.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

_ENDLESS: Final = "+Inf"


class Tally:
    """A number of one set of labels, that only grows."""

    __slots__ = ("created", "value")

    def __init__(self) -> None:
        self.created = _now()
        self.value = 0.0


class Durations:
    """Durations of one set of labels, counted by their bounds."""

    __slots__ = ("_bounds", "counts", "created", "seconds")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.created = _now()
        self.counts = [0] * (len(bounds) + 1)
        """How many were longer than the bound before, and no longer than this one."""
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count a duration."""
        self.counts[bisect_left(self._bounds, seconds)] += 1
        self.seconds += seconds


class Tallies(Collector):
    """A counter in the metrics."""

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...] = ()) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._children: dict[tuple[str, ...], Tally] = {}

    def of(self, *values: str) -> Tally:
        """Return the number with these values of the labels."""
        return self._children.setdefault(values, Tally())

    def collect(self) -> Iterator[Metric]:
        found = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, child in tuple(self._children.items()):
            found.add_metric(values, child.value, child.created)
        yield found


class Histogram(Collector):
    """A histogram of seconds in the metrics."""

    def __init__(
        self,
        name: str,
        documentation: str,
        bounds: tuple[float, ...],
        labels: tuple[str, ...] = (),
    ) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._bounds = bounds
        self._shown = (*map(floatToGoString, bounds), _ENDLESS)
        self._children: dict[tuple[str, ...], Durations] = {}

    def of(self, *values: str) -> Durations:
        """Return the durations with these values of the labels."""
        return self._children.setdefault(values, Durations(self._bounds))

    def collect(self) -> Iterator[Metric]:
        found = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, child in tuple(self._children.items()):
            so_far, buckets = 0, []
            for bound, count in zip(self._shown, child.counts, strict=True):
                so_far += count
                buckets.append((bound, float(so_far)))
            found.add_metric(values, buckets, child.seconds)
            labels = dict(zip(self._labels, values, strict=True))
            found.samples.append(Sample(f"{self._name}_created", labels, child.created))
        yield found


def _now() -> float:
    return time.time()  # noqa: TID251 - as the library's own
