// Makes small adapters for tests, for a base model of three tiny layers.

import type { ModelShape } from '../../src/core/base-model.ts';
import { type PeftAdapter, readPeftAdapter } from '../../src/formats/peft-adapter.ts';
import { type SafetensorsFile, type SafetensorsType, safetensorsBits } from '../../src/formats/safetensors.ts';

/** The model of make-peft-cases.py. */
export const tinyShape: ModelShape = {
  architecture: 'llama',
  layers: 3,
  hidden: 16,
  intermediate: 24,
  heads: 4,
  kvHeads: 2,
  headDim: 4,
  vocabulary: 40,
  context: 2048,
  ropeTheta: 10_000,
  ropeScaling: null,
  rmsNormEps: 1e-6,
  tiedEmbedding: false,
};

export type Shapes = Readonly<Record<string, readonly number[]>>;

/** Makes the header of a file with these tensors. */
export function headerOf(shapes: Shapes, type: SafetensorsType = 'F32'): SafetensorsFile {
  let offset = 100;
  const tensors = Object.entries(shapes).map(([name, shape]) => {
    const bytes = (shape.reduce((product, size) => product * size, 1) * safetensorsBits[type]) / 8;
    offset += bytes;
    return { name, type, shape, offset: offset - bytes, bytes };
  });
  return { metadata: new Map(), tensors };
}

/** `base_model.model.model.layers.<layer>.<rest>` */
export const inLayer = (layer: number | string, rest: string) => `base_model.model.model.layers.${layer}.${rest}`;

/** Tensors of q_proj in all three layers, rank 4. */
export const plainShapes: Shapes = Object.fromEntries(
  [0, 1, 2].flatMap((layer) => [
    [inLayer(layer, 'self_attn.q_proj.lora_A.weight'), [4, 16]],
    [inLayer(layer, 'self_attn.q_proj.lora_B.weight'), [16, 4]],
  ]),
);

export const plainConfig = { peft_type: 'LORA', r: 4, lora_alpha: 8, target_modules: ['q_proj'] };

export const bytesOf = (config: unknown) =>
  new TextEncoder().encode(typeof config === 'string' ? config : JSON.stringify(config));

/** Reads a plain adapter with some fields of the config and some tensors replaced; undefined removes one. */
export function readWith(
  config: Readonly<Record<string, unknown>>,
  shapes: Readonly<Record<string, readonly number[] | undefined>> = {},
  type?: SafetensorsType,
): PeftAdapter {
  const merged = Object.entries({ ...plainShapes, ...shapes }).filter(([, shape]) => shape !== undefined);
  const header = headerOf(Object.fromEntries(merged) as Shapes, type);
  return readPeftAdapter(bytesOf({ ...plainConfig, ...config }), header, tinyShape);
}
