import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { ModelShape } from '../../src/core/base-model.ts';
import { LorikeetError } from '../../src/core/errors.ts';
import {
  type ChosenMemory,
  describeMemory,
  describeParts,
  kvTokenBytes,
  type MemoryNeeds,
  planMemory,
} from '../../src/core/memory-plan.ts';

const MiB = 2 ** 20;
const GiB = 2 ** 30;

const small: ModelShape = {
  ...{ architecture: 'llama', layers: 30, hidden: 576, intermediate: 1536, heads: 9, kvHeads: 3, headDim: 64 },
  ...{ vocabulary: 49_152, context: 8192, ropeTheta: 1e5, ropeScaling: null, rmsNormEps: 1e-5, tiedEmbedding: true },
};
const large: ModelShape = {
  ...{ ...small, layers: 32, hidden: 4096, intermediate: 14_336, heads: 32, kvHeads: 8, headDim: 128 },
  ...{ vocabulary: 128_256, context: 131_072, tiedEmbedding: false },
};
const nothing: ChosenMemory = {
  ...{ maxSequences: null, maxContext: null, adapterPages: null, kv: null },
  ...{ prefixes: null, adapters: null, merges: null },
};
const needs = (more: Partial<MemoryNeeds> = {}, chosen: Partial<ChosenMemory> = {}): MemoryNeeds => ({
  ...{
    limitBytes: 24 * GiB,
    engines: 1,
    isOwn: false,
    shape: small,
    weightBytes: 120 * MiB,
    kvNumberBytes: 2,
    adapterBits: 16 as const,
  },
  ...{ onDevice: false, trains: true, remembersTexts: true, chosen: { ...nothing, ...chosen }, ...more },
});

const refused = (work: () => unknown): LorikeetError => {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof LorikeetError, String(error));
    return error;
  }
  return assert.fail('it was not refused');
};

test('a small model on a usual machine has hundreds of sequences and its whole context', () => {
  const plan = planMemory(needs());
  assert.deepEqual([plan.maxSequences, plan.maxContext], [256, 8192]);
  assert.equal(plan.parts.kv, 256 * 1024 * kvTokenBytes(small, 2));
  assert.equal(plan.parts.adapters, GiB);
  assert.ok(plan.hasRoomToTrain);
});

test('in a small container there are fewer, and all of it fits', () => {
  const plan = planMemory(needs({ limitBytes: 2 * GiB, isOwn: true }));
  assert.ok(plan.sumBytes <= 2 * GiB);
  assert.ok(plan.maxSequences >= 16 && plan.maxSequences < 256, `${plan.maxSequences}`);
  assert.equal(plan.maxContext, 8192);
  assert.ok((plan.adapterPages ?? 0) >= 16);
});

test('a large model has a context that its keys and values have room for', () => {
  const plan = planMemory(needs({ limitBytes: 16 * GiB, shape: large, weightBytes: 5 * GiB }));
  assert.ok(plan.maxContext >= 2048 && plan.maxContext < 131_072, `${plan.maxContext}`);
  assert.ok(plan.parts.kv >= plan.maxContext * kvTokenBytes(large, 2));
});

test('what cannot fit is refused with the sum, and the setting that takes most of it', () => {
  const weights = refused(() => planMemory(needs({ limitBytes: 4 * GiB, shape: large, weightBytes: 5 * GiB })));
  assert.deepEqual([weights.code, weights.param], ['memory_exceeded', 'LORIKEET_WEIGHT_BITS']);
  assert.match(weights.message, /at least, and there are 4096 MiB: base weights 5120 MiB, .*Choose a smaller model/);
  const chosen = { merges: GiB, adapters: 3 * GiB };
  const adapters = refused(() => planMemory(needs({ limitBytes: 4 * GiB }, chosen)));
  assert.deepEqual([adapters.code, adapters.param], ['memory_exceeded', 'LORIKEET_ADAPTER_MEMORY']);
  assert.match(adapters.message, /adapters 3072 MiB.*merged weights 1024 MiB.*Lower LORIKEET_ADAPTER_MEMORY\./);
  const long = { limitBytes: 16 * GiB, shape: large, weightBytes: 5 * GiB };
  const context = refused(() => planMemory(needs(long, { maxContext: 131_072 })));
  assert.deepEqual([context.code, context.param], ['memory_exceeded', 'LORIKEET_MAX_CONTEXT']);
  const pages = refused(() => planMemory(needs({ limitBytes: 4 * GiB }, { adapterPages: 65_536 })));
  assert.equal(pages.param, 'LORIKEET_ADAPTER_PAGES');
});

test('what contradicts itself is refused by name', () => {
  const context = refused(() => planMemory(needs({}, { maxContext: 8193 })));
  assert.deepEqual([context.code, context.param], ['invalid_config', 'LORIKEET_MAX_CONTEXT']);
  const kv = refused(() => planMemory(needs({}, { maxContext: 8192, kv: MiB })));
  assert.deepEqual([kv.code, kv.param], ['invalid_config', 'LORIKEET_KV_MEMORY']);
  assert.equal(refused(() => planMemory(needs({}, { kv: 1000 }))).param, 'LORIKEET_KV_MEMORY');
});

test('what was chosen is kept, and keys and values take no more than all sequences could', () => {
  const chosen = { maxSequences: 4, maxContext: 512, kv: GiB, adapterPages: 40, merges: 0, prefixes: MiB, adapters: 5 };
  const plan = planMemory(needs({}, chosen));
  assert.deepEqual([plan.maxSequences, plan.maxContext, plan.adapterPages], [4, 512, 40]);
  assert.equal(plan.parts.kv, 4 * 512 * kvTokenBytes(small, 2));
  assert.deepEqual([plan.parts.merges, plan.parts.prefixes, plan.parts.adapters], [0, MiB, 5]);
  const chosenKv = planMemory(needs({}, { kv: 64 * MiB }));
  assert.equal(chosenKv.maxContext, Math.floor((64 * MiB) / kvTokenBytes(small, 2) / 32) * 32);
});

test('a device has rows of its own: as many as before, and none of the host for keys and values', () => {
  const plan = planMemory(needs({ onDevice: true, trains: false }));
  assert.deepEqual([plan.maxSequences, plan.maxContext, plan.adapterPages], [16, 2048, null]);
  assert.deepEqual([plan.parts.kv, plan.parts.pages, plan.parts.prefixes, plan.parts.trainer], [0, 0, 0, 0]);
  assert.ok(plan.hasRoomToTrain);
});

test('several engines have weights and rooms each, one server and one trainer', () => {
  const [one, two] = [1, 2].map((engines) => planMemory(needs({ engines, limitBytes: 64 * GiB })));
  for (const part of ['base', 'engine', 'kv', 'prefixes', 'texts', 'pages', 'adapters', 'merges'] as const) {
    assert.equal(two!.parts[part], 2 * one!.parts[part], part);
  }
  for (const part of ['server', 'trainer'] as const) assert.equal(two!.parts[part], one!.parts[part], part);
  assert.deepEqual(two!.engine, one!.engine);
  assert.deepEqual([two!.maxSequences, two!.adapterPages], [one!.maxSequences, one!.adapterPages]);
  const chosen = planMemory(needs({ engines: 3 }, { kv: 64 * MiB, adapters: 100 * MiB, adapterPages: 20 }));
  assert.deepEqual([chosen.engine.kv, chosen.engine.adapters, chosen.adapterPages], [64 * MiB, 100 * MiB, 20]);
  assert.equal(chosen.parts.kv, 3 * 64 * MiB);
  assert.match(describeMemory(two!), /on each of 2 engines/);
  // What fits once need not fit twice.
  const tight = { limitBytes: 3 * GiB, weightBytes: 2 * GiB };
  planMemory(needs(tight));
  assert.equal(refused(() => planMemory(needs({ ...tight, engines: 2 }))).code, 'memory_exceeded');
});

test('no plan exceeds its limit, and more memory never gives less of anything', () => {
  const size = fc.integer({ min: 300, max: 64 * 1024 }).map((mebibytes) => mebibytes * MiB);
  const choice = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: null });
  const chosen = fc.record({
    maxSequences: choice(fc.integer({ min: 1, max: 1024 })),
    maxContext: choice(fc.integer({ min: 16, max: 8192 })),
    adapterPages: choice(fc.integer({ min: 1, max: 4096 })),
    kv: fc.constant(null),
    ...{ prefixes: choice(size), adapters: choice(size), merges: choice(size) },
  });
  const property = fc.property(
    ...[size, size, chosen, fc.boolean(), fc.boolean()],
    (limit, more, chosen, isOwn, trains) => {
      const plan = (limitBytes: number) => {
        try {
          return planMemory(needs({ limitBytes, isOwn, trains }, chosen));
        } catch (error) {
          assert.equal((error as LorikeetError).code, 'memory_exceeded');
          return null;
        }
      };
      const [one, other] = [plan(limit), plan(limit + more)];
      if (one === null) return;
      assert.ok(other !== null);
      assert.ok(one.sumBytes <= limit && describeParts(one).length > 0);
      for (const [part, bytes] of Object.entries(one.parts)) {
        assert.ok(other.parts[part as keyof typeof other.parts] >= bytes - 1, part);
      }
      assert.ok(other.maxSequences >= one.maxSequences && other.maxContext >= one.maxContext);
      assert.ok(one.parts.kv >= one.maxContext * kvTokenBytes(small, 2));
    },
  );
  fc.assert(property, { numRuns: 2000 });
});
