// Makes an engine that can take sequences from a configuration. Throws operating errors with their codes.

import { randomInt } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import { defaultContext, notOn } from '../core/layer-plan.ts';
import { pageRanks } from '../core/page-sizes.ts';
import { GrammarThread } from '../grammar/grammar-thread.ts';
import { loadWeights } from '../graph/weights.ts';
import type { EngineConfig, EngineEvent, EngineInfo } from '../protocol/messages.ts';
import { AdapterStore } from './adapters/adapter-store.ts';
import { createBreath } from './adapters/breath.ts';
import { combineAdapters } from './adapters/combine-adapters.ts';
import { readAdapter } from './adapters/read-adapter.ts';
import { Engine } from './loop/engine.ts';
import { mergeMemory } from './merges/merge-memory.ts';
import { mergeModel } from './merges/merge-model.ts';
import { Merges } from './merges/merges.ts';
import { openDevice, pagesFor } from './open-device.ts';
import { createDecoder } from './runner/decoder.ts';
import { targetOf } from './runner/device-target.ts';
import { evenBatch } from './runner/forward-batch.ts';
import { deviceKvBytes } from './runner/model-memory.ts';

export type EngineCallbacks = {
  emit(event: Extract<EngineEvent, { type: 'step' | 'merge' }>): void;
  /** Called between steps when a sequence may have become able to start. */
  onChange(): void;
};

export type StartedEngine = { readonly engine: Engine; readonly info: EngineInfo };

/** Sequences at which one thread is about as fast as it gets (docs/log.md). */
const fullThread = 8;

/** Most sequences that decode in one step, for each thread: more make a step longer and give hardly any more tokens. */
const decodesPerThread = 2 * fullThread;

export async function startEngine(
  config: EngineConfig,
  clock: Clock,
  { emit, onChange }: EngineCallbacks,
): Promise<StartedEngine> {
  const start = clock.monotonic();
  const device = openDevice(config);
  const { runtime } = device;
  const { model, cached } = await loadWeights(config.model, config.weightBits, config.cacheDir, console.warn);
  const { shape } = model;
  const { context } = shape;
  const target = targetOf(runtime, shape, device.real);
  const missing = notOn(config.device, shape);
  if (missing !== null) {
    const lacking = `${config.model.name} has ${missing}: ${config.device} does not compute that.`;
    const message = `${lacking} Take LORIKEET_DEVICE=cpu.`;
    throw new LorikeetError('model_unsupported', { message });
  }
  const positions = config.maxContext ?? defaultContext(shape);
  if (positions > context) {
    const message = `LORIKEET_MAX_CONTEXT is ${positions}, but ${config.model.name} takes at most ${context} tokens.`;
    throw new LorikeetError('invalid_config', { message, param: 'LORIKEET_MAX_CONTEXT' });
  }
  const { maxSequences: rows, adapterBits: bits = 16 } = config;
  const { kvBytes, prefixBytes = 0 } = config;
  const kv = { rows, positions, ...(kvBytes ? { kvBytes } : {}), prefixBytes, target };
  const ofKv = { positions, bytes: deviceKvBytes(shape, kv) };
  const decoder = createDecoder(runtime, model, {
    ...kv,
    decodeActivations: config.decodeActivations,
    kvType: config.kvType ?? 'float16',
    adapterBits: bits,
    pages: config.adapterPages ?? pagesFor(device, model, config, ofKv),
    clock,
    onPagesChange: onChange,
  });
  // Runs one step of each kind before the first request, so that pages are touched and buffers sized.
  const firstStep = { first: 0, tokens: [0], sampled: [0] };
  await decoder.forward(evenBatch({ kind: 'prompt', pasts: [0], ...firstStep }));
  await decoder.logitsOf(evenBatch({ kind: 'answer', pasts: [1], ...firstStep }), [0]);
  decoder.kv.clear(0);
  // Not awaited: the base serves at once, and an adapter that comes meanwhile waits for its graphs as it does for its
  // bytes.
  decoder.prepare(null).catch(() => {});
  const freshSeed = () => randomInt(2 ** 48 - 1);
  const breath = createBreath(clock);
  const adapters = new AdapterStore({
    bytesMax: config.adapterBytes,
    clock,
    async read({ files }) {
      const adapter = await readAdapter(files, { model, breath, bits, onDevice: target.on === 'device' });
      await decoder.prepare(adapter);
      return adapter;
    },
    combine: (key, scaled) => combineAdapters(key, scaled, shape, breath),
    onChange,
  });
  const merges = new Merges({
    ...{ decoder, adapters, clock, onChange },
    breath: createBreath(clock, () => engine.serving),
    bytesMax: config.mergeBytes ?? 0,
    arithmetic: {
      bytesOf: (adapter, bits) => mergeMemory(model, adapter, bits, target.on),
      merge: (adapter, options) => mergeModel(runtime, model, adapter, options),
    },
    emit: (merge) => emit({ type: 'merge', merge }),
  });
  const { prefillChunk, tokens, sharesBasePrefixes = false } = config;
  const grammars = tokens ? new GrammarThread({ table: tokens, onChange }) : null;
  const engine: Engine = new Engine({
    decoder,
    adapters,
    merges,
    grammars,
    prefillChunk,
    ...(runtime.device === null && {
      processor: { decodes: decodesPerThread * runtime.threads, full: fullThread * runtime.threads },
    }),
    // On a device all rows of a run have equally many new tokens, and their bits depend on that number.
    speculation: config.speculates && runtime.device === null ? 'auto' : 'never',
    pastTextBytes: config.pastTextBytes ?? 0,
    sharesBasePrefixes,
    clock,
    freshSeed,
    emit,
  });
  const info: EngineInfo = {
    model: config.model.name,
    digest: config.model.digest,
    shape,
    maxContext: positions,
    maxSequences: config.maxSequences,
    kv: { blockTokens: decoder.kv.blockTokens, blocks: decoder.kv.blocks },
    adapterRank: decoder.pages.slots * pageRanks,
    threads: runtime.threads,
    device: runtime.device?.name ?? 'cpu',
    weightBits: model.linears.get('layers.0.qkv')!.bits,
    loadMs: clock.monotonic() - start,
    weightsCached: cached,
  };
  return { engine, info };
}
