// Exports a base model's GGUF file with an adapter merged in, for llama.cpp. Tensors that the adapter does not touch
// keep the base's own packed bytes, which is exact and smaller than floats. Merged weights become floats: packing them
// again would round away much of the adapter, whose changes are smaller than a 4-bit step. With `unpacked` all matrices
// become floats, for programs that pack them by themselves or compute without rounding.

import { LorikeetError } from '../core/errors.ts';
import type { GgufFile, GgufTensor } from '../formats/gguf.ts';
import { elementCount, tensorBytes } from '../formats/tensor-bytes.ts';
import { unpairedRow } from '../formats/unpair-rows.ts';
import { type GgufTensorHead, ggufText, layOutGguf } from '../formats/write-gguf.ts';
import { openGguf } from '../models/open-gguf.ts';
import { readGguf } from '../models/read-gguf.ts';
import { tensorSpecs } from '../models/tensor-specs.ts';
import { type WeightFile, weightFile } from '../models/weight-file.ts';
import type { OfflineWork } from '../protocol/offline-messages.ts';
import type { Exported } from './exported.ts';
import { mergedWeight } from './merged-weight.ts';
import { readAdapter } from './read-adapter.ts';

type ExportWork = Extract<OfflineWork, { kind: 'export' }>;
/** A tensor of the new file, with a function that makes its data. */
type Planned = GgufTensorHead & { chunks(): Iterable<Uint8Array> };

/** Throws `unsupported_parameter` for a base that is not in GGUF, and the adapter's own errors. */
export function exportGguf({
  model,
  adapter: files,
  dtype,
  unpacked,
  name,
  chatTemplate = null,
}: ExportWork): Exported {
  if (model.kind !== 'gguf') {
    const message =
      'The base model came as safetensors: what GGUF must say of its tokeniser is not there to be copied.';
    throw new LorikeetError('unsupported_parameter', { message: `${message} Ask for safetensors.`, param: 'format' });
  }
  const path = model.weights[0]!;
  const file = weightFile(path);
  const base = readGguf(path, file);
  const { shape, tensors } = openGguf(path);
  const adapter = readAdapter(files, shape);
  const specs = new Map(tensorSpecs(shape).map((spec) => [spec.gguf, spec]));

  const inFloats = (head: GgufTensorHead, weights: readonly string[], source?: string): Planned => {
    const pairedHeads = specs.get(head.name)?.pairedHeads ?? 0;
    const order = pairedHeads === 0 ? undefined : (row: number) => unpairedRow(row, shape.headDim);
    return {
      ...{ name: head.name, type: dtype, shape: head.shape },
      *chunks() {
        for (const weight of weights) {
          const change = adapter.changes.get(weight)?.() ?? null;
          yield* mergedWeight(tensors.get(source ?? weight)!, change, dtype, order);
        }
      },
    };
  };
  const planned: Planned[] = base.tensors.map((tensor) => {
    const weights = (specs.get(tensor.name)?.parts ?? []).map(({ name }) => name);
    const isKept = !weights.some((weight) => adapter.changes.has(weight)) && !(unpacked && tensor.shape.length === 2);
    return isKept ? { ...tensor, chunks: () => pieces(file, tensor) } : inFloats(tensor, weights);
  });
  if (adapter.untiesHead) {
    const embedding = base.tensors.find((tensor) => specs.get(tensor.name)?.name === 'model.embed_tokens.weight')!;
    planned.push(inFloats({ ...embedding, name: 'output.weight' }, ['lm_head.weight'], 'model.embed_tokens.weight'));
  }
  const template = chatTemplate === null ? {} : { 'tokenizer.chat_template': chatTemplate };
  const texts = { 'general.name': name, ...template };
  const layout = layOutGguf(entriesOf(base, file, texts), planned, base.alignment);
  return {
    bytes: layout.fileBytes,
    *chunks() {
      yield layout.header;
      for (const tensor of planned) {
        yield* tensor.chunks();
        yield layout.padding(tensorBytes(tensor.type, elementCount(tensor.shape)!));
      }
    },
  };
}

/** Copies the base's metadata with other texts, and without the type of most weights, which would be wrong now. */
function entriesOf({ entries }: GgufFile, file: WeightFile, texts: Readonly<Record<string, string>>): Uint8Array[] {
  const kept = [...entries].filter(([key]) => !(key in texts) && key !== 'general.file_type');
  return [
    ...kept.map(([, { start, end }]) => file.read(start, end)),
    ...Object.entries(texts).map(([key, text]) => ggufText(key, text)),
  ];
}

const pieceBytes = 4 * 2 ** 20;

function* pieces(file: WeightFile, { offset, bytes }: GgufTensor): Generator<Uint8Array> {
  for (let at = 0; at < bytes; at += pieceBytes) {
    yield file.read(offset + at, offset + Math.min(at + pieceBytes, bytes));
  }
}
