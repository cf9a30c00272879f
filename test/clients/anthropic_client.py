"""anthropic: messages, whole and streamed, counting, errors."""

import anthropic

from common import ADAPTER, BASE, MESSAGES, URL, expect, expect_raises

client = anthropic.Anthropic(base_url=URL, api_key="none", max_retries=0)
# Newer versions of the client have no parameter for the temperature.
settings = dict(max_tokens=24, messages=MESSAGES, extra_body={"temperature": 0})
answer = client.messages.create(model=BASE, **settings)
expect("Paris" in answer.content[0].text and answer.usage.output_tokens > 0, answer)
with client.messages.stream(model=BASE, **settings) as stream:
    expect("".join(stream.text_stream) == answer.content[0].text, "the stream says something else")
    expect(stream.get_final_message().stop_reason == answer.stop_reason, "another end")
expect(client.messages.create(model=ADAPTER, system="Be brief.", **settings).content[0].text != "", "no text")
stopped = client.messages.create(model=BASE, stop_sequences=["Paris"], **settings)
expect(stopped.stop_reason == "stop_sequence" and stopped.stop_sequence == "Paris", stopped)
expect(client.messages.count_tokens(model=BASE, messages=MESSAGES).input_tokens == answer.usage.input_tokens, "counts")
expect_raises(anthropic.NotFoundError, lambda: client.messages.create(model="no-such-model", **settings))
