"""openai: every method of chat, completions, responses, embeddings, models, files, batches and fine_tuning.

What the server does works as the client's own types read it; what it does not keep or have is an error of the client's
own class. test/parity/openai_client.py looks closer at chats and errors, and trains.
"""

import json
import pathlib
import tempfile
import time
from typing import Literal

import openai
from pydantic import BaseModel, ConfigDict, Field

from common import ADAPTER, BASE, MESSAGES, QUESTION, URL, expect, expect_raises
from methods import Methods

client = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)
GREEDY = dict(temperature=0, max_tokens=24)
# `connect` uses a WebSocket, which this server does not have.
UNCALLED = {"responses.connect"}
jobs = client.fine_tuning.jobs
methods = Methods(
    chat=client.chat.completions, stored_messages=client.chat.completions.messages, completions=client.completions,
    responses=client.responses, input_items=client.responses.input_items, input_tokens=client.responses.input_tokens,
    embeddings=client.embeddings, models=client.models, files=client.files, batches=client.batches,
    jobs=jobs, checkpoints=jobs.checkpoints, graders=client.fine_tuning.alpha.graders,
    permissions=client.fine_tuning.checkpoints.permissions,
)  # fmt: skip


class Reply(BaseModel):
    # A schema that is open to more fields is one that a small model fills with more.
    model_config = ConfigDict(extra="forbid")
    city: str = Field(max_length=20)
    kind: Literal["capital", "village"]


WEATHER = {"place": {"type": "string", "maxLength": 12}}
PARAMETERS = {"type": "object", "properties": WEATHER, "required": ["place"], "additionalProperties": False}
FORCED = dict(parallel_tool_calls=False, temperature=1)


def missing(call):
    error = expect_raises(openai.APIStatusError, call)
    expect(error.status_code in (404, 405), error)


def chat():
    chats = client.chat.completions
    expect("Paris" in chats.create(model=BASE, messages=MESSAGES, **GREEDY).choices[0].message.content, "create")
    parsed = chats.parse(model=BASE, messages=MESSAGES, response_format=Reply, temperature=0, max_tokens=100)
    expect(isinstance(parsed.choices[0].message.parsed, Reply), parsed)
    with chats.stream(model=ADAPTER, messages=MESSAGES, **GREEDY) as stream:
        expect(stream.get_final_completion().choices[0].message.content != "", "stream")
    # The server stores no answers.
    missing(lambda: chats.list())
    missing(lambda: chats.retrieve("chatcmpl-1"))
    missing(lambda: chats.update("chatcmpl-1", metadata={"a": "b"}))
    missing(lambda: chats.delete("chatcmpl-1"))
    missing(lambda: chats.messages.list("chatcmpl-1"))
    least = chats.create(model=BASE, messages=MESSAGES, temperature=0, max_tokens=40, extra_body={"min_tokens": 40})
    expect(least.usage.completion_tokens == 40, least)


def completions():
    answer = client.completions.create(model=BASE, prompt="The capital of France is", **GREEDY)
    expect("Paris" in answer.choices[0].text, answer)
    stopped = client.completions.create(
        model=BASE, prompt="The capital of France is", stop=["Paris"], extra_body={"include_stop_str_in_output": True}, **GREEDY
    )
    expect(stopped.choices[0].text.endswith("Paris"), stopped)


def responses():
    made = client.responses
    parsed = made.parse(model=BASE, input=QUESTION, text_format=Reply, temperature=0, max_output_tokens=100)
    expect(isinstance(parsed.output_parsed, Reply), parsed)
    tool = dict(type="function", name="get_weather", parameters=PARAMETERS, strict=True)
    question = [{"role": "user", "content": "How is the weather in Graz?"}]
    called = made.create(model=BASE, input=question, tools=[tool], tool_choice="required", max_output_tokens=100, **FORCED)
    call = called.output[-1]
    expect(call.type == "function_call" and set(json.loads(call.arguments)) == {"place"}, called)
    result = dict(type="function_call_output", call_id=call.call_id, output="Sunny.")
    after = made.create(model=BASE, input=[*question, call, result], tools=[tool], temperature=0, max_output_tokens=24)
    expect(after.status in ("completed", "incomplete") and len(after.output) > 0, after)
    with made.stream(model=BASE, input=question, tools=[tool], tool_choice="required", max_output_tokens=100, **FORCED) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response().output[-1]
    expect("response.function_call_arguments.delta" in kinds and final.type == "function_call", (kinds, final))
    told = made.create(
        model=BASE, input=QUESTION, temperature=0, max_output_tokens=4, top_logprobs=2, include=["message.output_text.logprobs"]
    ).output[0].content[0].logprobs
    expect(len(told) == 4 and all(len(entry.top_logprobs) == 2 for entry in told), told)
    counted = made.input_tokens.count(model=BASE, input=question, tools=[tool])
    expect(counted.input_tokens == called.usage.input_tokens, (counted, called.usage))
    missing(lambda: made.retrieve("resp_1"))
    missing(lambda: made.delete("resp_1"))
    missing(lambda: made.cancel("resp_1"))
    missing(lambda: made.input_items.list("resp_1"))
    missing(lambda: made.compact(model=BASE, input=QUESTION))


def embeddings():
    texts = ["A cat sat on the mat.", "The kitten sat on the rug.", "Interest rates rose in June."]
    made = client.embeddings.create(model=BASE, input=texts)
    cat, kitten, rates = [one.embedding for one in made.data]
    expect([one.index for one in made.data] == [0, 1, 2] and made.usage.total_tokens == made.usage.prompt_tokens > 0, made)
    dot = lambda a, b: sum(x * y for x, y in zip(a, b))
    expect(abs(dot(cat, cat) - 1) < 1e-5 and dot(cat, kitten) > dot(cat, rates), (dot(cat, kitten), dot(cat, rates)))
    floats = client.embeddings.create(model=BASE, input=texts[0], encoding_format="float").data[0].embedding
    expect(max(abs(a - b) for a, b in zip(floats, cat)) < 1e-6, "both encodings")
    adapted = client.embeddings.create(model=ADAPTER, input=texts[0])
    expect(adapted.model == ADAPTER and dot(adapted.data[0].embedding, cat) < 0.999999, "the adapter's own")
    same = dict(model=BASE, input=texts[0], dimensions=len(cat), extra_body={"pooling": "last"})
    expect(dot(client.embeddings.create(**same).data[0].embedding, cat) < 0.999, "the last row")
    expect_raises(openai.BadRequestError, lambda: client.embeddings.create(**{**same, "dimensions": 8}), "dimensions")
    missing(lambda: client.embeddings.create(model="no-such-model", input="a"))


def models():
    ids = [model.id for model in client.models.list()]
    expect({BASE, ADAPTER} <= set(ids), ids)
    expect(client.models.retrieve(ADAPTER).parent == BASE, "parent")
    missing(lambda: client.models.retrieve("no-such-model"))
    missing(lambda: client.models.delete("no-such-model"))


def training():
    rows = "".join(json.dumps({"prompt": f"Bird {i} says", "completion": " tweet"}) + "\n" for i in range(8))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "rows.jsonl")
        path.write_text(rows)
        file = client.files.create(file=path, purpose="fine-tune")
    expect(client.files.wait_for_processing(file.id, poll_interval=0.2).status == "processed", file)
    expect(file.id in [one.id for one in client.files.list(purpose="fine-tune")], "listed")
    expect(client.files.content(file.id).text == rows and client.files.retrieve_content(file.id) == rows, "content")
    extra = {"method": {"type": "supervised", "supervised": {"hyperparameters": {"max_steps": 200, "r": 2}}}}
    job = jobs.create(model=BASE, training_file=file.id, suffix="clients/trained", extra_body=extra)
    expect(jobs.pause(job.id).status == "paused", "paused")
    resumed = jobs.resume(job.id)
    expect(resumed.status in ("validating_files", "queued", "running"), resumed)
    expect(jobs.cancel(job.id).status == "cancelled", "cancelled")
    expect(jobs.retrieve(job.id).fine_tuned_model is None, "nothing came of it")
    expect(job.id in [one.id for one in jobs.list(limit=5)], "jobs")
    expect(len(list(jobs.list_events(job.id))) > 0, "events")
    expect(list(jobs.checkpoints.list(job.id)) == [], "checkpoints")
    expect_raises(openai.ConflictError, lambda: jobs.resume(job.id))
    expect(client.files.delete(file.id).deleted, "deleted")
    missing(lambda: client.files.retrieve(file.id))
    # The server grades no jobs and shares no checkpoints.
    grader = {"type": "string_check", "name": "same", "input": "a", "reference": "a", "operation": "eq"}
    missing(lambda: client.fine_tuning.alpha.graders.run(grader=grader, model_sample="a"))
    missing(lambda: client.fine_tuning.alpha.graders.validate(grader=grader))
    permissions = client.fine_tuning.checkpoints.permissions
    missing(lambda: list(permissions.create("ft:x", project_ids=["p"])))
    missing(lambda: permissions.retrieve("ft:x"))
    missing(lambda: list(permissions.list("ft:x")))
    missing(lambda: permissions.delete("p", fine_tuned_model_checkpoint="ft:x"))


def uploaded(lines):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "requests.jsonl")
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return client.files.create(file=path, purpose="batch")


def ended(batch):
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        time.sleep(0.1)
        batch = client.batches.retrieve(batch.id)
    return batch


def batches():
    where = dict(method="POST", url="/v1/chat/completions")
    body = dict(model=ADAPTER, messages=MESSAGES, temperature=0, max_tokens=8)
    lines = [dict(custom_id=str(i), body=body, **where) for i in range(3)]
    bad = dict(custom_id="bad", body={**body, "model": "no-such-model"}, **where)
    file = uploaded([*lines, bad])
    made = dict(endpoint="/v1/chat/completions", completion_window="24h")
    batch = ended(client.batches.create(input_file_id=file.id, metadata={"a": "b"}, **made))
    counts = batch.request_counts
    expect((batch.status, counts.total, counts.completed, counts.failed) == ("completed", 4, 3, 1), batch)
    answers = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    alone = client.chat.completions.create(**body).choices[0].message.content
    said = [answer["response"]["body"]["choices"][0]["message"]["content"] for answer in answers]
    expect(said == [alone] * 3, (said, alone))
    errors = [json.loads(line) for line in client.files.content(batch.error_file_id).text.splitlines()]
    expect([(error["custom_id"], error["response"]["status_code"]) for error in errors] == [("bad", 404)], errors)
    expect(batch.id in [one.id for one in client.batches.list(limit=5)], "batches")
    expect_raises(openai.ConflictError, lambda: client.batches.cancel(batch.id))
    long = {**body, "max_tokens": 1000}
    slow = uploaded([dict(custom_id=str(i), body={**long, "ignore_eos": True}, **where) for i in range(64)])
    going = client.batches.create(input_file_id=slow.id, **made)
    expect(client.batches.cancel(going.id).status in ("cancelling", "cancelled"), "cancelled")
    expect(ended(going).status == "cancelled", "it ends")
    wrong = ended(client.batches.create(input_file_id=uploaded([{"custom_id": "1"}]).id, **made))
    expect(wrong.status == "failed" and wrong.errors.data[0].line == 1, wrong)
    missing(lambda: client.batches.retrieve("batch_none"))


if __name__ == "__main__":
    for part in (chat, completions, responses, embeddings, models, batches, training):
        part()
    expect(methods.uncalled == UNCALLED, methods.uncalled ^ UNCALLED)
