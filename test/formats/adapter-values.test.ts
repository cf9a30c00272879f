import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { linearSize } from '../../src/core/adapter.ts';
import { checkAdapterValues, pairValues } from '../../src/formats/adapter-values.ts';
import { readPeftAdapter } from '../../src/formats/peft-adapter.ts';
import { moduleName, modulesByName, type PeftModule } from '../../src/formats/peft-modules.ts';
import { parseSafetensorsHeader, type SafetensorsTensor } from '../../src/formats/safetensors.ts';
import { type PairToWrite, writePeftAdapter } from '../../src/formats/write-peft.ts';
import { writeSafetensors } from '../../src/formats/write-safetensors.ts';
import { inLayer, plainConfig, readWith, tinyShape } from './peft-files.ts';
import { accepts, assertRefuses } from './refusal.ts';

/** Checks the plain adapter with all tensors of `type` at an odd address. `fill` sets each tensor's content. */
function check(type: 'F32' | 'F16' | 'BF16', fill: (tensor: SafetensorsTensor, bytes: Uint8Array) => void) {
  const adapter = readWith({}, {}, type);
  return checkAdapterValues(adapter, (tensor) => {
    const bytes = new Uint8Array(tensor.bytes + 1).subarray(1);
    fill(tensor, bytes);
    return bytes;
  });
}

const one = { F32: [0, 0, 0x80, 0x3f], F16: [0, 0x3c], BF16: [0x80, 0x3f] } as const;
const bad = {
  F32: { infinity: [0, 0, 0x80, 0x7f], minus: [0, 0, 0x80, 0xff], nan: [1, 0, 0x80, 0x7f], quiet: [0, 0, 0xc0, 0xff] },
  F16: { infinity: [0, 0x7c], minus: [0, 0xfc], nan: [1, 0x7c], quiet: [0, 0xfe] },
  BF16: { infinity: [0x80, 0x7f], minus: [0x80, 0xff], nan: [0x81, 0x7f], quiet: [0xc0, 0xff] },
} as const;
const largest = { F32: [0xff, 0xff, 0x7f, 0x7f], F16: [0xff, 0x7b], BF16: [0x7f, 0xff] } as const;

for (const type of ['F32', 'F16', 'BF16'] as const) {
  test(`${type}: a NaN or an infinity is refused wherever it is, by the tensor's name`, () => {
    const name = inLayer(1, 'self_attn.q_proj.lora_B.weight');
    for (const value of Object.values(bad[type])) {
      for (const last of [false, true]) {
        const spoil = (tensor: SafetensorsTensor, bytes: Uint8Array) => {
          if (tensor.name === name) bytes.set(value, last ? bytes.length - value.length : 0);
        };
        assertRefuses(() => check(type, spoil), new RegExp(`${name} holds a NaN or an infinity`), 'adapter_invalid');
      }
    }
  });

  test(`${type}: what could overflow is refused, and zeros of either sign in every lora_B are a warning`, () => {
    const fillWith = (value: readonly number[]) => (_: SafetensorsTensor, bytes: Uint8Array) => {
      for (let at = 0; at < bytes.length; at += value.length) bytes.set(value, at);
    };
    assert.deepEqual(check(type, fillWith(one[type])), []);
    assertRefuses(() => check(type, fillWith(largest[type])), /would overflow/, 'adapter_invalid');
    const minusZero = [...one[type].map(() => 0)];
    minusZero[minusZero.length - 1] = 0x80;
    const warning = ['Every lora_B is zero: the adapter adds nothing.'];
    assert.deepEqual(check(type, fillWith(minusZero)), warning);
    const onlyA = (tensor: SafetensorsTensor, bytes: Uint8Array) => {
      if (/lora_A/.test(tensor.name)) bytes.set(one[type]);
    };
    assert.deepEqual(check(type, onlyA), warning);
  });
}

test('a magnitude is checked too, and zeros in lora_B leave it something to do', () => {
  const name = inLayer(0, 'self_attn.q_proj.lora_magnitude_vector');
  const vectors = [0, 1, 2].map((layer) => [inLayer(layer, 'self_attn.q_proj.lora_magnitude_vector'), [16]]);
  const adapter = readWith({ use_dora: true }, Object.fromEntries(vectors));
  const zeros = (tensor: SafetensorsTensor) => new Uint8Array(tensor.bytes);
  assert.match(checkAdapterValues(adapter, zeros).join(), /beyond its magnitudes/);
  const spoilt = (tensor: SafetensorsTensor) => new Uint8Array(tensor.bytes).fill(tensor.name === name ? 0xff : 0);
  assertRefuses(() => checkAdapterValues(adapter, spoilt), /magnitude_vector holds a NaN/, 'adapter_invalid');
});

test('bytes of another length are a mistake of the program', () => {
  assert.throws(() => checkAdapterValues(readWith({}), () => new Uint8Array(4)), /are not the 256/);
});

const modules = [...modulesByName(tinyShape).values()].flat();
const pairToWrite = (module: PeftModule): fc.Arbitrary<PairToWrite> => {
  const size = linearSize(tinyShape, module.module);
  const floats = (length: number) =>
    fc.float32Array({ minLength: length, maxLength: length, noNaN: true, noDefaultInfinity: true });
  return fc.integer({ min: 1, max: 3 }).chain((r) =>
    fc.record({
      layer: fc.constant(module.layer),
      module: fc.constant(module.module),
      r: fc.constant(r),
      loraA: floats(r * size.in),
      loraB: floats(r * size.out),
      magnitude: floats(size.out),
    }),
  );
};
const pairsToWrite = fc
  .uniqueArray(fc.constantFrom(...modules), { minLength: 1, maxLength: 5 })
  .chain((some) => fc.tuple(...some.map(pairToWrite)));

test('what was written is read back: ranks, scalings, values', () => {
  fc.assert(
    fc.property(pairsToWrite, fc.boolean(), fc.boolean(), (written, useDora, useRslora) => {
      const names = written.map(moduleName);
      const config = {
        ...{ r: 1, lora_alpha: 5, use_dora: useDora, use_rslora: useRslora, target_modules: names },
        rank_pattern: Object.fromEntries(written.map(({ r }, index) => [names[index], r])),
      };
      const pairs: PairToWrite[] = written.map(({ magnitude, ...pair }) =>
        useDora ? { ...pair, magnitude: magnitude! } : pair,
      );
      const files = writePeftAdapter(config, pairs);
      assert.deepEqual(writePeftAdapter(config, pairs.toReversed()).weights, files.weights);
      const weights = parseSafetensorsHeader(files.weights, files.weights.length, 'adapter_invalid')!;
      const adapter = readPeftAdapter(files.config, weights, tinyShape);
      const valuesOf = (tensor: SafetensorsTensor) =>
        pairValues(tensor, files.weights.slice(tensor.offset, tensor.offset + tensor.bytes));
      assert.deepEqual(adapter.warnings, []);
      assert.equal(adapter.pairs.length, pairs.length);
      for (const { layer, module, r, scaling, loraA, loraB, magnitude } of adapter.pairs) {
        const pair = pairs.find((other) => other.layer === layer && other.module === module)!;
        assert.deepEqual([r, scaling], [pair.r, 5 / (useRslora ? Math.sqrt(pair.r) : pair.r)]);
        assert.deepEqual(valuesOf(loraA), Float32Array.from(pair.loraA));
        assert.deepEqual(valuesOf(loraB), Float32Array.from(pair.loraB));
        if (magnitude !== null) assert.deepEqual(valuesOf(magnitude), Float32Array.from(pair.magnitude!));
      }
    }),
    { numRuns: 200 },
  );
});

test('any change of the files is read or refused', () => {
  const names = [0, 1, 2].flatMap((layer) => [
    { name: inLayer(layer, 'self_attn.q_proj.lora_A.weight'), shape: [4, 16] },
    { name: inLayer(layer, 'self_attn.q_proj.lora_B.weight'), shape: [16, 4] },
  ]);
  const weights = writeSafetensors(names.map((tensor) => ({ ...tensor, type: 'F16', bytes: new Uint8Array(128) })));
  const config = new TextEncoder().encode(JSON.stringify({ ...plainConfig, rank_pattern: { 'q_.*': 4 } }));
  const change = fc.record({
    at: fc.nat(),
    to: fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from('{}[]",:0189-.\\ AB'))),
  });
  const changed = (bytes: Uint8Array, changes: readonly { at: number; to: number }[], within: number) => {
    const copy = Uint8Array.from(bytes);
    for (const { at, to } of changes) copy[at % within] = to;
    return copy;
  };
  const headerBytes = weights.length - 6 * 128;
  fc.assert(
    fc.property(fc.array(change, { maxLength: 3 }), fc.array(change, { maxLength: 2 }), (inWeights, inConfig) => {
      const file = changed(weights, inWeights, headerBytes);
      accepts(() => {
        const header = parseSafetensorsHeader(file, file.length, 'adapter_invalid')!;
        const adapter = readPeftAdapter(changed(config, inConfig, config.length), header, tinyShape);
        checkAdapterValues(adapter, ({ offset, bytes }) => file.subarray(offset, offset + bytes));
      });
    }),
    { numRuns: 3000 },
  );
});
