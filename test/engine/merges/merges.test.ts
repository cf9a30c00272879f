// The life of a merge over a decoder without arithmetic: its events, what it holds, and which sequences run on it.

import assert from 'node:assert/strict';
import test from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type AppliedAdapter, mergeKey } from '../../../src/core/adapter.ts';
import type { MergeEvent } from '../../../src/protocol/messages.ts';
import { type MarkedStoreOptions, marked, markedStore, signatureOf } from '../adapters/marked-adapters.ts';
import { type HashDecoder, hashDecoder, tokensAlone } from '../hash-decoder.ts';
import { tokensOf, type Witness, type WitnessedEngine, type WitnessedMerges, witnessedEngine } from '../witnesses.ts';
import { type MarkedArithmeticOptions, markedArithmetic, markedMergeBytes, mergedMark } from './marked-merges.ts';

const vocabulary = 997;
const positions = 64;
const roomy = 100 * markedMergeBytes;

type Options = WitnessedMerges & {
  readonly rows?: number;
  readonly slots?: number;
  readonly work?: MarkedArithmeticOptions;
  readonly store?: Omit<MarkedStoreOptions, 'clock'>;
};

function open(options: Options = {}): WitnessedEngine & { decoder: HashDecoder } {
  const { rows = 4, slots = 32, work, store, ...merges } = options;
  const decoder = hashDecoder(rows, positions, vocabulary, slots, () => witnessed.wake());
  const witnessed = witnessedEngine(decoder, 64, (clock, onChange) => markedStore({ clock, onChange, ...store }), {
    bytesMax: roomy,
    arithmetic: markedArithmetic(work),
    ...merges,
  });
  return Object.assign(witnessed, { decoder });
}

const request = (adapters: readonly AppliedAdapter[], probes: readonly (readonly number[])[] = []) => ({
  ...{ key: mergeKey(adapters), adapters, bits: null, probes },
});

const states = (events: readonly MergeEvent[]) => [...new Set(events.map(({ state }) => state))];
const last = ({ mergeEvents }: WitnessedEngine) => mergeEvents.at(-1)!;

async function merged(witnessed: WitnessedEngine, adapters: readonly AppliedAdapter[]): Promise<void> {
  witnessed.engine.merge(request(adapters));
  await witnessed.mergesSettled();
  assert.equal(last(witnessed).state, 'merged', JSON.stringify(last(witnessed)));
}

function assertOwn(witness: Witness, isMerged: boolean): void {
  const { promptTokens, adapters } = witness.request;
  const signature = signatureOf(adapters) + (isMerged ? mergedMark : 0);
  const alone = tokensAlone(promptTokens, vocabulary, positions, signature);
  assert.equal(witness.end!.mergedBits, isMerged ? 4 : null);
  assert.deepEqual(tokensOf(witness), alone.slice(0, witness.events.length));
}

test('merging, with growing progress, then merged with its figures; sequences run on it from then on', async () => {
  const witnessed = open();
  const before = witnessed.add([1], { maxTokens: 60 }, [marked(2)]);
  for (let i = 0; i < 3; i++) await witnessed.turn();
  witnessed.engine.merge(request([marked(2)], [[1, 2, 3, 4, 5, 6], [7]]));
  const during = witnessed.add([2], { maxTokens: 5 }, [marked(2)]);
  await witnessed.mergesSettled();
  const { mergeEvents } = witnessed;
  assert.deepEqual(states(mergeEvents), ['merging', 'merged']);
  const progress = mergeEvents.flatMap((event) => (event.state === 'merging' ? event.progress : []));
  assert.ok(progress[0] === 0 && progress.length > 3 && progress.every((share, i) => share >= (progress[i - 1] ?? 0)));
  const event = last(witnessed) as Extract<MergeEvent, { state: 'merged' }>;
  assert.deepEqual([event.bits, event.bytes, event.quality!.positions], [4, markedMergeBytes, 7]);
  const after = witnessed.add([3], { maxTokens: 5 }, [marked(2)]);
  const other = witnessed.add([3], { maxTokens: 5 }, [marked(2, 0.5)]);
  await witnessed.drain();
  // Sequences that had begun stayed on their weights to the end; another scale is another merge.
  for (const witness of [before, during, other]) assertOwn(witness, false);
  assertOwn(after, true);
});

test('on a merge a sequence needs no page and no adapter in memory', async () => {
  const witnessed = open({ slots: 1, store: { bytesMax: 1_000_000 } });
  // The adapter needs sixteen pages, so it could never run otherwise.
  await merged(witnessed, [marked(9)]);
  const large = witnessed.add([1], { maxTokens: 20 }, [marked(9)]);
  const { stats } = await witnessed.step();
  assert.deepEqual([stats.adapters.pagesUsed, stats.merges!.running], [0, 1]);
  await witnessed.drain();
  assertOwn(large, true);
});

test('groups decode beside each other, each row its own tokens, as they come and go', async () => {
  {
    const witnessed = open({ rows: 6 });
    const all = [[marked(1)], [marked(2), marked(3)], [marked(4, 2)]];
    for (const adapters of all) await merged(witnessed, adapters);
    const weights = [...all, [], [marked(5)], ...all, [], ...all];
    for (const [i, adapters] of weights.entries()) witnessed.add([i], { maxTokens: 4 + ((i * 5) % 17) }, adapters);
    await witnessed.drain();
    for (const witness of witnessed.witnesses) {
      assert.equal(witness.end!.reason, 'length');
      assertOwn(witness, all.includes(witness.request.adapters as AppliedAdapter[]));
    }
    await witnessed.settle();
  }
});

test('a budget that is too small is said before anything is computed', async () => {
  let computed = 0;
  const pieces = () => {
    computed++;
    return 1;
  };
  const witnessed = open({ bytesMax: 2 * markedMergeBytes - 1, work: { pieces } });
  await merged(witnessed, [marked(1)]);
  witnessed.engine.merge(request([marked(2)]));
  await witnessed.mergesSettled();
  const event = last(witnessed) as Extract<MergeEvent, { state: 'failed' }>;
  assert.deepEqual([event.state, event.code, computed], ['failed', 'merge_budget_exceeded', 1]);
  assert.match(event.message, /takes 1000 bytes; LORIKEET_MERGE_MEMORY leaves 999/);
  // The budget that an unmerge returns is there for the next merge.
  witnessed.engine.unmerge(mergeKey([marked(1)]));
  await merged(witnessed, [marked(2)]);
});

test('one that fails keeps its code, leaves nothing, and the sequences run mixed', async () => {
  const broken = (key: string) => key === 'sha256:3';
  const witnessed = open({ work: { broken }, store: { broken: (mark) => mark === 5 } });
  for (const [mark, code] of [
    [3, 'adapter_unsupported'],
    [5, 'adapter_corrupt'],
  ] as const) {
    witnessed.engine.merge(request([marked(mark)]));
    await witnessed.mergesSettled();
    const event = last(witnessed) as Extract<MergeEvent, { state: 'failed' }>;
    assert.deepEqual([event.state, event.code], ['failed', code]);
  }
  assert.deepEqual([witnessed.merges.stats.bytes, witnessed.decoder.merged], [0, 0]);
  const witness = witnessed.add([1], { maxTokens: 5 }, [marked(3)]);
  await witnessed.drain();
  assertOwn(witness, false);
  await witnessed.settle();
});

test('unmerged while it serves: no new sequence, gone with the last one, then told', async () => {
  const witnessed = open();
  await merged(witnessed, [marked(1)]);
  const staying = witnessed.add([1], { maxTokens: 30 }, [marked(1)]);
  await witnessed.turn();
  witnessed.engine.unmerge(mergeKey([marked(1)]));
  const later = witnessed.add([2], { maxTokens: 3 }, [marked(1)]);
  while (!later.end) await witnessed.turn();
  assert.deepEqual([last(witnessed).state, witnessed.merges.stats.merged, witnessed.decoder.merged], ['merged', 0, 1]);
  await witnessed.drain();
  await witnessed.settle();
  assert.deepEqual([last(witnessed).state, witnessed.merges.stats.bytes, witnessed.decoder.merged], ['unmerged', 0, 0]);
  assertOwn(staying, true);
  assertOwn(later, false);
});

test('a merge that a device cannot release is gone all the same, and later ones are made', async (t) => {
  t.mock.method(console, 'error', () => {});
  const witnessed = open();
  await merged(witnessed, [marked(1)]);
  t.mock.method(witnessed.decoder, 'removeMerged', () => Promise.reject(new Error('the device is lost')), { times: 1 });
  witnessed.engine.unmerge(mergeKey([marked(1)]));
  await witnessed.mergesSettled();
  assert.equal(last(witnessed).state, 'unmerged');
  await merged(witnessed, [marked(2)]);
});

test('asked for again while it goes, it waits for that and is made anew', async () => {
  const witnessed = open();
  const key = mergeKey([marked(1)]);
  await merged(witnessed, [marked(1)]);
  const staying = witnessed.add([1], { maxTokens: 12 }, [marked(1)]);
  await witnessed.turn();
  witnessed.engine.unmerge(key);
  witnessed.engine.merge(request([marked(1)]));
  for (let i = 0; i < 5; i++) await witnessed.turn();
  assert.equal(witnessed.merges.ready(key), null);
  await witnessed.drain();
  await witnessed.settle();
  assertOwn(staying, true);
  const told = witnessed.mergeEvents.map(({ state }) => state).filter((state, i, all) => state !== all[i - 1]);
  assert.deepEqual(told, ['merging', 'merged', 'unmerged', 'merging', 'merged']);
  // Unmerged once more: the merge that waits for the end is given up.
  const again = witnessed.add([1], { maxTokens: 12 }, [marked(1)]);
  await witnessed.turn();
  witnessed.engine.unmerge(key);
  witnessed.engine.merge(request([marked(1)]));
  witnessed.engine.unmerge(key);
  await witnessed.drain();
  await witnessed.settle();
  assertOwn(again, true);
  assert.deepEqual([last(witnessed).state, witnessed.decoder.merged], ['unmerged', 0]);
});

test('an unmerge at any stage of a merge leaves nothing', async () => {
  const seen = new Set<string>();
  for (let turns = 0; turns < 40; turns++) {
    const witnessed = open({ store: { turns: () => 4 }, work: { pieces: () => 5 } });
    const row = witnessed.add([1], { maxTokens: 40 });
    witnessed.engine.merge(
      request(
        [marked(1)],
        [
          [1, 2, 3, 4],
          [5, 6, 7],
        ],
      ),
    );
    for (let i = 0; i < turns; i++) await witnessed.turn();
    const told = last(witnessed);
    seen.add(told.state === 'merging' ? `merging ${told.progress}` : told.state);
    witnessed.engine.unmerge(mergeKey([marked(1)]));
    await witnessed.mergesSettled();
    assert.equal(last(witnessed).state, 'unmerged');
    assert.deepEqual([witnessed.merges.stats, witnessed.decoder.merged], [{ merged: 0, bytes: 0, running: 0 }, 0]);
    await witnessed.drain();
    await witnessed.settle();
    assertOwn(row, false);
  }
  assert.ok(seen.size > 5 && seen.has('merged') && seen.has('merging 0') && seen.has('merging 0.9'), [...seen].join());
});

test('what is there already is told again; what is not there is unmerged at once', async () => {
  const witnessed = open();
  await merged(witnessed, [marked(1)]);
  const count = witnessed.mergeEvents.length;
  witnessed.engine.merge(request([marked(1)]));
  assert.deepEqual([witnessed.mergeEvents.length, last(witnessed)], [count + 1, witnessed.mergeEvents[count - 1]]);
  witnessed.engine.unmerge('nothing');
  assert.deepEqual(last(witnessed), { key: 'nothing', state: 'unmerged' });
});

test('rows decode on while an adapter is merged and compared: a token in every step', async () => {
  const witnessed = open({ work: { pieces: () => 30 } });
  const row = witnessed.add([1], { maxTokens: 1000 });
  await witnessed.step();
  witnessed.engine.merge(request([marked(1)], [Array.from({ length: 30 }, (_, i) => i)]));
  let steps = 0;
  for (; witnessed.merges.isWorking && !row.end; steps++) {
    const { tokens } = await witnessed.step();
    assert.equal(tokens.length, 1);
    await nextTurn();
  }
  assert.ok(steps > 30, `${steps} steps`);
  await witnessed.drain();
  assertOwn(row, false);
});

test('aborted on a merge, waiting for one, and on one that goes', async () => {
  const witnessed = open({ rows: 1 });
  await merged(witnessed, [marked(1)]);
  const running = witnessed.add([1], { maxTokens: 60 }, [marked(1)]);
  const waiting = witnessed.add([2], { maxTokens: 60 }, [marked(1)]);
  await witnessed.turn();
  witnessed.engine.abort(waiting.request.id);
  await witnessed.turn();
  witnessed.engine.unmerge(mergeKey([marked(1)]));
  witnessed.engine.abort(running.request.id);
  await witnessed.turn();
  assert.deepEqual([running.end!.reason, waiting.end!.reason], ['abort', 'abort']);
  await witnessed.settle();
  assert.deepEqual([last(witnessed).state, witnessed.decoder.merged], ['unmerged', 0]);
});

test('on a merge whose values overflow a sequence ends, and nobody else', async () => {
  const witnessed = open();
  await merged(witnessed, [marked(1)]);
  const { logitsOf } = witnessed.decoder;
  Object.assign(witnessed.decoder, {
    logitsOf: async (...asked: Parameters<typeof logitsOf>) => {
      const logits = await logitsOf(...asked);
      if (asked[0].merged) for (const row of logits.rows as Float32Array[]) row.fill(Number.NaN);
      return logits;
    },
  });
  const other = witnessed.add([2], { maxTokens: 8 });
  const culprit = witnessed.add([1], { maxTokens: 8 }, [marked(1)]);
  await witnessed.drain();
  assert.deepEqual([culprit.end!.error!.code, other.end!.reason], ['adapter_invalid', 'length']);
  await witnessed.settle();
});
