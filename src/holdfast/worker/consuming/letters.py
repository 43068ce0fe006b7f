"""Dead letters of messages, and the messages of dead letters: one is a job, the other stands in a log."""

from __future__ import annotations

import msgspec

from holdfast.delivery import ENDED, Delivery, JobView, State
from holdfast.errors import UsageError
from holdfast.logged import LogMessage
from holdfast.message import Message, checked
from holdfast.worker.consuming.places import Place, id_of, place_of
from holdfast.worker.consuming.reading import Reading

APPENDED = "holdfast-appended"
"""The header of a dead letter that says when (ms) its message was appended."""


def dead_letter(reading: Reading, message: LogMessage, begun: int | None = None) -> Message:
    """Return a message of a log as a job in its group's queue; with ``begun`` as a further one, see ``places``."""
    place = Place(reading.log, reading.group, message.partition, message.offset, reading.is_stream)
    letter = Message(
        body=message.body,
        id=id_of(place, begun),
        kind=reading.kind,
        headers={**message.headers, APPENDED: str(message.time)},
        max_attempts=reading.attempts,
    )
    try:
        return checked(msgspec.structs.replace(letter, key=message.key))
    except UsageError:  # the key of a log's message may be longer than a job's, or no text
        return letter


def stands_for(job: JobView, letter: Message) -> bool:
    """Tell whether this job is a dead letter of the same message, or was one and is to run."""
    is_over = job.state in ENDED and job.state is not State.DEAD
    return not is_over and job.body == letter.body and job.headers.get(APPENDED) == letter.headers[APPENDED]


def message_of(job: Delivery | JobView) -> LogMessage | None:
    """Return the message that is handled as this job, be it itself or its dead letter; None when it is no such job."""
    place = place_of(job.queue, job.id)
    if place is None:
        return None
    headers = dict(job.headers)
    appended = headers.pop(APPENDED, "")
    time = int(appended) if appended.isdecimal() else job.sent
    return LogMessage(place.partition, place.offset, time, job.body, job.key, headers)
