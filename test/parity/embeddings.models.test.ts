// Vectors of texts on the real model, as it is served, against transformers and PEFT in float32 on the same dequantised
// weights: of the base, of an adapter, and of that adapter merged.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { mergeKey } from '../../src/core/adapter.ts';
import { systemClock } from '../../src/core/clock.ts';
import { type Pooling, poolings } from '../../src/core/pooling.ts';
import { defaultSamplingParams as params } from '../../src/core/sampling-params.ts';
import { startEngine } from '../../src/engine/start-engine.ts';
import type { MergeEvent, SequenceEnd, SequenceRequest } from '../../src/protocol/messages.ts';
import { realModelFiles } from '../helpers/real-model.ts';
import { writtenAdapter } from './adapters.ts';
import { distance, readEmbeddings } from './embeddings.ts';

const references = readEmbeddings<{ readonly adapter: string | null }>('embeddings');
const folder = mkdtempSync(join(tmpdir(), 'lorikeet-embeddings-parity-'));

test('vectors are those of transformers and PEFT, beside the base and merged', async (t) => {
  t.after(() => rmSync(folder, { recursive: true }));
  const ends: SequenceEnd[] = [];
  const merges: MergeEvent[] = [];
  const { engine } = await startEngine(
    {
      ...{ model: await realModelFiles(), weightBits: null, decodeActivations: 'int8', device: 'cpu' },
      ...{ ortLibrary: null, threads: null, maxSequences: 8, maxContext: 512, prefillChunk: 64 },
      ...{ adapterBytes: 2 ** 28, adapterPages: 32, mergeBytes: 2 ** 30, cacheDir: folder },
    },
    systemClock,
    {
      emit: (event) => void (event.type === 'step' ? ends.push(...event.ended) : merges.push(event.merge)),
      onChange: () => {},
    },
  );
  const until = async (isTrue: () => boolean) => {
    for (; !isTrue(); await setTimeout(1)) await engine.step();
  };
  const vectorOf = async (request: Omit<SequenceRequest, 'id' | 'params'>) => {
    ends.length = 0;
    engine.add({ id: 1, params, ...request });
    await until(() => ends.length > 0);
    assert.equal(ends[0]!.error, undefined);
    return { vector: ends[0]!.embedding!, mergedBits: ends[0]!.mergedBits ?? null };
  };
  type Found = { readonly far: number; readonly mergedBits: number | null };
  const farthest = async (name: string | null, pooling: Pooling): Promise<Found> => {
    const adapters = name === null ? [] : [{ files: writtenAdapter(name, folder), scale: 1 }];
    const found: Found[] = [];
    for (const text of references.cases.find(({ adapter }) => adapter === name)!.texts) {
      const { vector, mergedBits } = await vectorOf({ promptTokens: text.tokens, adapters, pooling });
      found.push({ far: distance(vector, text[pooling]), mergedBits });
    }
    return found.reduce((most, one) => (one.far > most.far ? one : most));
  };
  for (const { adapter } of references.cases) {
    for (const pooling of poolings) {
      const { far, mergedBits } = await farthest(adapter, pooling);
      t.diagnostic(`${adapter ?? 'the base'}, ${pooling}: 1 - cosine up to ${far.toExponential(1)}`);
      assert.ok(far < 1e-5 && mergedBits === null, `${adapter}, ${pooling}: ${far}`);
    }
  }
  const adapters = [{ files: writtenAdapter('pirate', folder), scale: 1 }];
  engine.merge({ key: mergeKey(adapters), adapters, bits: 8, probes: [] });
  await until(() => merges.some(({ state }) => state === 'merged'));
  const { far, mergedBits } = await farthest('pirate', 'mean');
  t.diagnostic(`pirate merged in 8 bits: 1 - cosine up to ${far.toExponential(1)}`);
  // A sequence takes the merge only where that is faster; either way the vector is the adapter's.
  assert.ok(far < 1e-3 && (mergedBits === 8 || mergedBits === null), `${far}`);
});
