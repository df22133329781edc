"""The endpoints of the runs room: parse, call, render."""

from outlast.rooms.runs.routes.runs import ENDPOINTS

__all__ = ["ENDPOINTS"]
