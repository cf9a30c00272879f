// Exports a base model with an adapter merged in, as a tar of the folder that transformers loads: config.json, the
// weights as one safetensors file of one float type, the tokeniser. For a base in GGUF the files beside the weights are
// derived from its metadata; a base in safetensors keeps its own.

import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { packTar, type TarSource } from 'modern-tar/fs';
import type { FloatType, ModelFiles, ModelShape, RawTensor } from '../core/base-model.ts';
import { safetensorsBytes, safetensorsHeader, type TensorHead } from '../formats/write-safetensors.ts';
import { indexName } from '../models/choose-files.ts';
import { openModel } from '../models/open.ts';
import { readGguf } from '../models/read-gguf.ts';
import { readSidecar } from '../models/read-sidecar.ts';
import { tensorSpecs } from '../models/tensor-specs.ts';
import { configOf } from '../models/write-config.ts';
import type { OfflineWork } from '../protocol/offline-messages.ts';
import { writeTokenizer } from '../tokenizer/write-json.ts';
import type { Exported } from './exported.ts';
import { mergedWeight } from './merged-weight.ts';
import { readAdapter } from './read-adapter.ts';

type ExportWork = Extract<OfflineWork, { kind: 'export' }>;
/** A tensor of the new file, with a function that makes its data. */
type Planned = TensorHead & { chunks(): Iterable<Uint8Array> };

const torchTypes: Readonly<Record<FloatType, string>> = { F16: 'float16', BF16: 'bfloat16', F32: 'float32' };

/** Throws the adapter's own errors. */
export async function exportSafetensors(work: ExportWork): Promise<Exported> {
  const { model, dtype } = work;
  const { shape, tensors } = await openModel(model);
  const adapter = readAdapter(work.adapter, shape);
  const merged = (name: string, tensor: RawTensor) =>
    mergedWeight(tensor, adapter.changes.get(name)?.() ?? null, dtype);
  const planned = tensorSpecs(shape).map(({ name, shape: size, parts }): Planned => {
    function* chunks() {
      for (const part of parts) yield* merged(part.name, tensors.get(part.name)!);
    }
    return { name, type: dtype, shape: size, chunks };
  });
  const { untiesHead: unties } = adapter;
  if (unties) {
    const embedding = tensors.get('model.embed_tokens.weight')!;
    const name = 'lm_head.weight';
    planned.push({ name, type: dtype, shape: embedding.shape, chunks: () => merged(name, embedding) });
  }
  const { header, ordered } = safetensorsHeader(planned, { format: 'pt' });
  const weightsBytes = ordered.reduce((bytes, tensor) => bytes + safetensorsBytes(tensor), header.length);
  function* weights() {
    yield header;
    for (const tensor of ordered) yield* tensor.chunks();
  }
  const around = filesAround(model, { ...shape, tiedEmbedding: shape.tiedEmbedding && !unties }, dtype);
  const files = withTemplate(around, work.chatTemplate ?? null);
  return tarOf(files, { name: 'model.safetensors', bytes: weightsBytes, chunks: weights });
}

type SmallFile = { readonly name: string; readonly content: Uint8Array };

function filesAround(model: ModelFiles, shape: ModelShape, dtype: FloatType): SmallFile[] {
  const json = (name: string, value: object) => ({ name, content: Buffer.from(`${JSON.stringify(value, null, 2)}\n`) });
  const own = { tie_word_embeddings: shape.tiedEmbedding, torch_dtype: torchTypes[dtype] };
  if (model.kind === 'safetensors') {
    // Newer versions call torch_dtype `dtype`, but still read the older name.
    const { dtype: _, ...config } = readSidecar(model, 'config.json')!;
    const others = Object.entries(model.sidecars).filter(([name]) => name !== 'config.json' && name !== indexName);
    return [
      json('config.json', { ...config, ...own }),
      ...others.map(([name, path]) => ({ name, content: readFileSync(path) })),
    ];
  }
  const tokenizer = writeTokenizer(readGguf(model.weights[0]!).metadata, shape.context);
  const config = { ...configOf(shape), ...own, ...tokenizer['generation_config.json'] };
  return [json('config.json', config), ...Object.entries(tokenizer).map(([name, value]) => json(name, value))];
}

/** transformers prefers this file to a template in tokenizer_config.json. */
const templateFile = 'chat_template.jinja';

function withTemplate(files: readonly SmallFile[], template: string | null): readonly SmallFile[] {
  if (template === null) return files;
  const others = files.filter(({ name }) => name !== templateFile);
  return [...others, { name: templateFile, content: Buffer.from(template) }];
}

const tarBlock = 512;
/** Larger sizes do not fit tar's own field, and take an additional header and block in front. */
const tarSizeMax = 8 ** 11 - 1;

/** Packs the files. Small files come first, so that a reader who only wants to look gets them at once. */
function tarOf(files: readonly SmallFile[], weights: Exported & { readonly name: string }): Exported {
  const entry = (bytes: number) => (1 + Math.ceil(bytes / tarBlock) + (bytes > tarSizeMax ? 2 : 0)) * tarBlock;
  const bytes = files.reduce((sum, { content }) => sum + entry(content.length), entry(weights.bytes));
  const meta = { mode: 0o644, mtime: new Date(0) };
  const sources = (): TarSource[] => [
    ...files.map(({ name, content }) => ({ type: 'content' as const, content, target: name, ...meta })),
    {
      type: 'stream',
      content: Readable.from(weights.chunks(), { objectMode: false }),
      size: weights.bytes,
      target: weights.name,
      ...meta,
    },
  ];
  return { bytes: bytes + 2 * tarBlock, chunks: () => packTar(sources()) };
}
