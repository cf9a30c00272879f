// vLLM's names for this server's metrics, which its dashboards, llm-d's router and the Kubernetes inference gateway
// read. An alias has the same values under another name. It is written at the scrape, so that values are recorded once.

export const vllmAliases: readonly (readonly [from: string, to: string])[] = [
  ['lorikeet_requests_running', 'vllm:num_requests_running'],
  ['lorikeet_requests_waiting', 'vllm:num_requests_waiting'],
  ['lorikeet_kv_cache_usage_ratio', 'vllm:kv_cache_usage_perc'],
  ['lorikeet_preemptions_total', 'vllm:num_preemptions_total'],
  ['lorikeet_cache_config_info', 'vllm:cache_config_info'],
  ['lorikeet_lora_requests_info', 'vllm:lora_requests_info'],
  ['lorikeet_prompt_tokens_total', 'vllm:prompt_tokens_total'],
  ['lorikeet_prefix_cache_queries_total', 'vllm:prefix_cache_queries_total'],
  ['lorikeet_prefix_cache_hits_total', 'vllm:prefix_cache_hits_total'],
  ['lorikeet_spec_decode_num_drafts_total', 'vllm:spec_decode_num_drafts_total'],
  ['lorikeet_spec_decode_num_draft_tokens_total', 'vllm:spec_decode_num_draft_tokens_total'],
  ['lorikeet_spec_decode_num_accepted_tokens_total', 'vllm:spec_decode_num_accepted_tokens_total'],
  ['lorikeet_engine_step_tokens', 'vllm:iteration_tokens_total'],
  ['lorikeet_generation_tokens_total', 'vllm:generation_tokens_total'],
  ['lorikeet_sequences_finished_total', 'vllm:request_success_total'],
  ['lorikeet_time_to_first_token_seconds', 'vllm:time_to_first_token_seconds'],
  ['lorikeet_inter_token_latency_seconds', 'vllm:inter_token_latency_seconds'],
  ['lorikeet_request_time_per_output_token_seconds', 'vllm:request_time_per_output_token_seconds'],
  ['lorikeet_e2e_request_latency_seconds', 'vllm:e2e_request_latency_seconds'],
  ['lorikeet_request_queue_time_seconds', 'vllm:request_queue_time_seconds'],
  ['lorikeet_request_prefill_time_seconds', 'vllm:request_prefill_time_seconds'],
  ['lorikeet_request_decode_time_seconds', 'vllm:request_decode_time_seconds'],
  ['lorikeet_request_inference_time_seconds', 'vllm:request_inference_time_seconds'],
  ['lorikeet_request_prompt_tokens', 'vllm:request_prompt_tokens'],
  ['lorikeet_request_generation_tokens', 'vllm:request_generation_tokens'],
  ['lorikeet_request_generation_tokens', 'vllm:request_max_num_generation_tokens'],
  ['lorikeet_request_params_max_tokens', 'vllm:request_params_max_tokens'],
];

/** One metric's Prometheus text under another name, with `model_name` as the first label, as in vLLM. */
export function aliasText(text: string, from: string, to: string, modelName: string): string {
  const label = `model_name="${modelName.replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`))}"`;
  return text
    .split('\n')
    .map((line) => {
      if (line.startsWith('#')) return line.replace(from, to);
      const [, suffix, labels, value] = /^([^{ ]*)(?:\{(.*)\})? (\S+)$/.exec(line.slice(from.length)) ?? [];
      return `${to}${suffix}{${labels ? `${label},${labels}` : label}} ${value}`;
    })
    .join('\n');
}
