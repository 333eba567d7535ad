"""Records of a Kafka topic as messages: the key is the document's id, the value is JSON.

    {"text": "A river is water that flows.", "lang": "en", "year": 2020}

Everything but ``text`` is metadata. A record without a value, a tombstone in Kafka, deletes the
document.
"""

import json
from contextlib import suppress
from typing import Any

from transforms.streaming.messages import Message


def message_of(record: Any) -> Message:
    """Return the message of a record.

    The version is the record's offset, as all records of a key are in one partition, in the order
    in which they were written. This does not hold across topics, nor after a topic was created
    again or got more partitions.

    This function raises nothing: an unreadable key or value becomes the id or text unchanged.
    `LandMessages` then rejects the message with its reason.

    Args:
        record: has ``key`` and ``value`` (bytes or None) and ``offset``, as the records of
            ``ReadFromKafka(with_metadata=True)``.
    """
    name: Any = record.key
    if name is not None:
        with suppress(UnicodeDecodeError):
            name = name.decode()
    if record.value is None:
        return Message(name, None, record.offset)
    text, metadata = _content_of(record.value)
    return Message(name, text, record.offset, metadata)


def _content_of(value: bytes) -> tuple[Any, dict[str, Any]]:
    """Return text and metadata of a value; without a text, the value itself and no metadata."""
    try:
        content = json.loads(value)
        # JSON can express half of a surrogate pair, UTF-8 can't.
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return value, {}
    if not isinstance(content, dict) or not isinstance(content.get("text"), str):
        return value, {}
    return content.pop("text"), content
