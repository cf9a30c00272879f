"""Which of llama.cpp's tests of its server do not apply to this one, and which ask for what it does otherwise."""

import re

# Expressions over the names of tests, each with the reason why a test of that name says nothing of this server.
OWN_ROUTE = "/completion, /apply-template and the routes without /v1 that answer otherwise are llama-server's own"
LEFT_OUT = {
    r"test_completion\.py::(?!test_completion_with_openai|test_completion_stream_with_openai)": OWN_ROUTE,
    r"test_apply_chat_template|test_chat_completions_token_count|test_embedding_pooling_none$": OWN_ROUTE,
    r"test_chat_completion\[|test_chat_completion_cached|test_embedding_usage": "counts another tokeniser's tokens",
    r"test_chat_template|thinking_history_in_template|test_verbose_debug": "starts with a template, and reads it back",
    r"test_context_size_exceeded|test_embedding_error_prompt_too_long": "its server has a context of 256 or 512 tokens",
    r"timings_per_token|test_return_progress|llama_telemetry": "timings and progress in events are llama-server's own",
    r"test_anthropic_tool_result_with_image|vision": "the model reads no images",
    r"test_anthropic_thinking_history_in_count": "counts turns of a template that writes thinking back",
    r"mixed_input\[input(3|7|8|9|10)-|content_text_same": "objects, and ids beside texts, are llama-server's own",
}

# Tests that apply and fail, each with the reason why this server does otherwise.
DIFFERENT = {
    "test_chat_completion.py::test_invalid_chat_completion_req[messages7]": "two turns of the assistant are two turns",
    "test_compat_anthropic.py::test_anthropic_empty_messages": "Anthropic refuses a chat without messages too",
    "test_compat_anthropic.py::test_anthropic_thinking": "a model without thinking is not asked to think",
    "test_embedding.py::test_embedding_mixed_input[-False]": "OpenAI refuses an empty text too",
    "test_embedding.py::test_embedding_mixed_input[input5-True]": "a list is of texts or of ids, as at OpenAI",
}


def reason_of(name: str) -> str | None:
    return next((reason for pattern, reason in LEFT_OUT.items() if re.search(pattern, name)), None)
