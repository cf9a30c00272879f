// A scheduler on a virtual clock, without a decoder: a step costs what it reads and generates, and the service of every
// flow is counted. One seed gives one history.

import assert from 'node:assert/strict';
import { defaultSamplingParams } from '../../src/core/sampling-params.ts';
import type { Share } from '../../src/core/share.ts';
import { type Chunk, Scheduler } from '../../src/engine/loop/scheduler.ts';
import { createSequence, type Sequence } from '../../src/engine/loop/sequence.ts';
import type { Admission } from '../../src/engine/policies/admission.ts';

export type Job = {
  readonly at: number;
  readonly share: Share;
  readonly prompt: number;
  readonly output: number;
  /** Digest of the sequence's adapter; the base by default. */
  readonly adapter?: string;
};

export type Served = {
  readonly job: Job;
  readonly sequence: Sequence;
  /** Times of the first token and of the last. */
  firstAt: number;
  endedAt: number;
};

export type FairTrafficOptions = {
  readonly rows: number;
  readonly lead: number;
  readonly budget: number;
  readonly decodes?: number;
  readonly admit?: (sequence: Sequence) => Admission;
  /** Pages that running sequences share, and pages of each adapter; by default no sequence takes any. */
  readonly pages?: { readonly total: number; readonly each: number };
  /** Milliseconds of a step; 1 by default. */
  readonly stepMs?: (chunks: readonly Chunk[]) => number;
  /** Called after each step. */
  readonly watch?: (state: FairTraffic) => void;
};

export type FairTraffic = {
  readonly step: number;
  /** Virtual milliseconds; equal to `step` where each step takes 1. */
  readonly now: number;
  readonly scheduler: Scheduler;
  /** Units of service by flow, and by flow and subflow. */
  readonly service: ReadonlyMap<number, number>;
  readonly subflowService: ReadonlyMap<string, number>;
  readonly served: readonly Served[];
  /** Tokens read and generated, all flows together. */
  readonly work: number;
  readonly preemptions: number;
};

const stepsMax = 200_000;

export const subflowOf = ({ line }: Sequence) => `${line.flow} ${line.subflow}`;

export function fairTraffic(jobs: readonly Job[], options: FairTrafficOptions): FairTraffic {
  const { rows, lead, budget, decodes, pages = { total: 0, each: 0 }, stepMs = () => 1, watch } = options;
  const { admit = (sequence) => (hasPages(sequence) ? 'start' : 'blocked') } = options;
  const service = new Map<number, number>();
  const subflowService = new Map<string, number>();
  const served = new Map<Sequence, Served>();
  const kept = new Map<Sequence, number>();
  const scheduler = new Scheduler({
    ...{ rows, lead, budget, admit, ...(decodes !== undefined && { decodes }) },
    // What a sequence had computed when it was preempted is kept, as in a prefix cache with room for everything.
    begin: (sequence) => {
      sequence.computed = Math.min(kept.get(sequence) ?? 0, sequence.tokens.length - 1);
    },
    preempt: (sequence) => void kept.set(sequence, sequence.computed),
    kv: { hasRoom: () => true, reserve: () => true, clear() {} },
    pages: pages.total,
    pagesOf: ({ key }) => (pages.each === 0 || key === '' ? null : { key, pages: pages.each }),
  });
  const hasPages = ({ key }: Sequence): boolean => {
    const keys = new Set([...scheduler.running, { key }].map((one) => one.key).filter((one) => one !== ''));
    return pages.each === 0 || keys.size * pages.each <= pages.total;
  };
  const state = {
    ...{ step: 0, now: 0, scheduler, service, subflowService, work: 0 },
    get preemptions() {
      return scheduler.preemptions;
    },
    get served() {
      return [...served.values()];
    },
  };
  const serve = (sequence: Sequence, cost: number) => {
    const { flow } = sequence.line;
    service.set(flow, (service.get(flow) ?? 0) + cost);
    subflowService.set(subflowOf(sequence), (subflowService.get(subflowOf(sequence)) ?? 0) + cost);
    state.work++;
  };
  const coming = [...jobs].sort((a, b) => a.at - b.at);
  for (let id = 0; coming.length > 0 || !scheduler.idle; state.step++) {
    assert.ok(state.step < stepsMax, 'somebody starves');
    while (coming.length > 0 && coming[0]!.at <= state.now) {
      const job = coming.shift()!;
      const sequence = createSequence(requestOf(id++, job), state.now, () => 1);
      served.set(sequence, { job, sequence, firstAt: Number.NaN, endedAt: Number.NaN });
      scheduler.add(sequence);
    }
    const plan = scheduler.schedule(state.now);
    const chunks = plan.runs.flatMap(({ chunks }) => chunks);
    // With nothing to run, the clock advances to the next arrival.
    const idleMs = coming.length > 0 ? Math.max(0, coming[0]!.at - state.now) : 1;
    state.now += chunks.length > 0 || !scheduler.idle ? stepMs(chunks) : idleMs;
    for (const { sequence, count } of chunks) sequence.computed += count;
    for (const sequence of plan.started) serve(sequence, sequence.request.promptTokens.length);
    for (const { sequence } of chunks) {
      if (sequence.computed < sequence.tokens.length) continue;
      scheduler.charge(sequence);
      serve(sequence, 2);
      const record = served.get(sequence)!;
      if (Number.isNaN(record.firstAt)) record.firstAt = state.now;
      sequence.tokens.push(0);
      if (sequence.tokens.length - sequence.request.promptTokens.length < record.job.output) continue;
      record.endedAt = state.now;
      scheduler.remove(sequence);
    }
    if (state.step % 8 === 0) scheduler.checkIntegrity();
    watch?.(state);
  }
  return state;
}

const requestOf = (id: number, { share, prompt, output, adapter }: Job) => ({
  id,
  share,
  promptTokens: new Array<number>(prompt).fill(0),
  params: { ...defaultSamplingParams, maxTokens: output },
  adapters: adapter === undefined ? [] : [{ files: { digest: adapter, config: '', weights: '' }, scale: 1 }],
});
