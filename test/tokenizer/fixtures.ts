// The files that make-tokenizer-fixtures.py writes.

import { readFileSync } from 'node:fs';
import type { ChatMessage } from '../../src/tokenizer/tokenizer.ts';

/** Ids, their text without control tokens, and their text with them. */
export type DecodedRow = readonly [tokens: number[], text: string, textWithSpecial: string];

/** tokenizer.json without its model, and the results of Python's tokenizers for the chosen strings. */
export type Variant = {
  readonly parts: Readonly<Record<string, unknown>>;
  readonly encoded: readonly string[];
  readonly decoded: readonly DecodedRow[];
};

type Pieces = { readonly tokens: string[]; readonly scores: number[]; readonly types: number[] };

export type SmallFixture = {
  readonly chosen: readonly number[];
  readonly chatml: string;
  readonly bytes: { readonly vocab: Readonly<Record<string, number>>; readonly merges: readonly [string, string][] };
  readonly pieces: Pieces;
  readonly gemmaPieces: Pieces;
  readonly byteVariants: Readonly<Record<string, Variant>>;
  readonly pieceVariants: Readonly<Record<string, Variant>>;
};

export type RealFixture = {
  readonly encoded: readonly string[];
  readonly chats: readonly [messages: ChatMessage[], addGenerationPrompt: boolean, tokens: string][];
  readonly decoded: readonly DecodedRow[];
};

const lines = (name: string): unknown[] =>
  readFileSync(new URL(`../fixtures/tokenizer/${name}`, import.meta.url), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

export const corpus = lines('corpus.jsonl') as string[];
export const readSmall = () => Object.fromEntries(lines('small.jsonl') as [string, unknown][]) as SmallFixture;
export const readReal = () => Object.fromEntries(lines('smollm2.jsonl') as [string, unknown][]) as RealFixture;

/** Decodes ids from base64 of little-endian 16-bit numbers. */
export function unpack(packed: string): number[] {
  const bytes = Buffer.from(packed, 'base64');
  return Array.from({ length: bytes.length / 2 }, (_, index) => bytes.readUInt16LE(2 * index));
}
