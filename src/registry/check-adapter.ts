// Checks whether an uploaded adapter can be served: header and config against the base model, then every number.

import { setImmediate } from 'node:timers/promises';
import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { checkAdapterValues, checkEmbeddingPair, checkTokenRows, finiteMagnitude } from '../formats/adapter-values.ts';
import { fileKind, kindPrefixBytes } from '../formats/file-kind.ts';
import { parseGrowing } from '../formats/growing-prefix.ts';
import { readPeftAdapter, rowsOf } from '../formats/peft-adapter.ts';
import type { PeftEmbedding } from '../formats/peft-embedding.ts';
import { type PeftVirtualTokens, readVirtualTokens } from '../formats/peft-virtual-tokens.ts';
import { invalidAdapter, weightsFile } from '../formats/refuse-adapter.ts';
import {
  parseSafetensorsHeader,
  type SafetensorsFile,
  type SafetensorsTensor,
  safetensorsPrefix,
} from '../formats/safetensors.ts';
import type { AdapterCheck, RunningBase, WeightsReader } from './options.ts';

/** Reads one pair at a time and yields to the event loop in between, on which other requests wait. */
export const checkAdapter: AdapterCheck = async (config, weights, base) => {
  const header = readHeader(weights);
  const virtual = readVirtualTokens(config, header, base.shape(), base.name);
  if (virtual !== null) return await checkVirtualTokens(virtual, weights);
  const adapter = readPeftAdapter(config, header, base.shape(), base.name);
  refuseRank(adapter.linearRanks, base);
  const bytesOf = ({ offset, bytes }: SafetensorsTensor) => weights.read(offset, bytes);
  const warnings = new Set<string>();
  let clean = 0;
  for (const pair of adapter.pairs) {
    const found = checkAdapterValues({ ...adapter, pairs: [pair] }, bytesOf);
    for (const warning of found) warnings.add(warning);
    if (found.length === 0) clean++;
    await setImmediate();
  }
  const changes = await checkEmbedding(adapter.embedding, bytesOf);
  // Warnings about values hold only if every pair has them: one pair that is not zero is enough.
  const { r, parameters, targetModules } = adapter;
  return { r, parameters, targetModules, warnings: [...adapter.warnings, ...(clean > 0 || changes ? [] : warnings)] };
};

/** Whether the adapter changes the embedding or rows of the head. */
async function checkEmbedding(embedding: PeftEmbedding, bytesOf: (tensor: SafetensorsTensor) => Uint8Array) {
  const { pair, tokens, headTokens } = embedding;
  if (pair !== null) {
    checkEmbeddingPair(pair, bytesOf);
    await setImmediate();
  }
  for (const { rows } of new Set([tokens, headTokens].filter((own) => own !== null))) {
    checkTokenRows(rows, bytesOf(rows));
    await setImmediate();
  }
  return (pair ?? tokens ?? headTokens) !== null;
}

async function checkVirtualTokens({ tensor, count, width, warnings }: PeftVirtualTokens, weights: WeightsReader) {
  for (let first = 0; first < count; first++) {
    const row = rowsOf(tensor, { first, count: 1 });
    finiteMagnitude(row, weights.read(row.offset, row.bytes));
    if (first % rowsAtOnce === 0) await setImmediate();
  }
  return { r: 0, parameters: count * width, targetModules: [], virtualTokens: count, warnings };
}

const rowsAtOnce = 16;

/** Refuses a rank above the engine's, with which even the first request could not run. */
function refuseRank(r: number, { rankMax }: RunningBase): void {
  const most = rankMax?.() ?? limits.adapterRank;
  if (r <= most) return;
  const message = `The adapter has rank ${r}; the engine's pages hold ${most} (LORIKEET_ADAPTER_PAGES).`;
  throw new LorikeetError('adapter_too_large', { message });
}

/** Throws `adapter_invalid`, which names the kind of file where it is another one. */
export function readHeader(weights: WeightsReader): SafetensorsFile {
  const kind = fileKind(weights.read(0, kindPrefixBytes));
  if (kind !== null) invalidAdapter(weightsFile, kind.says);
  const parse = (prefix: Uint8Array) => parseSafetensorsHeader(prefix, weights.bytes, 'adapter_invalid');
  try {
    const header = parseGrowing((bytes) => weights.read(0, bytes), parse, safetensorsPrefix);
    return header ?? invalidAdapter(weightsFile, 'has no header');
  } catch (error) {
    if (!(error instanceof LorikeetError)) throw error;
    throw new LorikeetError(error.code, { message: error.message, param: weightsFile, cause: error });
  }
}
