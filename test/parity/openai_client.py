"""Runs the official openai client, unmodified, against a Lorikeet server: what it parses must be what it expects.

    python test/parity/openai_client.py http://127.0.0.1:8080 [--api-key KEY] [--say Paris] [--adapter FOLDER]
        [--train FILE]

Needs the openai package and a running server. --say adds a check that only a real model passes: the answer about the
capital of France contains that word. --adapter uploads a PEFT folder and asks it as a model. --train trains on a JSONL
file, some steps, and asks what came of it.
"""

import argparse
import asyncio
import math
import pathlib
import time

import openai

MODEL_MISSING = "no-such-model"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY = dict(max_tokens=16, temperature=0)
FORM = {"headers": {"Content-Type": "multipart/form-data"}}


def expect(condition: bool, what: object) -> None:
    """Not assert, which `python -O` leaves out."""
    if not condition:
        raise AssertionError(what)


def expect_error(kind: type[openai.APIStatusError], call, *, param: str | None = None) -> openai.APIStatusError:
    try:
        call()
    except kind as error:
        expect(bool(error.code) and bool(error.message) and error.request_id, error)
        expect(param is None or error.param == param, error.body)
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def check_models(client: openai.OpenAI) -> str:
    models = list(client.models.list())
    expect(len(models) > 0 and models[0].object == "model", models)
    model = models[0].id
    expect(client.models.retrieve(model).id == model, model)
    expect_error(openai.NotFoundError, lambda: client.models.retrieve(MODEL_MISSING))
    return model


def check_chat(client: openai.OpenAI, model: str, say: str | None) -> None:
    answer = client.chat.completions.create(model=model, messages=QUESTION, **GREEDY)
    choice, usage = answer.choices[0], answer.usage
    expect(answer.object == "chat.completion" and choice.message.role == "assistant", answer)
    expect(choice.finish_reason in ("stop", "length"), choice)
    expect(0 < usage.completion_tokens <= GREEDY["max_tokens"], usage)
    expect(usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, usage)
    expect(say is None or say in choice.message.content, choice.message.content)

    options = dict(stream=True, stream_options={"include_usage": True})
    chunks = list(client.chat.completions.create(model=model, messages=QUESTION, **GREEDY, **options))
    streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    expect(streamed == choice.message.content, (streamed, choice.message.content))
    expect(len({chunk.id for chunk in chunks}) == 1, "one id a stream")
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
    expect(reasons[-1] == choice.finish_reason and not any(reasons[:-1]), reasons)
    # The second time the prompt's beginning is known already, which is all that may differ.
    last = chunks[-1]
    expect(last.choices == [] and last.usage.total_tokens == usage.total_tokens, last)
    expect(last.usage.completion_tokens == usage.completion_tokens, last)


def check_logprobs(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(
        model=model, messages=QUESTION, max_tokens=4, temperature=0, logprobs=True, top_logprobs=3
    )
    content = answer.choices[0].logprobs.content
    expect(len(content) == answer.usage.completion_tokens, content)
    for token in content:
        values = [top.logprob for top in token.top_logprobs]
        expect(len(values) == 3 and values == sorted(values, reverse=True), values)
        expect(token.logprob == values[0] and sum(map(math.exp, values)) <= 1 + 1e-5, token)

    answer = client.completions.create(model=model, prompt="The capital of France is", logprobs=2, **GREEDY)
    logprobs = answer.choices[0].logprobs
    expect(len(logprobs.tokens) == len(logprobs.token_logprobs) == answer.usage.completion_tokens, logprobs)
    expect("".join(logprobs.tokens) == answer.choices[0].text, logprobs)


def check_completions(client: openai.OpenAI, model: str) -> None:
    prompts = ["The capital of France is", "1, 2, 3,"]
    answer = client.completions.create(model=model, prompt=prompts, **GREEDY)
    expect([choice.index for choice in answer.choices] == [0, 1], answer)
    texts = ["", ""]
    for chunk in client.completions.create(model=model, prompt=prompts, stream=True, **GREEDY):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    # Both runs batch the two prompts, so the arithmetic is the same to the last bit.
    expect(texts == [choice.text for choice in answer.choices], texts)

    stop = answer.choices[0].text.split()[0]
    stopped = client.completions.create(model=model, prompt=prompts[0], stop=[stop], **GREEDY).choices[0]
    expect(stopped.finish_reason == "stop" and stop not in stopped.text, stopped)
    sampled = dict(model=model, prompt=prompts[0], temperature=1, max_tokens=16, seed=7)
    again = [client.completions.create(**sampled).choices[0].text for _ in range(2)]
    expect(again[0] == again[1], again)


def check_errors(client: openai.OpenAI, model: str, url: str, api_key: str | None) -> None:
    chat = client.chat.completions.create
    expect_error(openai.NotFoundError, lambda: chat(model=MODEL_MISSING, messages=QUESTION), param="model")
    hot = lambda: chat(model=model, messages=QUESTION, temperature=9)  # noqa: E731
    expect_error(openai.BadRequestError, hot, param="temperature")
    expect_error(openai.BadRequestError, lambda: chat(model=model, messages=[]), param="messages")
    long = [{"role": "user", "content": "word " * 100_000}]
    error = expect_error(openai.BadRequestError, lambda: chat(model=model, messages=long))
    expect(error.code == "context_length_exceeded", error.body)
    if api_key is not None:
        stranger = openai.OpenAI(base_url=url, api_key="wrong", max_retries=0)
        expect_error(openai.AuthenticationError, lambda: stranger.models.list())


def check_adapter(client: openai.OpenAI, base: str, folder: pathlib.Path) -> None:
    name = "openai-client/check"
    files = {file: (file, (folder / file).read_bytes()) for file in ("adapter_config.json", "adapter_model.safetensors")}
    made = client.post("/adapters", cast_to=object, body={"name": name}, files=files, options=FORM)
    expect(made["id"].startswith(f"{name}@") and made["state"] == "ready", made)
    expect(name in [model.id for model in client.models.list()], "listed")
    card = client.models.retrieve(name)
    expect(card.parent == base and card.root == made["digest"], card)
    for model in (name, made["id"]):
        raw = client.chat.completions.with_raw_response.create(model=model, messages=QUESTION, **GREEDY)
        expect(raw.headers["x-adapter-digest"] == made["digest"], raw.headers)
        expect(raw.parse().model == model, raw.parse())
    chunks = list(client.completions.create(model=name, prompt="The capital of France is", stream=True, **GREEDY))
    expect({chunk.model for chunk in chunks} == {name}, chunks)
    expect(client.models.delete(name).deleted, "deleted")
    expect_error(openai.NotFoundError, lambda: client.models.retrieve(name), param="model")


def check_training(client: openai.OpenAI, base: str, rows: pathlib.Path) -> None:
    file = client.files.create(file=rows, purpose="fine-tune")
    expect(client.files.retrieve(file.id) == file and file.filename == rows.name, file)
    expect(client.files.content(file.id).content == rows.read_bytes(), "content")
    hyperparameters = {"n_epochs": 1, "batch_size": "auto"}
    # What OpenAI has no name for goes beside its own.
    lora = {"method": {"type": "supervised", "supervised": {"hyperparameters": {"max_steps": 4, "r": 2}}}}
    jobs = client.fine_tuning.jobs
    paused = jobs.create(model=base, training_file=file.id, hyperparameters=hyperparameters)
    expect(paused.object == "fine_tuning.job" and paused.fine_tuned_model is None, paused)
    expect(jobs.pause(paused.id).status == "paused", "paused")
    jobs.resume(paused.id)
    expect(jobs.cancel(paused.id).status == "cancelled", "cancelled")
    expect_error(openai.ConflictError, lambda: jobs.resume(paused.id))
    job = jobs.create(model=base, training_file=file.id, suffix="openai-client/trained", extra_body=lora)
    while job.finished_at is None:
        time.sleep(0.5)
        job = jobs.retrieve(job.id)
    expect(job.status == "succeeded" and job.trained_tokens > 0, job)
    events = list(jobs.list_events(job.id, limit=3))
    expect(events[0].message == "The job has successfully completed", events[0])
    steps = [event.data["step"] for event in events if event.type == "metrics"]
    expect(steps == [4, 3, 2, 1], steps)
    for checkpoint in jobs.checkpoints.list(job.id):
        expect(checkpoint.fine_tuning_job_id == job.id and checkpoint.metrics.train_loss > 0, checkpoint)
    expect(job.id in [other.id for other in jobs.list(limit=1)], "listed")
    raw = client.completions.with_raw_response.create(model=job.fine_tuned_model, prompt="Hello", **GREEDY)
    expect("x-adapter-digest" in raw.headers and raw.parse().model == job.fine_tuned_model, raw.headers)
    client.models.delete("openai-client/trained")
    expect(client.files.delete(file.id).deleted, "deleted")
    expect_error(openai.NotFoundError, lambda: client.files.retrieve(file.id))


async def check_concurrency(url: str, api_key: str | None, model: str) -> None:
    """A reader who leaves early must not disturb the others."""
    async with openai.AsyncOpenAI(base_url=url, api_key=api_key or "none", max_retries=0) as client:

        async def leave() -> None:
            stream = await client.chat.completions.create(model=model, messages=QUESTION, max_tokens=64, stream=True)
            async for _ in stream:
                break
            await stream.close()

        async def stay() -> int:
            answer = await client.chat.completions.create(model=model, messages=QUESTION, **GREEDY)
            return answer.usage.completion_tokens

        counts = await asyncio.gather(*(stay() for _ in range(6)), *(leave() for _ in range(4)))
        expect(all(count > 0 for count in counts[:6]), counts)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("server")
    parser.add_argument("--api-key")
    parser.add_argument("--say")
    parser.add_argument("--adapter", type=pathlib.Path)
    parser.add_argument("--train", type=pathlib.Path)
    args = parser.parse_args()
    url = f"{args.server.rstrip('/')}/v1"
    client = openai.OpenAI(base_url=url, api_key=args.api_key or "none", max_retries=0)
    model = check_models(client)
    check_chat(client, model, args.say)
    check_logprobs(client, model)
    check_completions(client, model)
    check_errors(client, model, url, args.api_key)
    if args.adapter is not None:
        check_adapter(client, model, args.adapter)
    if args.train is not None:
        check_training(client, model, args.train)
    asyncio.run(check_concurrency(url, args.api_key, model))
    print(f"openai {openai.__version__}: models, chat, logprobs, completions, errors, concurrency: ok ({model})")


if __name__ == "__main__":
    main()
