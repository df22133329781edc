"""Messages for end users about errors, in three languages, and what can be done about them."""

from typing import Final

from outlast.http.errors import ERRORS, Problem
from outlast.rooms.records.schemas import CallToAction, Feedback

_READ: Final[CallToAction] = {"type": "documentation", "url": ERRORS}
_RETRY: Final[CallToAction] = {"type": "retry", "url": None}
_NOTHING: Final[CallToAction] = {"type": "none", "url": None}


def _said(en_us: str, es_es: str, pt_br: str) -> Feedback:
    return {"enUs": en_us, "esEs": es_es, "ptBr": pt_br}


OF_CODE: Final[dict[str, Feedback]] = {
    "expired_api_key": _said(
        "The API key has expired. Use a new one.",
        "La clave de API ha caducado. Usa una nueva.",
        "A chave de API expirou. Use uma nova.",
    ),
    "execution_not_found": _said(
        "There is no such execution in this workspace.",
        "No existe esa ejecución en este espacio de trabajo.",
        "Essa execução não existe neste espaço de trabalho.",
    ),
    "method_not_allowed": _said(
        "This address does not take this kind of request.",
        "Esta dirección no admite este tipo de solicitud.",
        "Este endereço não aceita este tipo de solicitação.",
    ),
}
"""Messages by code, if it says more than the type."""

OF_TYPE: Final[dict[str, tuple[Feedback, CallToAction]]] = {
    "invalid_request_error": (
        _said(
            "The request is not valid. Check its parameters.",
            "La solicitud no es válida. Revisa sus parámetros.",
            "A solicitação não é válida. Verifique os parâmetros.",
        ),
        _READ,
    ),
    "authentication_error": (
        _said(
            "The API key is missing or not valid.",
            "Falta la clave de API o no es válida.",
            "A chave de API está ausente ou não é válida.",
        ),
        _NOTHING,
    ),
    "permission_error": (
        _said(
            "The API key does not allow this.",
            "La clave de API no permite esta operación.",
            "A chave de API não permite esta operação.",
        ),
        _NOTHING,
    ),
    "not_found_error": (
        _said(
            "There is nothing at this address.",
            "No hay nada en esta dirección.",
            "Não há nada neste endereço.",
        ),
        _NOTHING,
    ),
    "conflict_error": (
        _said(
            "This is not possible in the current state.",
            "Esto no es posible en el estado actual.",
            "Isso não é possível no estado atual.",
        ),
        _NOTHING,
    ),
    "validation_error": (
        _said(
            "A field has a value that is not valid.",
            "Un campo tiene un valor no válido.",
            "Um campo tem um valor que não é válido.",
        ),
        _READ,
    ),
    "rate_limit_error": (
        _said(
            "Too many requests. Try again in a moment.",
            "Demasiadas solicitudes. Inténtalo de nuevo en un momento.",
            "Solicitações demais. Tente novamente em instantes.",
        ),
        _RETRY,
    ),
    "upstream_error": (
        _said(
            "Another service that is needed has failed. Try again in a moment.",
            "Ha fallado otro servicio que se necesita. Inténtalo de nuevo en un momento.",
            "Outro serviço necessário falhou. Tente novamente em instantes.",
        ),
        _RETRY,
    ),
    "overloaded_error": (
        _said(
            "The server cannot answer now. Try again in a moment.",
            "El servidor no puede responder ahora. Inténtalo de nuevo en un momento.",
            "O servidor não pode responder agora. Tente novamente em instantes.",
        ),
        _RETRY,
    ),
    "internal_error": (
        _said(
            "The server made a mistake.",
            "El servidor ha cometido un error.",
            "O servidor cometeu um erro.",
        ),
        _NOTHING,
    ),
}


def feedback(problem: Problem) -> tuple[Feedback, CallToAction]:
    """Return the message by the error's code, else by its type; a link is to the code's page."""
    said, action = OF_TYPE[problem.type]
    if (url := action["url"]) is not None:
        action = {"type": action["type"], "url": f"{problem.root_path}{url}/{problem.code}"}
    return OF_CODE.get(problem.code, said), action
