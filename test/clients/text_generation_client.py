"""text-generation, the client of text-generation-inference: generate, generate_stream, chat."""

from text_generation import Client
from text_generation.errors import ValidationError

from common import BASE, MESSAGES, URL, expect, expect_raises

client = Client(URL, timeout=60)
prompt = "The capital of France is"
answer = client.generate(prompt, max_new_tokens=8)
expect("Paris" in answer.generated_text and answer.details.generated_tokens == 8, answer)
parts = list(client.generate_stream(prompt, max_new_tokens=8))
expect(parts[-1].generated_text == answer.generated_text, parts[-1])
expect("".join(part.token.text for part in parts if not part.token.special) == answer.generated_text, parts)
chat = client.chat(messages=MESSAGES, max_tokens=24, temperature=0.1, seed=1)
expect(chat.choices[0].message.content != "", chat)
expect_raises(ValidationError, lambda: client.generate("", max_new_tokens=8))
