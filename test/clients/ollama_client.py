"""ollama: list, chat, generate, streams, errors."""

import ollama

from common import ADAPTER, BASE, MESSAGES, URL, expect, expect_raises

client = ollama.Client(host=URL)
options = {"temperature": 0, "num_predict": 24}
expect({BASE, ADAPTER} <= {model.model for model in client.list().models}, client.list())
answer = client.chat(model=BASE, messages=MESSAGES, options=options)
expect("Paris" in answer.message.content and answer.done, answer)
parts = client.chat(model=BASE, messages=MESSAGES, options=options, stream=True)
expect("".join(part.message.content for part in parts) == answer.message.content, "the stream says something else")
expect("Paris" in client.generate(model=BASE, prompt="The capital of France is", raw=True, options=options).response, "raw")
expect(client.generate(model=f"{ADAPTER}:latest", prompt="Hi", options=options).response != "", "an adapter")
expect_raises(ollama.ResponseError, lambda: client.chat(model="no-such-model", messages=MESSAGES))
