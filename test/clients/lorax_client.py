"""lorax-client: generate and generate_stream with adapter_id, and without."""

from lorax import Client

from common import ADAPTER, URL, expect

client = Client(URL, timeout=60)
prompt = "The capital of France is"
base = client.generate(prompt, max_new_tokens=8)
expect("Paris" in base.generated_text and base.details.generated_tokens == 8, base)
adapted = client.generate(prompt, max_new_tokens=8, adapter_id=ADAPTER, adapter_source="local")
expect(adapted.generated_text != base.generated_text, adapted)
parts = list(client.generate_stream(prompt, max_new_tokens=8, adapter_id=ADAPTER, adapter_source="local"))
expect(parts[-1].generated_text == adapted.generated_text, parts[-1])
