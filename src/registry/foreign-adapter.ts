// Rewrites an upload in another program's layout as PEFT's two files before it is checked. So everything stored can be
// loaded by PEFT, and no other code knows another layout.

import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { ModelShape } from '../core/base-model.ts';
import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { assertPlainJson } from '../core/plain-json.ts';
import { fileKind, kindPrefixBytes } from '../formats/file-kind.ts';
import { type ForeignAdapter, foreignWeights } from '../formats/foreign/foreign-adapter.ts';
import { ggufAdapter } from '../formats/foreign/gguf-adapter.ts';
import { isMlxConfig, mlxAdapter } from '../formats/foreign/mlx-adapter.ts';
import { type GgufBounds, parseGguf } from '../formats/gguf.ts';
import { parseGrowing } from '../formats/growing-prefix.ts';
import { invalidAdapter } from '../formats/refuse-adapter.ts';
import { writePeftConfig } from '../formats/write-peft.ts';
import { configName, weightsName } from '../storage/blob-folder.ts';
import type { Files } from '../storage/files.ts';
import { type Received, receive } from '../storage/receive.ts';
import { readHeader } from './check-adapter.ts';
import type { WeightsReader } from './options.ts';

export type Rewritten = {
  readonly config: Received;
  readonly weights: Received;
  readonly warnings: readonly string[];
  /** Chat template in the file itself; null: none. */
  readonly template: string | null;
};

/**
 * Rewrites both files of a staged folder. @returns null where they are PEFT's already, or of no known layout, which the
 * later check reports. Throws `adapter_invalid`, `adapter_unsupported`.
 */
export async function rewriteForeign(
  files: Files,
  folder: string,
  weightsBytes: number,
  shape: () => ModelShape,
): Promise<Rewritten | null> {
  const path = join(folder, weightsName);
  const weights = await files.open(path);
  try {
    const reader = { bytes: weightsBytes, read: weights.readSync };
    const foreign = recognise(reader, await readConfig(files, folder), shape);
    if (foreign === null) return null;
    const written = join(folder, 'rewritten');
    const received = await write(files, written, paced(foreignWeights(foreign, weights.readSync)));
    await files.rename(written, path);
    await files.remove(join(folder, configName));
    const config = await write(files, join(folder, configName), [writePeftConfig(foreign.config)]);
    return { config, weights: received, warnings: foreign.warnings, template: foreign.template ?? null };
  } finally {
    await weights.close();
  }
}

function recognise(
  weights: WeightsReader,
  config: Readonly<Record<string, unknown>> | null,
  shape: () => ModelShape,
): ForeignAdapter | null {
  if (fileKind(weights.read(0, kindPrefixBytes))?.name === 'gguf') return ggufAdapter(readGguf(weights), shape());
  if (config === null || !isMlxConfig(config)) return null;
  return mlxAdapter(config, readHeader(weights));
}

const bounds: GgufBounds = {
  headerBytes: limits.ggufAdapterHeaderBytes,
  tensors: limits.adapterTensors,
  arrayElements: limits.ggufAdapterArrayElements,
};

function readGguf(weights: WeightsReader) {
  try {
    const prefix = { first: 256 * 1024, most: bounds.headerBytes };
    const read = (bytes: number) => weights.read(0, bytes);
    const file = parseGrowing(read, (start) => parseGguf(start, weights.bytes, bounds), prefix);
    if (file !== null) return file;
  } catch (error) {
    if (error instanceof LorikeetError) invalidAdapter(weightsName, `is refused: ${error.message.replace(/\.$/, '')}`);
    throw error;
  }
  return invalidAdapter(weightsName, 'is a GGUF file without an end of its header');
}

/** null where there is no config, or none that can be read, which the later check reports. */
async function readConfig(files: Files, folder: string): Promise<Readonly<Record<string, unknown>> | null> {
  const path = join(folder, configName);
  if ((await files.stat(path)) === null) return null;
  const file = await files.open(path);
  try {
    const text = new TextDecoder().decode(await file.read(0, limits.adapterConfigBytes));
    assertPlainJson(text, limits);
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof LorikeetError) return null;
    throw error;
  } finally {
    await file.close();
  }
}

/** Yields to the event loop after each tensor. */
async function* paced(chunks: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) {
    yield chunk;
    await setImmediate();
  }
}

async function write(
  files: Files,
  path: string,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<Received> {
  const file = await files.create(path);
  try {
    // Values are only reordered: but for its header the file is as large as the one that came.
    const received = await receive(chunks, file, Number.POSITIVE_INFINITY, neverTooLong);
    await file.sync();
    return received;
  } finally {
    await file.close();
  }
}

function neverTooLong(): never {
  throw new Error('no number is larger than infinity');
}
