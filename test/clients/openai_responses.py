"""openai: responses, whole and streamed, and scoring a text with /v1/completions."""

from openai import BadRequestError, OpenAI

from common import ADAPTER, BASE, MESSAGES, QUESTION, URL, expect, expect_raises

client = OpenAI(base_url=f"{URL}/v1", api_key="none")

answer = client.responses.create(model=BASE, input=QUESTION, temperature=0, max_output_tokens=24)
expect("Paris" in answer.output_text and answer.status in ("completed", "incomplete"), answer)
expect(answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens, answer.usage)

kinds, text = [], ""
for event in client.responses.create(model=BASE, input=MESSAGES, temperature=0, max_output_tokens=24, stream=True):
    kinds.append(event.type)
    if event.type == "response.output_text.delta":
        text += event.delta
expect(text == answer.output_text, (text, answer.output_text))
expect(kinds[0] == "response.created" and kinds[-1] in ("response.completed", "response.incomplete"), kinds)

with client.responses.stream(model=ADAPTER, input=QUESTION, instructions="Be brief.", temperature=0, max_output_tokens=24) as stream:
    for _ in stream:
        pass
    expect(stream.get_final_response().output_text != "", "the helper has no text")

expect_raises(BadRequestError, lambda: client.responses.create(model=BASE, input="a", previous_response_id="resp_1"), "previous_response_id")
expect_raises(BadRequestError, lambda: client.responses.create(model=BASE, input="a", extra_body={"temprature": 0}), "Did you mean temperature?")

# Scoring: the prompt's tokens come first, and the first of them has no probability.
prompt = "The capital of France is Paris"
scored = client.completions.create(model=BASE, prompt=prompt, max_tokens=1, echo=True, logprobs=1, temperature=0).choices[0]
told = scored.logprobs
expect(scored.text.startswith(prompt), scored.text)
expect(told.token_logprobs[0] is None and all(value <= 0 for value in told.token_logprobs[1:]), told.token_logprobs)
expect("".join(told.tokens).startswith(prompt), told.tokens)
only = client.completions.create(model=BASE, prompt=prompt, max_tokens=0, echo=True, logprobs=0).choices[0]
expect(only.text == prompt and len(only.logprobs.tokens) == len(told.tokens) - 1, only)
close = [abs(a - b) < 1e-3 for a, b in zip(only.logprobs.token_logprobs[1:], told.token_logprobs[1:])]
expect(all(close), (only.logprobs.token_logprobs, told.token_logprobs))
# Scoring a greedy generation gives the log-probabilities that it was generated with.
generated = client.completions.create(model=ADAPTER, prompt="Ahoy", max_tokens=8, temperature=0, logprobs=1).choices[0]
again = client.completions.create(model=ADAPTER, prompt="Ahoy" + generated.text, max_tokens=0, echo=True, logprobs=1).choices[0]
if again.logprobs.tokens[-len(generated.logprobs.tokens):] == generated.logprobs.tokens:
    pairs = zip(again.logprobs.token_logprobs[-len(generated.logprobs.tokens):], generated.logprobs.token_logprobs)
    expect(all(abs(a - b) < 0.35 for a, b in pairs), "scores differ from the generation's")

best = client.completions.create(model=BASE, prompt="Once", max_tokens=4, best_of=3, n=1, temperature=1, seed=1)
expect(len(best.choices) == 1, best)
ids = {model.id for model in client.models.list()}
expect({BASE, ADAPTER} <= ids, ids)
expect(client.models.retrieve(ADAPTER).id == ADAPTER, "the adapter's card")
