"""The main API: run an agent on an input, watch it, list, cancel; conversations; agents."""

from outlast.http.errors import error_object
from outlast.http.room import Room
from outlast.rooms.executions import approvals, moves, schemas
from outlast.rooms.executions.routes import router

__all__ = ["approvals", "moves", "room"]

room = Room(
    "executions",
    ("/v1/agents", "/v1/executions", "/v1/conversations", "/v1"),
    router,
    error_object,
    (
        schemas.ExecuteBody,
        schemas.Execution,
        schemas.Accepted,
        schemas.ExecutionPage,
        schemas.Cancelled,
        schemas.PauseBody,
        schemas.ResumeBody,
        schemas.Checkpoints,
        schemas.DecisionBody,
        schemas.Approval,
        schemas.ApprovalPage,
        schemas.Conversation,
        schemas.AgentPage,
        schemas.Agent,
    ),
)
