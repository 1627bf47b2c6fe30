"""A chat request as a cache sees it: a question, and all else its answer depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from .. import canonical
from ..canonical import JSON


LONGEST = 3
"""Messages, system ones apart, of a conversation that is still looked up by meaning."""

# What changes how a request travels or is filed, and not what is answered.
_NO_PART = frozenset(
    {
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "service_tier",
        "store",
        "timeout",
    }
)
_SYSTEM = frozenset({"developer", "system"})


@attrs.frozen(kw_only=True)
class Prompt:
    """
    A request whose answer may be looked up by meaning.

    Attributes:
        question: What the user said last.
        model: Who is asked.
        rest: Digest of all else: what was said before, tools, temperature, everything.
    """

    question: str
    model: str
    rest: str

    @classmethod
    def of(
        cls, request: Mapping[str, object], *, longest: int = LONGEST
    ) -> Prompt | Unfit:
        """
        Read a request as the chat completions API has it.

        What is None counts as not given.

        Args:
            request: The arguments of ``chat.completions.create``.
            longest: From how many messages on, system ones apart, a conversation is
                not looked up: what a question means then depends on what was said.
        """
        messages = request.get("messages")
        if not isinstance(messages, Sequence) or isinstance(messages, str):
            return Unfit("the messages are no list")
        try:
            said = [_json(message) for message in messages]
            rest = {
                key: _json(value)
                for key, value in request.items()
                if key not in _NO_PART and key != "messages" and value is not None
            }
            return cls._of(said, rest, longest)
        except (TypeError, ValueError, RecursionError) as error:
            return Unfit(f"it is no JSON: {error}")

    @classmethod
    def _of(
        cls, said: list[JSON], rest: dict[str, JSON], longest: int
    ) -> Prompt | Unfit:
        turns = [
            m for m in said if not (isinstance(m, dict) and m.get("role") in _SYSTEM)
        ]
        if len(turns) > longest:
            return Unfit(
                f"the conversation has {len(turns)} messages, more than {longest}"
            )
        last = said[-1] if said else None
        if not isinstance(last, dict) or last.get("role") != "user":
            return Unfit("the last message is not the user's")
        question = _text(last.get("content"))
        if question is None:
            return Unfit("the last message is not text")
        others = {key: value for key, value in last.items() if key != "content"}
        return cls(
            question=question,
            model=str(rest.get("model", "")),
            rest=canonical.digest([rest, said[:-1], others]),
        )


@attrs.frozen
class Unfit:
    """
    A request that is not looked up, nor its answer stored.

    Attributes:
        reason: Why, for people.
    """

    reason: str


def is_whole(choices: object) -> bool:
    """
    Say whether an answer may be given to somebody else.

    Each choice must be a text that ended by itself. An answer that was cut off, refused
    or filtered is not one, and a tool call is an act: it is not done again because
    somebody asked something alike.

    Args:
        choices: Of a completion, as JSON.
    """
    return isinstance(choices, list) and bool(choices) and all(map(_is_whole, choices))


def _is_whole(choice: object) -> bool:
    if not isinstance(choice, dict) or choice.get("finish_reason") != "stop":
        return False
    message = choice.get("message")
    return (
        isinstance(message, dict)
        and isinstance(message.get("content"), str)
        and bool(message["content"])
        and not any(
            message.get(key)
            for key in ("tool_calls", "function_call", "refusal", "audio")
        )
    )


def _text(content: JSON) -> str | None:
    """Return the text of a message, or None if it is more than that, or nothing."""
    if isinstance(content, str):
        return content if content.strip() else None
    if not isinstance(content, list):
        return None
    texts = []
    for part in content:
        if not isinstance(part, dict) or set(part) != {"type", "text"}:
            return None
        texts.append(str(part["text"]))
    return _text("\n".join(texts))


def _json(value: object) -> JSON:
    """Return *value*, which may be a model of pydantic's, as JSON."""
    dump = getattr(value, "model_dump", None)
    if dump is not None and not isinstance(value, type):
        value = dump(mode="json", exclude_none=True)
    return canonical.loads(canonical.dumps(value))  # type: ignore[arg-type]
