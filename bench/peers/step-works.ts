// Decode and prefill without HTTP: what is measured, and how each side is run.

import { fileURLToPath } from 'node:url';
import { mallocEnvironment } from '../../src/runtime/malloc.ts';
import { spread } from '../statistics.ts';
import type { LlamaCpp } from './llama-cpp.ts';
import { runProcess } from './run-process.ts';

export type Work =
  | { readonly kind: 'decode'; readonly batch: number }
  | { readonly kind: 'prefill'; readonly prompt: number };

export type Sample = { readonly tokensPerSecond: number; readonly peakRssBytes: number };

/** Tokens in every slot before decoding, and tokens that are then decoded in each. */
const contextTokens = 128;
const decodeTokens = 64;
const prefillRepeats = 3;

export const works: readonly Work[] = [
  ...[1, 8, 16].map((batch) => ({ kind: 'decode', batch }) as const),
  ...[128, 512].map((prompt) => ({ kind: 'prefill', prompt }) as const),
];

export const workName = (work: Work) =>
  work.kind === 'decode' ? `decode B=${work.batch}` : `prefill ${work.prompt} tokens`;

export type Setup = {
  readonly model: string;
  readonly threads: number;
  /** Prompt tokens of each request to a whole server. */
  readonly promptTokens: number;
  /** Concurrent requests over HTTP. */
  readonly requests: number;
  /** Requests have different lengths; left out: all are equally long. */
  readonly isMixed?: boolean;
  /** Slots of llama-server; as many as requests by default. */
  readonly slots?: number;
};

export async function measureOurs(work: Work, { model, threads }: Setup): Promise<Sample> {
  const shape =
    work.kind === 'decode'
      ? ['--batch', String(work.batch), '--context', String(contextTokens), '--tokens', String(decodeTokens)]
      : ['--prompt', String(work.prompt)];
  const script = fileURLToPath(new URL('../step.ts', import.meta.url));
  const args = [script, '--model', model, '--threads', String(threads), '--mode', work.kind, ...shape, '--json'];
  const { stdout, peakRssBytes } = await runProcess(process.execPath, args, mallocEnvironment);
  const { tokensPerSecond } = JSON.parse(stdout) as { tokensPerSecond: number };
  return { tokensPerSecond, peakRssBytes };
}

/**
 * Flash attention is on: wherever it was tried it was never slower, and 2 to 9 % faster in prefill and at B=8. Repacked
 * weights and polling threads are llama.cpp's defaults, and its fastest settings. Both programs warm up before they
 * measure.
 */
export const llamaCppFlags = ['-fa', 'on'] as const;

export async function measureLlamaCpp(work: Work, { model, threads }: Setup, llama: LlamaCpp): Promise<Sample> {
  const common = ['-m', model, '-t', String(threads), ...llamaCppFlags];
  if (work.kind === 'decode') {
    const cells = work.batch * (contextTokens + decodeTokens);
    const shape = ['-npp', String(contextTokens), '-ntg', String(decodeTokens), '-npl', String(work.batch)];
    const args = [...common, ...shape, '-c', String(cells), '--output-format', 'jsonl'];
    const { stdout, peakRssBytes } = await runProcess(llama.batchedBench, args);
    return { tokensPerSecond: lastJson<{ speed_tg: number }>(stdout).speed_tg, peakRssBytes };
  }
  const args = [...common, '-p', String(work.prompt), '-n', '0', '-r', String(prefillRepeats), '-o', 'jsonl'];
  const { stdout, peakRssBytes } = await runProcess(llama.bench, args);
  return { tokensPerSecond: spread(lastJson<{ samples_ts: number[] }>(stdout).samples_ts).median, peakRssBytes };
}

function lastJson<T>(stdout: string): T {
  const line = stdout.split('\n').findLast((text) => text.startsWith('{'));
  if (line === undefined) throw new Error(`no result in:\n${stdout}`);
  return JSON.parse(line) as T;
}
