"""Runs the official openai client, unmodified, for structured output and tools against a server.

    python test/parity/structured_client.py http://127.0.0.1:8080 [--api-key KEY]

Needs the openai and pydantic packages and a running server. What a small model says is not judged, only
that it has the form that was asked for.
"""

import argparse
import json
from typing import Literal

import openai
from pydantic import BaseModel, ConfigDict, Field


class Item(BaseModel):
    # A schema that is open to more fields is one that a small model fills with more.
    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=20)
    count: int = Field(ge=1, le=9)
    size: Literal["small", "large"]


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")
    items: list[Item] = Field(max_length=3)
    to_go: bool


QUESTION = [{"role": "user", "content": "Two small teas and a large coffee to go, please."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather at a place.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string", "maxLength": 20}, "days": {"type": "integer", "maximum": 9}},
            "required": ["place", "days"],
            "additionalProperties": False,
        },
    },
}
NAMED = {"type": "function", "function": {"name": "get_weather"}}


def expect(condition: bool, what: object) -> None:
    """Not assert, which `python -O` leaves out."""
    if not condition:
        raise AssertionError(what)


def structured(client: openai.OpenAI, model: str) -> None:
    for seed in range(3):
        answer = client.chat.completions.parse(
            model=model, messages=QUESTION, response_format=Order, temperature=1, seed=seed, max_tokens=400
        )
        expect(isinstance(answer.choices[0].message.parsed, Order), answer)
    with client.chat.completions.stream(
        model=model, messages=QUESTION, response_format=Order, temperature=0, max_tokens=400
    ) as stream:
        expect(isinstance(stream.get_final_completion().choices[0].message.parsed, Order), "streamed")
    text = client.chat.completions.create(
        model=model, messages=QUESTION, response_format={"type": "json_object"}, temperature=0, max_tokens=200
    )
    if text.choices[0].finish_reason == "stop":
        expect(isinstance(json.loads(text.choices[0].message.content), dict), text)
    for body, expected in [
        ({"guided_choice": ["tea", "coffee"]}, {"tea", "coffee"}),
        ({"structured_outputs": {"regex": "(cat|dog)s"}}, {"cats", "dogs"}),
        ({"guided_grammar": 'root ::= "yes" | "no"'}, {"yes", "no"}),
    ]:
        answer = client.completions.create(model=model, prompt="Which?", max_tokens=20, extra_body=body)
        expect(answer.choices[0].text in expected, answer)
    try:
        client.completions.create(model=model, prompt="x", extra_body={"guided_regex": "(?=a)b"})
    except openai.BadRequestError as error:
        expect(error.code == "grammar_invalid" and error.param == "guided_regex", error.body)
    else:
        raise AssertionError("a bad expression was taken")


def tools(client: openai.OpenAI, model: str) -> None:
    question = [{"role": "user", "content": "How is the weather in Graz?"}]
    for choice, reason in [("required", "tool_calls"), (NAMED, "stop")]:
        answer = client.chat.completions.create(
            model=model, messages=question, tools=[WEATHER], tool_choice=choice,
            parallel_tool_calls=False, temperature=1, seed=4, max_tokens=200,
        )
        message = answer.choices[0].message
        expect(answer.choices[0].finish_reason == reason and len(message.tool_calls) == 1, answer)
        arguments = json.loads(message.tool_calls[0].function.arguments)
        expect(set(arguments) == {"place", "days"} and arguments["days"] <= 9, arguments)
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "Sunny."}
    answer = client.chat.completions.create(
        model=model, messages=[*question, message, result], tools=[WEATHER], temperature=0, max_tokens=30
    )
    expect(answer.choices[0].message.content is not None or answer.choices[0].message.tool_calls, answer)
    with client.chat.completions.stream(
        model=model, messages=question, tools=[openai.pydantic_function_tool(Item)], tool_choice="required",
        parallel_tool_calls=False, temperature=1, seed=1, max_tokens=200,
    ) as stream:
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
        expect(isinstance(call.function.parsed_arguments, Item), call)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--api-key", default="none")
    arguments = parser.parse_args()
    client = openai.OpenAI(base_url=f"{arguments.url}/v1", api_key=arguments.api_key, max_retries=0)
    model = client.models.list().data[0].id
    structured(client, model)
    tools(client, model)
    print("structured output and tools: all well")


if __name__ == "__main__":
    main()
