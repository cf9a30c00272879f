// An engine in the benchmark's own process, without HTTP, and what it answers.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { loadConfig } from '../../src/config.ts';
import type { AppliedAdapter } from '../../src/core/adapter.ts';
import type { ModelFiles } from '../../src/core/base-model.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { Grammar } from '../../src/core/grammar.ts';
import { defaultSamplingParams, type SamplingParams } from '../../src/core/sampling-params.ts';
import { startEngine } from '../../src/engine/start-engine.ts';
import { modelSources } from '../../src/main/model.ts';
import { resolveModel } from '../../src/models/resolve.ts';
import type { EngineConfig, SequenceEnd, SpeculationStats } from '../../src/protocol/messages.ts';

export type Asked = {
  readonly prompt: readonly number[];
  readonly params: Partial<SamplingParams>;
  readonly grammar?: Grammar;
  readonly adapters?: readonly AppliedAdapter[];
};
export type Answered = {
  readonly tokens: readonly number[];
  /** Milliseconds from the request to its first token, and to its end. */
  readonly firstMs: number;
  readonly ms: number;
  readonly end: SequenceEnd;
};

export type LoneEngine = {
  readonly threads: number;
  /** Adds all requests at once, and waits for all answers. */
  ask(asked: readonly Asked[]): Promise<readonly Answered[]>;
  readonly speculation: SpeculationStats | null;
};

export async function findModel(name: string | undefined): Promise<ModelFiles> {
  const { config } = loadConfig(name === undefined ? {} : { model: name });
  return await resolveModel(config.model, { ...modelSources(config), log: console.error });
}

export async function loneEngine(model: ModelFiles, options: Partial<EngineConfig>): Promise<LoneEngine> {
  const { config } = loadConfig({});
  type Open = { readonly addedAt: number; firstMs: number; readonly tokens: number[] };
  const open = new Map<number, Open>();
  const done = new Map<number, Answered>();
  let speculation: SpeculationStats | null = null;
  const { engine, info } = await startEngine(
    {
      ...{ model, weightBits: null, decodeActivations: 'int8', device: 'cpu', ortLibrary: null },
      ...{ threads: config.threads, maxSequences: 16, maxContext: 2048, prefillChunk: config.prefillChunk },
      ...{ adapterBytes: 0, adapterPages: null, cacheDir: `${config.dataDir}/weights`, ...options },
    },
    systemClock,
    {
      onChange() {},
      emit(event) {
        if (event.type !== 'step') return;
        const now = systemClock.monotonic();
        speculation = event.stats.speculation ?? null;
        for (const { id, token } of event.tokens) {
          const one = open.get(id)!;
          one.tokens.push(token);
          if (one.tokens.length === 1) one.firstMs = now - one.addedAt;
        }
        for (const end of event.ended) {
          const { addedAt, firstMs, tokens } = open.get(end.id)!;
          open.delete(end.id);
          done.set(end.id, { tokens, firstMs, ms: now - addedAt, end });
        }
      },
    },
  );
  let nextId = 0;
  return {
    threads: info.threads,
    get speculation() {
      return speculation;
    },
    async ask(asked) {
      const ids = asked.map(({ prompt, params, grammar = null, adapters = [] }) => {
        const id = nextId++;
        open.set(id, { addedAt: systemClock.monotonic(), firstMs: Number.NaN, tokens: [] });
        const sampled = { ...defaultSamplingParams, ...params };
        engine.add({ id, promptTokens: prompt, adapters, params: sampled, grammar });
        return id;
      });
      while (!engine.idle) {
        await engine.step();
        await nextTurn();
      }
      const answers = ids.map((id) => done.get(id)!);
      for (const id of ids) done.delete(id);
      return answers;
    },
  };
}
