// Opens a base model in safetensors files (one or several shards) with the config.json beside them.

import type { BaseModel, ModelFiles, RawTensor, TensorType } from '../core/base-model.ts';
import { LorikeetError } from '../core/errors.ts';
import { parseGrowing } from '../formats/growing-prefix.ts';
import { parseSafetensorsHeader, type SafetensorsFile, safetensorsPrefix } from '../formats/safetensors.ts';
import { configShape } from './config-shape.ts';
import { unsupported } from './fields.ts';
import { matchTensors } from './match-tensors.ts';
import { readSidecar } from './read-sidecar.ts';
import { type WeightFile, weightFile } from './weight-file.ts';

/** Buffers in old checkpoints that follow from the shape. */
const derived = /\.(rotary_emb\.inv_freq|attn\.(bias|masked_bias))$/;

export function openSafetensors(files: ModelFiles): BaseModel {
  const found = new Map<string, RawTensor>();
  for (const path of files.weights) {
    const file = weightFile(path);
    for (const { name, type, shape, offset, bytes } of readHeader(file).tensors) {
      if (derived.test(name)) continue;
      if (found.has(name)) invalid(`tensor ${JSON.stringify(name)} is in two shards`);
      const read = () => file.read(offset, offset + bytes);
      found.set(name, { name, type: weightType(name, type), shape, bytes: read });
    }
  }
  const config = readSidecar(files, 'config.json');
  if (config === null) invalid('config.json is missing');
  const shape = configShape(config, found.has('lm_head.weight'));
  if (shape.tiedEmbedding) found.delete('lm_head.weight');
  checkIndex(files, found);
  return { shape, tensors: matchTensors(shape, found, (spec) => spec.name) };
}

function readHeader(file: WeightFile): SafetensorsFile {
  const read = (bytes: number) => file.read(0, bytes);
  const header = parseGrowing(read, (prefix) => parseSafetensorsHeader(prefix, file.bytes), safetensorsPrefix);
  return header ?? invalid(`${file.path} has no header`);
}

function weightType(name: string, type: string): TensorType {
  if (type === 'F32' || type === 'F16' || type === 'BF16') return type;
  return unsupported(`tensor ${JSON.stringify(name)} is of type ${type}; F32, F16 and BF16 are read`);
}

/**
 * Checks that all tensors of the shard index are in the shards: otherwise a shard is missing or belongs to another
 * model.
 */
function checkIndex(files: ModelFiles, found: ReadonlyMap<string, RawTensor>): void {
  const index = readSidecar(files, 'model.safetensors.index.json');
  if (index === null) return;
  const names = Object.keys((index.weight_map as Record<string, string>) ?? {});
  const absent = names.find((name) => !found.has(name) && !derived.test(name) && name !== 'lm_head.weight');
  if (absent !== undefined) invalid(`tensor ${JSON.stringify(absent)} of the shard index is in no shard`);
}

function invalid(reason: string): never {
  throw new LorikeetError('model_file_invalid', { message: `Invalid safetensors model: ${reason}.` });
}
