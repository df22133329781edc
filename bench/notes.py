"""Notes as agents keep them, with questions that say the same in other words.

In the likeness of public sets of questions and passages (MS MARCO, Natural Questions): each
question has one right note, among others of the same person and others of the same subject.
"""

from dataclasses import dataclass
from typing import Final

PEOPLE: Final = (
    "Anna",
    "Bruno",
    "Chiara",
    "David",
    "Elena",
    "Farid",
    "Grace",
    "Hugo",
    "Ines",
    "Jonas",
)
_SUBJECTS: Final = (
    (
        "{} is a vegetarian and does not touch dairy either.",
        "What should we not cook when {} comes to dinner?",
        "{} vegetarian",
    ),
    (
        "Reach {} by phone in the mornings only; in the afternoons the mobile is off.",
        "When can I call {}?",
        "{} phone mornings",
    ),
    (
        "{} pays by bank transfer within thirty days, never by credit card.",
        "How does {} settle invoices?",
        "{} bank transfer",
    ),
    (
        "{} has two children who go to primary school.",
        "Does {} have a family?",
        "{} children school",
    ),
    (
        "{} grew up in Lisbon and moved to Berlin for work.",
        "Where was {} born and raised?",
        "{} lisbon",
    ),
    (
        "{} wants short answers without small talk.",
        "What tone of voice does {} like in our replies?",
        "{} short answers",
    ),
    (
        "The delivery to {} in May arrived broken, and the money was given back.",
        "Which order of {} was refunded?",
        "{} delivery broken",
    ),
    (
        "{} is afraid of flying and takes the train to every meeting.",
        "How does {} travel?",
        "{} train",
    ),
    (
        "{} plays the cello in an amateur orchestra.",
        "Which musical instrument does {} play?",
        "{} cello",
    ),
    (
        "{} runs an old laptop with Linux and cannot install new programs.",
        "Which computer and operating system does {} use?",
        "{} laptop linux",
    ),
    (
        "{} opted out of all newsletters.",
        "May we send marketing mail to {}?",
        "{} newsletters",
    ),
    (
        "{} signs contracts only after the lawyer has read them.",
        "Who has to review an agreement before {} accepts it?",
        "{} contracts lawyer",
    ),
)


@dataclass(frozen=True, slots=True)
class Note:
    """One note, and two queries that it answers."""

    key: str
    content: str
    question: str
    """Shares the person's name with the note, and few other words."""
    words: str
    """Words of the note."""


NOTES: Final = tuple(
    Note(
        f"notes/{person.lower()}/{number}",
        content.format(person),
        question.format(person),
        words.format(person),
    )
    for person in PEOPLE
    for number, (content, question, words) in enumerate(_SUBJECTS)
)
