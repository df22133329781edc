"""The main API: run an agent on an input, watch it, list, cancel; conversations; agents."""

from outlast.http.errors import error_object
from outlast.http.room import Room
from outlast.rooms.executions import answers, approvals, conversations, lifecycle, schemas, tickets
from outlast.rooms.executions.routes import router
from outlast.rooms.executions.stream import Fold

__all__ = ["approvals", "conversations", "lifecycle", "room", "tickets"]

room = Room(
    "executions",
    ("/v1/agents", "/v1/executions", "/v1/conversations", "/v1"),
    router,
    error_object,
    (
        schemas.ExecuteBody,
        answers.Execution,
        answers.Accepted,
        answers.ExecutionPage,
        answers.Cancelled,
        schemas.PauseBody,
        schemas.ResumeBody,
        answers.Checkpoints,
        schemas.DecisionBody,
        answers.Approval,
        answers.ApprovalPage,
        answers.Conversation,
        answers.ConversationPage,
        answers.AgentPage,
        answers.Agent,
        tickets.StreamTicket,
    ),
    Fold,
)
