"""Owns: Anthropic's Python client against the gateway: Messages, token counts, thinking, errors, memory.

Invariant: every call is written as the client's own documentation writes it; only base URL and key differ.
"""

import asyncio
import json

import anthropic
from anthropic import Anthropic, AsyncAnthropic
from scenarios import ANTHROPIC, GOOGLE, KEY, OPENAI, URL, equal, memory, raises, run, scenario, user

client = Anthropic(api_key=KEY, base_url=URL, max_retries=0)

TOOLS = [{"name": "helloWorld", "description": "Greets.", "input_schema": {
    "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}}]
GREET = "Use the helloWorld tool to greet Alice, Bob and Carol."
NAMES = ["Alice", "Bob", "Carol"]
THINKING = {"type": "enabled", "budget_tokens": 1024}


def body(model, said, **more):
    messages = [user(said)] if isinstance(said, str) else said
    return {"model": model, "max_tokens": 2000, "messages": messages, **more}


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def results_of(message):
    return user([
        {"type": "tool_result", "tool_use_id": block.id,
         "content": json.dumps({"greeting": f"Hello, {block.input['name']}!"})}
        for block in message.content if block.type == "tool_use"
    ])


def whole(model, said, **more):
    return client.messages.create(**body(model, said, **more))


def streamed(model, said, **more):
    with client.messages.stream(**body(model, said, **more)) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    equal(text, text_of(message))
    return message


for model in (ANTHROPIC, OPENAI, GOOGLE):
    for ask in (whole, streamed):
        how = f"messages with {model}, {ask.__name__}"

        @scenario(f"{how}: an answer with its usage and stop reason", model=model, ask=ask)
        def answer(model, ask):
            message = ask(model, "Count to 5.", system=[{"type": "text", "text": "Be kind."}])
            equal((text_of(message), message.stop_reason), ("1, 2, 3, 4, 5", "end_turn"))
            assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0

        @scenario(f"{how}: three tools at once and their results", model=model, ask=ask)
        def tools(model, ask):
            asked = ask(model, GREET, tools=TOOLS)
            equal(asked.stop_reason, "tool_use")
            equal([block.input["name"] for block in asked.content if block.type == "tool_use"], NAMES)
            history = [user(GREET), {"role": "assistant", "content": asked.content}, results_of(asked)]
            equal(text_of(ask(model, history, tools=TOOLS)), "Hello, Alice!\nHello, Bob!\nHello, Carol!")

        @scenario(f"{how}: two turns are remembered", model=model, ask=ask)
        def remembered(model, ask):
            headers = memory()
            equal(text_of(ask(model, "My name is Alex.", extra_headers=headers)), "Got it.")
            equal(text_of(ask(model, "What is my name?", extra_headers=headers)), "Alex")

    @scenario(f"messages with {model}: the async client, eight at a time", model=model)
    async def concurrent(model):
        async def ask(other, n):
            async with other.messages.stream(**body(model, f"What is {n} + {n}?")) as stream:
                return await stream.get_final_text()

        async with AsyncAnthropic(api_key=KEY, base_url=URL, max_retries=0) as other:
            equal(await asyncio.gather(*[ask(other, n) for n in range(8)]), [str(2 * n) for n in range(8)])

    @scenario(f"messages with {model}: tokens are counted", model=model)
    def counted(model):
        said = [user("Say hi to everybody")]
        assert client.messages.count_tokens(model=model, messages=said).input_tokens > 0


for ask in (whole, streamed):

    @scenario(f"thinking comes before the answer and is known when it comes back, {ask.__name__}", ask=ask)
    def thinking(ask):
        for headers in (None, memory()):
            more = {"tools": TOOLS, "thinking": THINKING, "extra_headers": headers}
            asked = ask(ANTHROPIC, GREET, **more)
            equal([block.type for block in asked.content], ["thinking", *["tool_use"] * 3])
            assert asked.content[0].thinking and asked.content[0].signature
            before = [] if headers else [user(GREET), {"role": "assistant", "content": asked.content}]
            answered = ask(ANTHROPIC, [*before, results_of(asked)], **more)
            equal(text_of(answered), "Hello, Alice!\nHello, Bob!\nHello, Carol!")


@scenario("the list of models is Anthropic's own form")
def models():
    ids = [model.id for model in client.models.list(limit=5)]
    assert ANTHROPIC in ids, ids
    equal(client.models.retrieve(ANTHROPIC).type, "model")


for ask in (whole, streamed):

    @scenario(f"errors are the client's own classes, with our words and a request id, {ask.__name__}", ask=ask)
    def errors(ask):
        def call(at, more):
            messages = Anthropic(api_key=at, base_url=URL, max_retries=0).messages
            asked = {**body(ANTHROPIC, "one"), **more}
            if ask is whole:
                return messages.create(**asked)
            with messages.stream(**asked) as stream:
                return stream.get_final_message()

        mine = memory()
        call(KEY, {"extra_headers": mine})
        others = memory(mine["x-thread-id"], "bob")
        alone = {"x-thread-id": "t"}
        for kind, type, words, key, more in (
            (anthropic.AuthenticationError, "authentication_error", "gateway key", "msk_nobody_knows_this", {}),
            (anthropic.NotFoundError, "not_found", "x-resource-id", KEY, {"extra_headers": others}),
            (anthropic.BadRequestError, "invalid_request_error", "x-resource-id", KEY, {"extra_headers": alone}),
            (anthropic.BadRequestError, "invalid_request_error", "messages", KEY, {"messages": []}),
            (anthropic.RateLimitError, "rate_limit_error", "rate limit", KEY, {"model": f"{ANTHROPIC};status=429"}),
        ):
            error = raises(kind, lambda: call(key, more))
            equal(error.body["error"]["type"], type)
            assert words in error.message, error.message
            assert error.request_id, kind


run()
