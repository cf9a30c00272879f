// The server's metrics, as verbs. Times come from intervals of one process's monotonic clock; the metrics are in
// seconds. Knows names and buckets; knows neither HTTP nor the engine's channel nor where the figures come from.

import type { MemoryPlan } from '../core/memory-plan.ts';
import { serially } from '../core/serially.ts';
import type { Viewer } from './active-adapters.ts';
import { type AdapterMetrics, adapterMetrics } from './adapter-metrics.ts';
import { type DeviceReading, defineDevices } from './device-metrics.ts';
import { type MergeMetrics, mergeMetrics } from './merge-metrics.ts';
import { type MetricsRegistry, metricsRegistry } from './registry.ts';
import { type ReplicaMetrics, replicaMetrics } from './replica-metrics.ts';
import { type TrainingMetrics, trainingMetrics } from './training-metrics.ts';
import { aliasText, vllmAliases } from './vllm-aliases.ts';

/** Values that are read at a scrape. */
export type EngineReading = {
  readonly running: number;
  readonly waiting: number;
  readonly kvUsage: number;
  /** Sequences that gave their memory to others, since the engine started. */
  readonly preemptions?: number;
  /**
   * Prompt tokens looked up in the prefix cache and found there, since the engine started; and the bytes that it takes.
   */
  readonly prefixes?: { readonly queried: number; readonly hit: number; readonly bytes: number };
  readonly speculation?: {
    readonly drafts: number;
    readonly drafted: number;
    readonly accepted: number;
    readonly pastTextBytes: number;
  };
  /** Tokens of a block of the KV cache, and the number of blocks; null until the engine is ready. */
  readonly kv: { readonly blockTokens: number; readonly blocks: number } | null;
  readonly restarts: number;
  readonly ready: boolean;
  readonly devices: readonly DeviceReading[];
};

export type FinishedSequence = {
  readonly reason: 'stop' | 'length' | 'abort' | 'error';
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
  readonly timings: { readonly queueMs: number; readonly prefillMs: number; readonly decodeMs: number };
  /** Bits of the merged weights that it ran on; null or left out: it ran on unmerged weights. */
  readonly mergedBits?: number | null;
  /** Milliseconds from the request's arrival to the sequence's end. */
  readonly e2eMs: number;
  readonly maxTokens: number;
};

export type Metrics = AdapterMetrics &
  MergeMetrics &
  TrainingMetrics &
  ReplicaMetrics & {
    readEngine(read: () => EngineReading): void;
    stepTaken(stepMs: number, tokens: number): void;
    firstToken(sinceArrivalMs: number): void;
    nextToken(sinceLastMs: number): void;
    sequenceFinished(sequence: FinishedSequence): void;
    requestFailed(code: string): void;
    /** `route` is the route's pattern, not the address, so that callers cannot make new series. */
    httpAnswered(request: { method: string; route: string; status: number; ms: number }): void;
    /** @param viewer the tenant whose adapters are named; null: all tenants */
    text(viewer: Viewer): Promise<string>;
    readonly contentType: string;
  };

const tokenSeconds = [0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5];
const requestSeconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const tokenCounts = [1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384];

export type MetricsOptions = {
  readonly modelName: string;
  /** The memory plan of the start. */
  readonly memory?: Pick<MemoryPlan, 'limitBytes' | 'parts'>;
  readonly processMetrics?: boolean;
};

export function createMetrics(options: MetricsOptions): Metrics {
  const registry = metricsRegistry({ processMetrics: options.processMetrics ?? true });
  const define = definitions(registry);
  if (options.memory) defineMemory(registry, options.memory);
  let viewer: Viewer = null;
  // Texts are written one after another: `viewer` must not change while one is written.
  const inTurn = serially();
  const failed = define.count('request_errors', 'Requests answered with an error, by its code', ['code']);
  const http = define.count('http_requests', 'HTTP requests answered', ['method', 'route', 'status']);
  const httpSeconds = define.seconds('http_request_duration', 'From a request to the end of its answer');
  return {
    ...adapterMetrics(registry, () => viewer),
    ...mergeMetrics(registry),
    ...trainingMetrics(registry),
    ...replicaMetrics(registry),
    readEngine(read) {
      defineReadings(registry, read);
      defineDevices(registry, () => read().devices);
    },
    stepTaken: defineStep(define),
    firstToken: define.seconds('time_to_first_token', 'From the arrival of a request to its first token'),
    nextToken: define.seconds('inter_token_latency', 'Gap between two tokens of a sequence', tokenSeconds),
    sequenceFinished: defineSequence(define),
    requestFailed: (code) => failed({ code }),
    httpAnswered({ method, route, status, ms }) {
      http({ method, route, status: String(status) });
      httpSeconds(ms);
    },
    text: (reader) =>
      inTurn(async () => {
        viewer = reader;
        const aliases: string[] = [];
        for (const [from, to] of vllmAliases) {
          aliases.push(aliasText(await registry.textOf(from), from, to, options.modelName));
        }
        return `${seenBy(reader, await registry.text())}\n${aliases.join('\n\n')}\n`;
      }),
    contentType: registry.contentType,
  };
}

/** Removes the series that name another tenant. */
function seenBy(viewer: Viewer, text: string): string {
  if (viewer === null) return text;
  const lines = text.split('\n');
  const own = `tenant="${viewer}"`;
  return lines
    .filter((line) => !line.includes('{tenant="') || line.includes(own) || line.includes('tenant=""'))
    .join('\n');
}

type Definitions = ReturnType<typeof definitions>;

/** Defines metrics with this project's prefix and the suffixes of units. */
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

function defineStep({ seconds, sizes }: Definitions): Metrics['stepTaken'] {
  const duration = seconds('engine_step', 'Duration of an engine step', tokenSeconds);
  const computed = sizes('engine_step_tokens', 'Tokens that an engine step computes, of prompts and of answers');
  return (stepMs, tokens) => {
    duration(stepMs);
    if (tokens > 0) computed(tokens);
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
  const perToken = seconds('request_time_per_output_token', 'Mean gap between tokens of a sequence', tokenSeconds);
  const inference = seconds('request_inference_time', 'Time from leaving the queue to the last token');
  const maxTokens = sizes('request_params_max_tokens', 'max_tokens of a request');
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
    if (sequence.completionTokens > 1) perToken(sequence.timings.decodeMs / (sequence.completionTokens - 1));
    inference(sequence.timings.prefillMs + sequence.timings.decodeMs);
    maxTokens(sequence.maxTokens);
    e2e(sequence.e2eMs);
  };
}

function defineMemory(registry: MetricsRegistry, { limitBytes, parts }: Pick<MemoryPlan, 'limitBytes' | 'parts'>) {
  const limit = 'Memory of the machine, or of its cgroup';
  registry.reading({ name: 'lorikeet_memory_limit_bytes', help: limit, type: 'gauge', read: () => limitBytes });
  const planned = 'Memory that the plan gives to each part, at most';
  registry.readings({ name: 'lorikeet_memory_planned_bytes', help: planned, label: 'part', read: () => parts });
}

function defineReadings(registry: MetricsRegistry, read: () => EngineReading): void {
  const define = (type: 'gauge' | 'counter', name: string, help: string, value: (reading: EngineReading) => number) =>
    registry.reading({ name: `lorikeet_${name}`, help, type, read: () => value(read()) });
  define('gauge', 'requests_running', 'Sequences that hold a slot', ({ running }) => running);
  define('gauge', 'requests_waiting', 'Sequences that wait for a slot', ({ waiting }) => waiting);
  define('gauge', 'kv_cache_usage_ratio', 'Room for keys and values in use, 0 to 1', ({ kvUsage }) => kvUsage);
  const preempted = ({ preemptions = 0 }: EngineReading) => preemptions;
  define('counter', 'preemptions_total', 'Sequences that gave their room to others, and went on later', preempted);
  const prefix = (what: 'queried' | 'hit' | 'bytes') => (reading: EngineReading) => reading.prefixes?.[what] ?? 0;
  define('counter', 'prefix_cache_queries_total', 'Prompt tokens looked for among known beginnings', prefix('queried'));
  define('counter', 'prefix_cache_hits_total', 'Prompt tokens that were not computed again', prefix('hit'));
  define('gauge', 'prefix_cache_bytes', 'Memory of known beginnings of prompts', prefix('bytes'));
  const ahead = (what: keyof NonNullable<EngineReading['speculation']>) => (reading: EngineReading) =>
    reading.speculation?.[what] ?? 0;
  define('counter', 'spec_decode_num_drafts_total', 'Times that tokens were computed ahead', ahead('drafts'));
  define('counter', 'spec_decode_num_draft_tokens_total', 'Tokens computed ahead', ahead('drafted'));
  const right = 'Tokens computed ahead that were the right ones';
  define('counter', 'spec_decode_num_accepted_tokens_total', right, ahead('accepted'));
  const past = 'Memory of answers that later ones are guessed from';
  define('gauge', 'spec_decode_past_text_bytes', past, ahead('pastTextBytes'));
  registry.info({
    name: 'lorikeet_cache_config_info',
    help: 'How the KV cache is divided; the value is 1',
    labels: ['block_size', 'num_gpu_blocks'],
    read() {
      const { blockTokens, blocks } = read().kv ?? { blockTokens: 0, blocks: 0 };
      return { labels: { block_size: String(blockTokens), num_gpu_blocks: String(blocks) }, value: 1 };
    },
  });
  define('gauge', 'engine_ready', '1 while the engine takes sequences', ({ ready }) => (ready ? 1 : 0));
  define('counter', 'engine_restarts_total', 'Times that the engine was started again', ({ restarts }) => restarts);
}
