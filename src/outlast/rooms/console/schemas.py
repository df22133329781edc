"""Queries of the console's pages: the filter field has the language of saved views."""

from outlast.model.list_words import Filter, NotAFilter, filter_of, without_times

__all__ = ["Filter", "NotAFilter", "filter_of", "without_times"]
