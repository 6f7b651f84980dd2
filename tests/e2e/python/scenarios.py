"""Owns: running one file's scenarios and saying how each ended, as a line of JSON on stdout.

Invariant: a scenario that fails, whatever it raises, never keeps the next one from running.
"""

import asyncio
import inspect
import json
import os
import traceback
import uuid

URL = os.environ["GATEWAY_URL"]
KEY = os.environ["GATEWAY_KEY"]
OPENAI = "openai/gpt-5.4-mini"
ANTHROPIC = "anthropic/claude-sonnet-4-5"
GOOGLE = "google/gemini-2.5-flash"

SCENARIOS = []


def scenario(name, to_come=None, **arguments):
    """Adds a call of the function under this name; with `to_come` it is only listed, with that reason."""

    def add(function):
        SCENARIOS.append((name, to_come, function, arguments))
        return function

    return add


def run():
    for name, to_come, function, arguments in SCENARIOS:
        line = {"name": name}
        if to_come:
            line["skip"] = f"to come: {to_come}"
        else:
            try:
                ended = function(**arguments)
                if inspect.iscoroutine(ended):
                    asyncio.run(ended)
            except Exception:
                line["error"] = traceback.format_exc()
        print(json.dumps(line), flush=True)


def equal(found, wanted):
    assert found == wanted, f"found {found!r}, wanted {wanted!r}"


def user(content):
    return {"role": "user", "content": content}


def memory(thread=None, resource="ann"):
    """The headers of a thread that no other scenario uses."""
    return {"x-thread-id": thread or f"thread-{uuid.uuid4()}", "x-resource-id": resource}


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")
