"""Records of a Kafka topic as messages: the key names the document, the value is JSON.

    {"text": "A river is water that flows.", "lang": "en", "year": 2020}

All of the value but ``text`` are metadata columns. A record without a value, Kafka's tombstone,
takes the document away.
"""

import json
from contextlib import suppress
from typing import Any

from transforms.streaming.messages import Message


def message_of(record: Any) -> Message:
    """What a record says of a document.

    The version is the record's offset: all records of a key lie in one partition, in the order in
    which they were written. That does not hold across topics, nor where a topic was made anew or
    got more partitions.

    Nothing is raised here: what can't be read stays as it is, in the place of the id or the text,
    and is refused with its reason where messages land.

    Args:
        record: has ``key`` and ``value`` (bytes or None) and ``offset``, as what
            ``ReadFromKafka(with_metadata=True)`` gives.
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
    """Text and metadata of a value; all of it as the text where it has none."""
    try:
        content = json.loads(value)
        # A half of a surrogate pair, which JSON can say and UTF-8 can't.
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return value, {}
    if not isinstance(content, dict) or not isinstance(content.get("text"), str):
        return value, {}
    return content.pop("text"), content
