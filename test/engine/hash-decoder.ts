// A decoder without arithmetic: the next token is a hash of all tokens in the row's part of the pool. Whatever reads a
// wrong row, a wrong position, what was there before or another adapter gives other tokens.

import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { systemClock } from '../../src/core/clock.ts';
import type { Decoder } from '../../src/engine/decoder.ts';
import { probeRow } from '../../src/engine/kv-cache.ts';
import type { MergedModel } from '../../src/engine/merges/merged-model.ts';
import { markedPool, readSignature } from './adapters/marked-adapters.ts';
import { signatureOfMerged } from './merges/marked-merges.ts';

export type HashDecoder = Decoder & {
  readonly moves: number;
  /** Merged models that are there. */
  readonly merged: number;
};

const nothing = -1;

export function hashDecoder(
  rows: number,
  positions: number,
  vocabulary: number,
  slots = 0,
  onPagesChange = () => {},
): HashDecoder {
  const pages = markedPool(slots, systemClock, onPagesChange);
  const emptyRow = () => new Array<number>(positions).fill(nothing);
  const pool = Array.from({ length: rows }, emptyRow);
  const probing = emptyRow();
  const heldBy = (row: number) => (row === probeRow ? probing : pool[row]!);
  const merges = new Map<MergedModel, number>();
  let moves = 0;
  const unused = () => assert.fail('no keys and values here');
  return {
    vocabulary,
    pages,
    pairsTokens: false,
    isWorkingAside: false,
    forwardTop: null,
    get moves() {
      return moves;
    },
    get merged() {
      return merges.size;
    },
    kv: {
      rows,
      positions,
      bytes: 0,
      use: unused,
      prefixes: null,
      expectGroups: async () => {},
      release() {},
      move(from, to, length) {
        moves++;
        pool[to] = [...pool[from]!.slice(0, length), ...new Array<number>(positions - length).fill(nothing)];
        pool[from]!.fill(nothing);
      },
      swap(one, other, length) {
        moves++;
        const cut = (row: number) => [...pool[row]!.slice(0, length), ...emptyRow().slice(length)];
        [pool[one], pool[other]] = [cut(other), cut(one)];
      },
    },
    async forward({ first, pasts, tokens, sampled, adapters = [], merged = null, aside = false }) {
      // Steps go on meanwhile.
      if (aside) await nextTurn();
      for (const row of adapters) await row?.placement.copied;
      const length = tokens.length / pasts.length;
      for (const [i, past] of pasts.entries()) {
        assert.ok(past + length <= positions, 'past the end of the row');
        for (let t = 0; t < length; t++) heldBy(first + i)[past + t] = tokens[i * length + t]!;
      }
      // The caller may read the logits until it asks for the next ones, as with the real decoder.
      const logits = new Float32Array(sampled.length * vocabulary);
      for (const [i, index] of sampled.entries()) {
        const row = Math.floor(index / length);
        const held = heldBy(first + row).slice(0, pasts[row]! + (index % length) + 1);
        const own = merged === null ? 0 : merges.get(merged);
        assert.ok(own !== undefined, 'a merged model that is not there runs');
        assert.ok(merged === null || (adapters[row] ?? null) === null, 'a merged row has no adapter');
        const signature = own + readSignature(adapters[row] ?? null, pages);
        logits[i * vocabulary + nextToken(held, vocabulary, signature)] = 1;
      }
      return logits;
    },
    prepare: async () => {},
    async addMerged(model) {
      await nextTurn();
      const merged = { id: merges.size };
      merges.set(merged, signatureOfMerged(model));
      return merged;
    },
    async removeMerged(merged) {
      assert.ok(merges.delete(merged), 'it was removed before');
      await nextTurn();
    },
    release: async () => {},
  };
}

/** FNV-1a over the adapters' signature (0 without any) and the tokens. */
export function nextToken(held: readonly number[], vocabulary: number, signature = 0): number {
  assert.ok(Number.isFinite(signature), 'a row reads pages that are not its adapter’s');
  let hash = (0x811c9dc5 ^ Math.imul(signature * 64, 0x9e3779b9)) >>> 0;
  for (const token of held) hash = Math.imul(hash ^ token, 0x01000193) >>> 0;
  return (hash >>> 7) % vocabulary;
}

/** What a prompt gives when nothing else runs, until the context is full. */
export function tokensAlone(prompt: readonly number[], vocabulary: number, positions: number, signature = 0): number[] {
  const tokens = [...prompt];
  while (tokens.length <= positions) tokens.push(nextToken(tokens, vocabulary, signature));
  return tokens.slice(prompt.length);
}
