"""litellm: completion, stream, text completion, responses, and the error that its fallbacks look for."""

import litellm

from common import ADAPTER, BASE, MESSAGES, URL, expect, expect_raises

litellm.suppress_debug_info = True
settings = dict(api_base=f"{URL}/v1", api_key="none", temperature=0, max_tokens=24)
answer = litellm.completion(model=f"openai/{BASE}", messages=MESSAGES, **settings)
expect("Paris" in answer.choices[0].message.content, answer)
stream = litellm.completion(model=f"hosted_vllm/{ADAPTER}", messages=MESSAGES, stream=True, **settings)
expect("".join(chunk.choices[0].delta.content or "" for chunk in stream) != "", "an empty stream")
text = litellm.text_completion(model=f"text-completion-openai/{BASE}", prompt="The capital of France is", **settings)
expect("Paris" in text.choices[0].text, text)
long = [{"role": "user", "content": "word " * 20_000}]
expect_raises(
    litellm.exceptions.ContextWindowExceededError,
    lambda: litellm.completion(model=f"openai/{BASE}", messages=long, **settings),
)
responses = litellm.responses(model=f"openai/{BASE}", input="What is the capital of France?", api_base=f"{URL}/v1", api_key="none", temperature=0, max_output_tokens=24)
expect(responses.output[0].content[0].text != "", responses)
vectors = litellm.embedding(model=f"openai/{ADAPTER}", input=["a", "b"], api_base=f"{URL}/v1", api_key="none")
expect(len(vectors.data) == 2 and vectors.usage.prompt_tokens > 0, vectors)
