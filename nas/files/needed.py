"""What pydantic says of a value, in plain words.

Apart from `model_errors`: recipes need it, and are read where pydantic is not installed, too (`benchmarks/gpu.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_NEEDED = {
    "tuple_type": "a list is needed",
    "list_type": "a list is needed",
    "dict_type": "keys and values are needed",
    "model_type": "keys and values are needed",
    "string_type": "text is needed",
    "int_type": "a whole number is needed",
    "int_parsing": "a whole number is needed",
    "int_from_float": "a whole number is needed",
    "float_type": "a number is needed",
    "float_parsing": "a number is needed",
    "bool_type": "true or false is needed",
    "bool_parsing": "true or false is needed",
    "greater_than": "a number above {gt:.12g} is needed",
    "greater_than_equal": "a number of {ge:.12g} or more is needed",
    "less_than": "a number below {lt:.12g} is needed",
    "less_than_equal": "a number of {le:.12g} or less is needed",
    "literal_error": "{expected} is needed",
    "too_short": "at least {min_length} must be given, not {actual_length}",
    "too_long": "at most {max_length} may be given, not {actual_length}",
}


def needed(error: ErrorDetails) -> str:
    """What pydantic says of a value in plain words, without the value."""
    context = error.get("ctx", {})
    cause = context.get("error")
    if cause is not None:
        return str(getattr(cause, "message", cause))
    message = _NEEDED[error["type"]].format(**context) if error["type"] in _NEEDED else error["msg"]
    return message[:1].lower() + message[1:]
