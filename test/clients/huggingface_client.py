"""huggingface_hub: InferenceClient's chat_completion and text_generation."""

from huggingface_hub import InferenceClient

from common import ADAPTER, BASE, MESSAGES, URL, expect

client = InferenceClient(base_url=f"{URL}/v1")
answer = client.chat_completion(MESSAGES, model=BASE, max_tokens=24, temperature=0)
expect("Paris" in answer.choices[0].message.content, answer)
parts = client.chat_completion(MESSAGES, model=ADAPTER, max_tokens=24, temperature=0, stream=True)
expect("".join(part.choices[0].delta.content or "" for part in parts if part.choices) != "", "an empty stream")

plain = InferenceClient(URL)
prompt = "The capital of France is"
text = plain.text_generation(prompt, max_new_tokens=8)
expect("Paris" in text, text)
detailed = plain.text_generation(prompt, max_new_tokens=8, details=True)
expect(detailed.generated_text == text and detailed.details.finish_reason == "length", detailed)
expect("".join(token.text for token in detailed.details.tokens) == text, detailed.details.tokens)
expect("".join(plain.text_generation(prompt, max_new_tokens=8, stream=True)) == text, "the stream says something else")
expect(plain.text_generation(prompt, max_new_tokens=8, adapter_id=ADAPTER) != text, "the adapter changed nothing")
