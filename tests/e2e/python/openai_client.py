"""Owns: OpenAI's Python client against the gateway: Chat Completions, Responses, embeddings, errors, memory.

Invariant: every call is written as the client's own documentation writes it; only base URL and key differ.
"""

import asyncio
import json

import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel
from scenarios import ANTHROPIC, GOOGLE, KEY, OPENAI, URL, equal, memory, raises, run, scenario, user

client = OpenAI(api_key=KEY, base_url=f"{URL}/v1", max_retries=0)

HELLO = {"name": "helloWorld", "description": "Greets.", "parameters": {
    "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}}
TOOLS = [{"type": "function", "function": HELLO}]
GREET = "Use the helloWorld tool to greet Alice, Bob and Carol."
NAMES = ["Alice", "Bob", "Carol"]


def greeting(arguments):
    return json.dumps({"greeting": f"Hello, {json.loads(arguments)['name']}!"})


class Person(BaseModel):
    name: str
    age: int


# ——— Chat Completions

for model in (OPENAI, ANTHROPIC, GOOGLE):

    @scenario(f"chat with {model}: a whole answer with its usage and its request id", model=model)
    def chat_whole(model):
        completion = client.chat.completions.create(model=model, messages=[user("What is 2+2?")])
        equal(completion.choices[0].message.content, "4")
        equal(completion.choices[0].finish_reason, "stop")
        assert completion.usage.total_tokens > 0
        assert completion._request_id

    @scenario(f"chat with {model}: a stream and its usage", model=model)
    def chat_stream(model):
        stream = client.chat.completions.create(
            model=model, messages=[user("Count to 5.")], stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
        equal("".join(piece or "" for piece in pieces), "1, 2, 3, 4, 5")
        assert len(pieces) > 2
        assert chunks[-1].usage.total_tokens > 0

    @scenario(f"chat with {model}: three tools at once and their results", model=model)
    def chat_tools(model):
        messages = [user(GREET)]
        asked = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
        message = asked.choices[0].message
        equal([json.loads(call.function.arguments)["name"] for call in message.tool_calls], NAMES)
        messages.append(message)
        for call in message.tool_calls:
            result = greeting(call.function.arguments)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        answered = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
        equal(answered.choices[0].message.content, "Hello, Alice!\nHello, Bob!\nHello, Carol!")

    @scenario(f"chat with {model}: the stream helper puts tool calls together", model=model)
    def chat_stream_tools(model):
        with client.chat.completions.stream(model=model, messages=[user(GREET)], tools=TOOLS) as stream:
            for _ in stream:
                pass
            message = stream.get_final_completion().choices[0].message
        equal([json.loads(call.function.arguments)["name"] for call in message.tool_calls], NAMES)

    @scenario(f"chat with {model}: a parsed answer is of its class", model=model)
    def chat_parsed(model):
        completion = client.chat.completions.parse(
            model=model, messages=[user("Say: Alex 42")], response_format=Person
        )
        equal(completion.choices[0].message.parsed, Person(name="Alex", age=42))

    @scenario(f"chat with {model}: the async client, eight at a time", model=model)
    async def chat_async(model):
        async def ask(other, n):
            stream = await other.chat.completions.create(
                model=model, messages=[user(f"What is {n} + {n}?")], stream=True
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

        async with AsyncOpenAI(api_key=KEY, base_url=f"{URL}/v1", max_retries=0) as other:
            equal(await asyncio.gather(*[ask(other, n) for n in range(8)]), [str(2 * n) for n in range(8)])

    @scenario(f"chat with {model}: two turns are remembered", model=model)
    def chat_memory(model):
        headers = memory()
        for text, answer in (("My name is Alex.", "Got it."), ("What is my name?", "Alex")):
            completion = client.chat.completions.create(
                model=model, messages=[user(text)], extra_headers=headers
            )
            equal(completion.choices[0].message.content, answer)


# ——— Responses

for model in (OPENAI, ANTHROPIC, GOOGLE):

    @scenario(f"responses with {model}: a whole answer", model=model)
    def responses_whole(model):
        response = client.responses.create(model=model, instructions="Be kind.", input="What is 3+3?")
        equal((response.output_text, response.status), ("6", "completed"))
        assert response.usage.total_tokens > 0

    @scenario(f"responses with {model}: a stream", model=model)
    def responses_stream(model):
        with client.responses.stream(model=model, input="Count to 5.") as stream:
            text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
            equal((text, stream.get_final_response().output_text), ("1, 2, 3, 4, 5", text))

    @scenario(f"responses with {model}: three tools at once and their results", model=model)
    def responses_tools(model):
        tools = [{"type": "function", "strict": False, **HELLO}]
        asked = client.responses.create(model=model, input=GREET, tools=tools)
        calls = [item for item in asked.output if item.type == "function_call"]
        equal([json.loads(call.arguments)["name"] for call in calls], NAMES)
        results = [
            {"type": "function_call_output", "call_id": call.call_id, "output": greeting(call.arguments)}
            for call in calls
        ]
        answered = client.responses.create(model=model, input=[user(GREET), *asked.output, *results], tools=tools)
        equal(answered.output_text, "Hello, Alice!\nHello, Bob!\nHello, Carol!")

    @scenario(f"responses with {model}: a parsed answer is of its class", model=model)
    def responses_parsed(model):
        response = client.responses.parse(model=model, input="Say: Alex 42", text_format=Person)
        equal(response.output_parsed, Person(name="Alex", age=42))

    @scenario(f"responses with {model}: a chain by previous_response_id", model=model)
    def responses_chain(model):
        first = client.responses.create(model=model, input="My name is Alex.")
        second = client.responses.create(
            model=model, input="What is my name?", previous_response_id=first.id
        )
        third = client.responses.create(
            model=model, input="How many messages do you see?", previous_response_id=second.id
        )
        equal((second.output_text, third.output_text), ("Alex", "5"))

    @scenario(f"responses with {model}: two turns are remembered", model=model)
    def responses_memory(model):
        headers = memory()
        for text, answer in (("My name is Alex.", "Got it."), ("What is my name?", "Alex")):
            response = client.responses.create(model=model, input=text, extra_headers=headers)
            equal(response.output_text, answer)


@scenario("a thread goes on from chat to responses")
def chat_to_responses():
    headers = memory()
    client.chat.completions.create(model=GOOGLE, messages=[user("My name is Alex.")], extra_headers=headers)
    response = client.responses.create(model=OPENAI, input="What is my name?", extra_headers=headers)
    equal(response.output_text, "Alex")


@scenario("a kept response can be got and deleted by its id", "the gateway has no GET and DELETE of responses")
def responses_kept():
    made = client.responses.create(model=OPENAI, input="What is 3+3?")
    equal(client.responses.retrieve(made.id).output_text, "6")
    client.responses.delete(made.id)
    raises(openai.NotFoundError, lambda: client.responses.retrieve(made.id))


# ——— The rest


@scenario("embeddings come one for each text")
def embeddings():
    made = client.embeddings.create(model="openai/text-embedding-3-small", input=["a cat", "a tax"])
    equal([len(each.embedding) for each in made.data], [64, 64])


@scenario("the list of models can be walked")
def models():
    ids = [model.id for model in client.models.list()]
    assert OPENAI in ids and ANTHROPIC in ids, ids
    equal(client.models.retrieve(OPENAI).id, OPENAI)


def ask(at=client, **more):
    return at.chat.completions.create(**{"model": OPENAI, "messages": [user("one")], **more})


for stream in (False, True):

    @scenario(f"errors are the client's own classes, with our words and a request id, stream={stream}", stream=stream)
    def errors(stream):
        unknown = OpenAI(api_key="msk_nobody_knows_this", base_url=f"{URL}/v1", max_retries=0)
        mine = memory()
        ask(extra_headers=mine)
        others = memory(mine["x-thread-id"], "bob")
        alone = {"x-thread-id": "t"}
        for kind, type, words, body in (
            (openai.AuthenticationError, "authentication_error", "gateway key", {"at": unknown}),
            (openai.NotFoundError, "not_found", "x-resource-id", {"extra_headers": others}),
            (openai.BadRequestError, "invalid_request_error", "x-resource-id", {"extra_headers": alone}),
            (openai.BadRequestError, "invalid_request_error", "messages", {"messages": []}),
            (openai.RateLimitError, "requests", "rate limit", {"model": f"{OPENAI};status=429"}),
        ):
            error = raises(kind, lambda: ask(**body, stream=stream))
            equal(error.type, type)
            assert words in error.message, error.message
            assert error.request_id, kind


run()
