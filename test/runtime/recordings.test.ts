// When runs are recorded, replayed and run anew; what a recording reads is what JavaScript's memory holds at that time.

import assert from 'node:assert/strict';
import test from 'node:test';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import { type Recorder, Recordings } from '../../src/runtime/recordings.ts';

// Tensors are ONNX Runtime's; the card is not there.
const { tensor } = createOnnxRuntime({ library: null, threads: 1, spin: false });

function opened(fails = false) {
  const log: string[] = [];
  let memories = 0;
  const recorder: Recorder = {
    async record(_run, { inputs, outputs }) {
      if (fails) throw new Error('it waits for the card');
      log.push(`record ${inputs[0]}`);
      outputs[0] = inputs[0]!;
      return 7n;
    },
    async replay(recording, { inputs, outputs }) {
      log.push(`replay ${recording} ${inputs[0]}`);
      outputs[0] = inputs[0]!;
    },
    forget: (recording) => void log.push(`forget ${recording}`),
  };
  const recordings = new Recordings(
    recorder,
    (placed) => {
      memories++;
      return {
        address: 0x1000n,
        bind: () => void log.push(`bind ${placed.map(({ name }) => name)}`),
        release: () => void memories--,
      };
    },
    (message) => log.push(message),
  );
  return { log, recordings, memories: () => memories };
}

const tie = (data: Int32Array<ArrayBuffer>, as: 'input' | 'host' | 'output' = 'input') => ({
  tensor: tensor(data, [data.length]),
  as,
});

test('the third run of a kind is recorded, and those after it replayed with what the memory then holds', async () => {
  const { log, recordings, memories } = opened();
  const [tokens, length, chosen] = [new Int32Array(2), new Int32Array(1), new Int32Array(1)];
  const tied = new Map([
    ['tokens', tie(tokens)],
    ['length', tie(length, 'host')],
    ['chosen', tie(chosen, 'output')],
  ]);
  const run = (version: number) =>
    recordings.run({ session: 1n, binding: 2n, version }, tied, () => log.push('rebind'));
  const runs = [];
  for (let i = 0; i < 5; i++) {
    tokens[0] = i;
    runs.push(await run(1));
    assert.equal(chosen[0], i < 2 ? 0 : i);
  }
  assert.deepEqual(runs, [false, false, true, true, true]);
  assert.deepEqual(log.splice(0), ['bind tokens,chosen', 'record 2', 'replay 7 3', 'replay 7 4']);

  length[0] = 1;
  assert.equal(await run(1), false);
  assert.deepEqual(log.splice(0), ['rebind', 'forget 7']);
  assert.equal(memories(), 0);
  assert.equal(await run(1), false);
  assert.equal(await run(1), true);
  assert.equal(await run(2), false);
  assert.deepEqual(log.splice(0), ['bind tokens,chosen', 'record 4', 'rebind', 'forget 7']);
  recordings.forget();
  assert.equal(memories(), 0);
});

test('what cannot be recorded runs as before, and nobody tries again', async () => {
  const { log, recordings, memories } = opened(true);
  const tied = new Map([['tokens', tie(new Int32Array(1))]]);
  const runs = [];
  for (let i = 0; i < 5; i++) {
    runs.push(await recordings.run({ session: 1n, binding: 2n, version: 1 }, tied, () => log.push('rebind')));
  }
  assert.deepEqual(runs, [false, false, false, false, false]);
  assert.deepEqual(log, [
    'bind tokens',
    'rebind',
    'steps are not recorded on the card, which is slower: it waits for the card',
  ]);
  assert.equal(memories(), 0);
});
