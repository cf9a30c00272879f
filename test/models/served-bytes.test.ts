import assert from 'node:assert/strict';
import test from 'node:test';
import { roundsFloats, servedBytes } from '../../src/models/served-bytes.ts';
import { tinyLowered, tinyModel } from '../helpers/tiny-lowered.ts';
import { tinyModels } from '../helpers/tiny-models.ts';

for (const name of tinyModels) {
  for (const bits of [null, 4, 8, 16, 32] as const) {
    test(`${name} at ${bits ?? 'its own'} bits takes what its headers say`, async () => {
      const [model, lowered] = [await tinyModel(name), await tinyLowered(name, bits)];
      const bytes = [...lowered.weights.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
      // The estimate is not exact: joined rows take the wider of their widths, and scales that no half float holds take
      // twice as much.
      const share = servedBytes(model, bits) / bytes;
      assert.ok(share > 0.8 && share < 1.25, `${share}`);
    });
  }
}

test('floats are rounded where nobody says how many bits they shall have', async () => {
  const [floats, codes] = [await tinyModel('llama'), await tinyModel('llama-gguf')];
  assert.deepEqual(
    [null, 8, 16, 32].map((bits) => roundsFloats(floats, bits as 8 | 16 | 32 | null)),
    [true, false, false, false],
  );
  const quantised = new Map([...codes.tensors].filter(([, { type }]) => type.startsWith('Q')));
  assert.equal(roundsFloats({ ...codes, tensors: quantised }, null), false);
});
