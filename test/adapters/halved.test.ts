import assert from 'node:assert/strict';
import { test } from 'node:test';
import { halved } from '../../adapters/halved.ts';
import { pairValues } from '../../src/formats/adapter-values.ts';
import { parseSafetensorsHeader } from '../../src/formats/safetensors.ts';
import { writePeftAdapter } from '../../src/formats/write-peft.ts';

test('every value is rounded to float16, names and shapes stay, and the base has its public name', () => {
  const values = Float32Array.from({ length: 24 }, (_, i) => Math.sin(i) / 7);
  const pair = { layer: 0, module: 'q_proj', r: 2, loraA: values, loraB: values.slice(4) } as const;
  const trained = writePeftAdapter({ r: 2, base_model_name_or_path: 'local' }, [pair]);
  const { config, weights } = halved(trained);
  const read = (file: Uint8Array) =>
    parseSafetensorsHeader(file, file.length)!.tensors.map((tensor) => ({
      ...{ name: tensor.name, shape: tensor.shape, type: tensor.type },
      values: pairValues(tensor, file.subarray(tensor.offset, tensor.offset + tensor.bytes)),
    }));
  const rounded = read(trained.weights).map((tensor) => ({
    ...tensor,
    type: 'F16',
    values: new Float32Array(new Float16Array(tensor.values)),
  }));
  assert.deepEqual(read(weights), rounded);
  const before = JSON.parse(new TextDecoder().decode(trained.config));
  const after = JSON.parse(new TextDecoder().decode(config));
  assert.deepEqual(after, { ...before, base_model_name_or_path: 'HuggingFaceTB/SmolLM2-135M-Instruct' });
});
