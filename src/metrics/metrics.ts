// What the server measures, as verbs. Times are seconds, from intervals of one process's monotonic clock.
// It knows names and buckets; it does not know HTTP, the engine's channel or where the figures come from.

import { type AdapterMetrics, adapterMetrics } from './adapter-metrics.ts';
import { type MergeMetrics, mergeMetrics } from './merge-metrics.ts';
import { type MetricsRegistry, metricsRegistry } from './registry.ts';
import { type TrainingMetrics, trainingMetrics } from './training-metrics.ts';
import { aliasText, vllmAliases } from './vllm-aliases.ts';

/** What is read at the moment of a scrape. */
export type EngineReading = {
  readonly running: number;
  readonly waiting: number;
  readonly kvUsage: number;
  /** Prompt tokens looked for among known beginnings, and found, since the engine started; what these take. */
  readonly prefixes?: { readonly queried: number; readonly hit: number; readonly bytes: number };
  readonly restarts: number;
  readonly ready: boolean;
};

export type FinishedSequence = {
  readonly reason: 'stop' | 'length' | 'abort' | 'error';
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
  readonly timings: { readonly queueMs: number; readonly prefillMs: number; readonly decodeMs: number };
  /** Of the merged weights that it ran on; null or left out: it ran on none. */
  readonly mergedBits?: number | null;
  /** From the request's arrival to the sequence's end. */
  readonly e2eMs: number;
};

export type Metrics = AdapterMetrics &
  MergeMetrics &
  TrainingMetrics & {
    readEngine(read: () => EngineReading): void;
    stepTaken(stepMs: number): void;
    firstToken(sinceArrivalMs: number): void;
    nextToken(sinceLastMs: number): void;
    sequenceFinished(sequence: FinishedSequence): void;
    requestFailed(code: string): void;
    /** `route` is the pattern, never the address, so that callers cannot make new series. */
    httpAnswered(request: { method: string; route: string; status: number; ms: number }): void;
    text(): Promise<string>;
    readonly contentType: string;
  };

const tokenSeconds = [0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5];
const requestSeconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const tokenCounts = [1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384];

export function createMetrics(options: { modelName: string; processMetrics?: boolean }): Metrics {
  const registry = metricsRegistry({ processMetrics: options.processMetrics ?? true });
  const define = definitions(registry);
  const failed = define.count('request_errors', 'Requests answered with an error, by its code', ['code']);
  const http = define.count('http_requests', 'HTTP requests answered', ['method', 'route', 'status']);
  const httpSeconds = define.seconds('http_request_duration', 'From a request to the end of its answer');
  return {
    ...adapterMetrics(registry),
    ...mergeMetrics(registry),
    ...trainingMetrics(registry),
    readEngine: (read) => defineReadings(registry, read),
    stepTaken: define.seconds('engine_step', 'Duration of an engine step', tokenSeconds),
    firstToken: define.seconds('time_to_first_token', 'From the arrival of a request to its first token'),
    nextToken: define.seconds('inter_token_latency', 'Gap between two tokens of a sequence', tokenSeconds),
    sequenceFinished: defineSequence(define),
    requestFailed: (code) => failed({ code }),
    httpAnswered({ method, route, status, ms }) {
      http({ method, route, status: String(status) });
      httpSeconds(ms);
    },
    async text() {
      const aliases = Object.entries(vllmAliases).map(async ([from, to]) =>
        aliasText(await registry.textOf(from), from, to, options.modelName),
      );
      return `${await registry.text()}\n${(await Promise.all(aliases)).join('\n\n')}\n`;
    },
    contentType: registry.contentType,
  };
}

type Definitions = ReturnType<typeof definitions>;

/** Our prefix and the units' suffixes, said once. */
function definitions(registry: MetricsRegistry) {
  return {
    seconds(name: string, help: string, buckets = requestSeconds) {
      const observe = registry.histogram({ name: `lorikeet_${name}_seconds`, help, buckets });
      return (ms: number) => observe(ms / 1000);
    },
    sizes: (name: string, help: string) => registry.histogram({ name: `lorikeet_${name}`, help, buckets: tokenCounts }),
    count: <L extends string = never>(name: string, help: string, labels: readonly L[] = []) =>
      registry.counter({ name: `lorikeet_${name}_total`, help, labels }).add,
  };
}

function defineSequence({ seconds, sizes, count }: Definitions): Metrics['sequenceFinished'] {
  const finished = count('sequences_finished', 'Sequences by the reason of their end', ['finished_reason']);
  const merged = count('merged_sequences', 'Sequences that ran on merged weights, by bits', ['bits']);
  const promptTokens = count('prompt_tokens', 'Prompt tokens taken in');
  const cachedTokens = count('cached_prompt_tokens', 'Prompt tokens whose KV rows were reused');
  const generationTokens = count('generation_tokens', 'Tokens generated');
  const promptSize = sizes('request_prompt_tokens', 'Prompt tokens of a sequence');
  const generationSize = sizes('request_generation_tokens', 'Generated tokens of a sequence');
  const queue = seconds('request_queue_time', 'Time a sequence waited for a slot');
  const prefill = seconds('request_prefill_time', 'Time from leaving the queue to the first token');
  const decode = seconds('request_decode_time', 'Time from the first token to the last');
  const e2e = seconds('e2e_request_latency', 'From the arrival of a request to the end of a sequence');
  return (sequence) => {
    finished({ finished_reason: sequence.reason });
    if (sequence.mergedBits) merged({ bits: String(sequence.mergedBits) });
    promptTokens({}, sequence.promptTokens);
    cachedTokens({}, sequence.cachedTokens);
    generationTokens({}, sequence.completionTokens);
    promptSize(sequence.promptTokens);
    generationSize(sequence.completionTokens);
    queue(sequence.timings.queueMs);
    prefill(sequence.timings.prefillMs);
    decode(sequence.timings.decodeMs);
    e2e(sequence.e2eMs);
  };
}

function defineReadings(registry: MetricsRegistry, read: () => EngineReading): void {
  const define = (type: 'gauge' | 'counter', name: string, help: string, value: (reading: EngineReading) => number) =>
    registry.reading({ name: `lorikeet_${name}`, help, type, read: () => value(read()) });
  define('gauge', 'requests_running', 'Sequences that hold a slot', ({ running }) => running);
  define('gauge', 'requests_waiting', 'Sequences that wait for a slot', ({ waiting }) => waiting);
  define('gauge', 'kv_cache_usage_ratio', 'KV positions in use over all, 0 to 1', ({ kvUsage }) => kvUsage);
  const prefix = (what: 'queried' | 'hit' | 'bytes') => (reading: EngineReading) => reading.prefixes?.[what] ?? 0;
  define('counter', 'prefix_cache_queries_total', 'Prompt tokens looked for among known beginnings', prefix('queried'));
  define('counter', 'prefix_cache_hits_total', 'Prompt tokens that were not computed again', prefix('hit'));
  define('gauge', 'prefix_cache_bytes', 'Memory of known beginnings of prompts', prefix('bytes'));
  define('gauge', 'engine_ready', '1 while the engine takes sequences', ({ ready }) => (ready ? 1 : 0));
  define('counter', 'engine_restarts_total', 'Times that the engine was started again', ({ restarts }) => restarts);
}
