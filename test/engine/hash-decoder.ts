// A decoder without arithmetic: the next token is a hash of all tokens in the row's part of the pool. A run that reads
// a wrong row, a wrong position, stale contents or another adapter gives other tokens.

import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { systemClock } from '../../src/core/clock.ts';
import { kvBlock } from '../../src/core/page-sizes.ts';
import { probeRow } from '../../src/engine/kv/kv-cache.ts';
import { rowsOf } from '../../src/engine/runner/block-compute.ts';
import type { Decoder } from '../../src/engine/runner/decoder.ts';
import type { MergedModel } from '../../src/engine/runner/merged-model.ts';
import { markedPool, readSignature } from './adapters/marked-adapters.ts';
import { signatureOfMerged } from './merges/marked-merges.ts';

export type HashDecoder = Decoder & {
  readonly pages: ReturnType<typeof markedPool>;
  /** Number of merged models that exist. */
  readonly merged: number;
};

/** @param room tokens that all rows may hold together, in whole blocks; no bound by default */
export function hashDecoder(
  rows: number,
  positions: number,
  vocabulary: number,
  slots = 0,
  onPagesChange = () => {},
  room = Number.POSITIVE_INFINITY,
): HashDecoder {
  const pages = markedPool(slots, systemClock, onPagesChange);
  /** For each row its tokens; empty for a row that no sequence has. */
  const pool = Array.from({ length: rows }, (): number[] => []);
  const probing: number[] = [];
  const reserved = new Array<number>(rows).fill(0);
  const heldBy = (row: number) => (row === probeRow ? probing : pool[row]!);
  const inBlocks = (tokens: number) => Math.ceil(tokens / kvBlock) * kvBlock;
  const taken = () => reserved.reduce((sum, tokens) => sum + tokens, 0);
  const merges = new Map<MergedModel, number>();
  const unused = () => assert.fail('no keys and values here');
  const forward: Decoder['forward'] = async ({ parts, merged = null, result = 'logits', aside = false }) => {
    // Steps go on while it runs.
    if (aside) await nextTurn();
    for (const { adapter } of parts) await adapter?.placement.copied;
    const own = merged === null ? 0 : merges.get(merged);
    assert.ok(own !== undefined, 'a merged model that is not there runs');
    assert.equal(new Set(parts.map(({ row }) => row)).size, parts.length, 'a row is there twice');
    const rows: Float32Array[] = [];
    for (const { row, past, to, tokens, sampled, adapter } of parts) {
      const held = heldBy(row);
      if (past === 0) held.length = 0;
      assert.equal(held.length, past, 'a row does not hold what it should');
      assert.ok(to <= positions && to > past, 'past the end of the row');
      if (row !== probeRow) assert.ok(to <= reserved[row]!, 'no room was made for the tokens');
      held.push(...tokens.slice(past, to));
      assert.ok(merged === null || adapter === null, 'a merged row has no adapter');
      const signature = own + readSignature(adapter, pages);
      for (const position of sampled) {
        if (result === 'hidden') {
          rows.push(hiddenRow(held.slice(0, position + 1), vocabulary, signature));
          continue;
        }
        const logits = new Float32Array(vocabulary);
        logits[nextToken(held.slice(0, position + 1), vocabulary, signature)] = 1;
        rows.push(logits);
      }
    }
    // The caller may read the logits until it asks for the next ones, as with the real decoder.
    const width = result === 'hidden' ? hiddenRow([], vocabulary).length : vocabulary;
    const all = new Float32Array(rows.length * width);
    for (const [i, row] of rows.entries()) all.set(row, i * width);
    return all;
  };
  return {
    vocabulary,
    pages,
    isWorkingAside: false,
    get merged() {
      return merges.size;
    },
    kv: {
      rows,
      positions,
      bytes: 0,
      blockTokens: kvBlock,
      blocks: Math.min(room, rows * inBlocks(positions)) / kvBlock,
      use: unused,
      ...{ prefixes: null, write: null },
      expectGroups: async () => {},
      release() {},
      hasRoom: (tokens, rows) => taken() + inBlocks(tokens) + rows * kvBlock <= room,
      reserve(row, length) {
        const more = Math.max(0, inBlocks(length) - reserved[row]!);
        if (taken() + more > room) return false;
        reserved[row]! += more;
        return true;
      },
      clear(row) {
        pool[row]!.length = 0;
        reserved[row] = 0;
      },
      get usage() {
        return Number.isFinite(room) ? taken() / room : taken() / (rows * inBlocks(positions));
      },
    },
    forward,
    logitsOf: async (batch) => rowsOf(await forward(batch), vocabulary),
    prepare: async () => {},
    async addMerged(model, embedding = []) {
      await nextTurn();
      const merged = { id: merges.size, embedding };
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

/** The decoder with another `forward`, whose logits tokens are chosen from. */
export function overForward<D extends Decoder>(decoder: D, forward: Decoder['forward']): D {
  return { ...decoder, forward, logitsOf: async (batch) => rowsOf(await forward(batch), decoder.vocabulary) };
}

/** FNV-1a over the adapters' signature (0 without any) and the tokens. */
export function nextToken(held: readonly number[], vocabulary: number, signature = 0): number {
  assert.ok(Number.isFinite(signature), 'a row reads pages that are not its adapter’s');
  let hash = (0x811c9dc5 ^ Math.imul(signature * 64, 0x9e3779b9)) >>> 0;
  for (const token of held) hash = Math.imul(hash ^ token, 0x01000193) >>> 0;
  return (hash >>> 7) % vocabulary;
}

/** The hidden row of the last token that is held. */
export const hiddenRow = (held: readonly number[], vocabulary: number, signature = 0): Float32Array =>
  Float32Array.of(nextToken(held, vocabulary, signature), held.length, 1);

/** The tokens that a prompt gives when nothing else runs, until the context is full. */
export function tokensAlone(prompt: readonly number[], vocabulary: number, positions: number, signature = 0): number[] {
  const tokens = [...prompt];
  while (tokens.length <= positions) tokens.push(nextToken(tokens, vocabulary, signature));
  return tokens.slice(prompt.length);
}
