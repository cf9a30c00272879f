// When runs are recorded, replayed and started anew; a replay reads what JavaScript's memory holds at that time.

import assert from 'node:assert/strict';
import test from 'node:test';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import { type Recorder, RecordingShelf, Recordings } from '../../src/runtime/recordings.ts';

// Tensors are ONNX Runtime's; the card is a stand-in.
const { tensor } = createOnnxRuntime({ library: null, threads: 1, spin: false });

function opened({ fails = false, isFull = false, most = 8 } = {}) {
  const log: string[] = [];
  let [memories, recorded] = [0, 0];
  const recorder: Recorder = {
    async record(_run, { inputs, outputs }) {
      if (fails) throw new Error('it waits for the card');
      log.push(`record ${inputs[0]}`);
      outputs[0] = inputs[0]!;
      return BigInt(++recorded);
    },
    async replay(recording, { inputs, outputs }) {
      log.push(`replay ${recording} ${inputs[0]}`);
      outputs[0] = inputs[0]!;
    },
    forget: (recording) => void log.push(`forget ${recording}`),
  };
  const shelf = new RecordingShelf(
    recorder,
    (placed) => {
      if (isFull) throw new Error('out of memory');
      memories++;
      return {
        address: 0x1000n,
        bind: () => void log.push(`bind ${placed.map(({ name }) => name)}`),
        release: () => void memories--,
      };
    },
    (message) => log.push(message),
    { runsBefore: 2, most },
  );
  const run = (recordings: Recordings, tied: Parameters<Recordings['run']>[1], version = 1) =>
    recordings.run({ session: 1n, binding: 2n, version }, tied, () => log.push('rebind'));
  return { log, shelf, run, memories: () => memories };
}

const tie = (data: Int32Array<ArrayBuffer>, as: 'input' | 'host' | 'output' = 'input') => ({
  tensor: tensor(data, [data.length]),
  as,
});

test('the third run of a kind is recorded, and those after it replayed with what the memory then holds', async () => {
  const { log, shelf, run, memories } = opened();
  const recordings = new Recordings(shelf);
  const [tokens, length, chosen] = [new Int32Array(2), new Int32Array(1), new Int32Array(1)];
  const tied = new Map([
    ['tokens', tie(tokens)],
    ['length', tie(length, 'host')],
    ['chosen', tie(chosen, 'output')],
  ]);
  const runs = [];
  for (let i = 0; i < 5; i++) {
    tokens[0] = i;
    runs.push(await run(recordings, tied));
    assert.equal(chosen[0], i < 2 ? 0 : i);
  }
  assert.deepEqual(runs, [false, false, true, true, true]);
  assert.deepEqual(log.splice(0), ['bind tokens,chosen', 'record 2', 'rebind', 'replay 1 3', 'replay 1 4']);
  recordings.forget();
  assert.deepEqual(log.splice(0), ['forget 1']);
  assert.equal(memories(), 0);
});

test('other kinds of runs come between and nothing is recorded anew: lengths, sizes, and back', async () => {
  const { log, shelf, run, memories } = opened();
  const recordings = new Recordings(shelf);
  const length = new Int32Array(1);
  const tied = new Map([
    ['tokens', tie(new Int32Array(2))],
    ['length', tie(length, 'host')],
  ]);
  const wider = new Map([...tied, ['tokens', tie(new Int32Array(4))] as const]);
  for (let i = 0; i < 3; i++) await run(recordings, tied);
  length[0] = 1;
  for (let i = 0; i < 3; i++) await run(recordings, tied);
  for (let i = 0; i < 3; i++) await run(recordings, wider);
  assert.equal(memories(), 3);
  log.splice(0);
  for (let i = 0; i < 4; i++) {
    length[0] = i % 2;
    assert.equal(await run(recordings, tied), true);
  }
  length[0] = 1;
  // Another tensor of the same shape is read from its own memory.
  const elsewhere = new Int32Array(4).fill(9);
  assert.equal(await run(recordings, new Map([...wider, ['tokens', tie(elsewhere)] as const])), true);
  assert.deepEqual(log, ['replay 1 0', 'replay 2 0', 'replay 1 0', 'replay 2 0', 'replay 3 9']);
  // Other memory of the card is tied, so the recording cannot be used: it reads what it read.
  assert.equal(await run(recordings, tied, 2), false);
  recordings.forget();
  assert.equal(memories(), 0);
});

test('few are kept, of all bindings; the oldest goes, and has to come as often again', async () => {
  const { log, shelf, run, memories } = opened({ most: 2 });
  const tied = new Map([['tokens', tie(new Int32Array(1))]]);
  const bindings = [1, 2, 3].map(() => new Recordings(shelf));
  for (const recordings of bindings.slice(0, 2)) for (let i = 0; i < 3; i++) await run(recordings, tied);
  await run(bindings[0]!, tied);
  for (let i = 0; i < 3; i++) await run(bindings[2]!, tied);
  assert.equal(memories(), 2);
  assert.deepEqual(
    log.filter((line) => line.startsWith('forget')),
    ['forget 2'],
  );
  assert.equal(await run(bindings[0]!, tied), true);
  const again = [];
  for (let i = 0; i < 3; i++) again.push(await run(bindings[1]!, tied));
  assert.deepEqual(again, [false, false, true]);
  assert.equal(memories(), 2);
  for (const recordings of bindings) recordings.forget();
  assert.equal(memories(), 0);
});

test('what cannot be recorded runs as before, and nobody tries again', async () => {
  const { log, shelf, run, memories } = opened({ fails: true });
  const recordings = new Recordings(shelf);
  const tied = new Map([['tokens', tie(new Int32Array(1))]]);
  const runs = [];
  for (let i = 0; i < 5; i++) runs.push(await run(recordings, tied));
  assert.deepEqual(runs, [false, false, false, false, false]);
  assert.deepEqual(log, [
    'bind tokens',
    'steps are not recorded on the card, which is slower: it waits for the card',
    'rebind',
  ]);
  assert.equal(memories(), 0);
});

test('a card without memory for what a recording exchanges runs as before', async () => {
  const { log, shelf, run, memories } = opened({ isFull: true });
  const recordings = new Recordings(shelf);
  const tied = new Map([['tokens', tie(new Int32Array(1))]]);
  const runs = [];
  for (let i = 0; i < 5; i++) runs.push(await run(recordings, tied));
  assert.deepEqual(runs, [false, false, false, false, false]);
  assert.deepEqual(log, ['steps are not recorded on the card, which is slower: out of memory']);
  assert.equal(memories(), 0);
});
