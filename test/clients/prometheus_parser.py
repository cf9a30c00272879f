"""Prometheus' own Python parser on /metrics, and the names that vLLM's dashboards and gateways read."""

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from common import URL, expect

with urllib.request.urlopen(f"{URL}/metrics") as answer:
    families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
expect(len(families) > 30, sorted(families))
for name in ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc", "vllm:lora_requests_info"):
    expect(name in families, f"{name} is missing")
for family in families.values():
    expect(family.documentation != "" and family.type != "unknown", family)
    series = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
    expect(len(series) == len(set(series)), f"{family.name} has a series twice")
