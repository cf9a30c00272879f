// What the attention of every layer reads beside its rows: rotary tables, who sees whom, and how rows lie by heads.
//
// A device computes with no int64, which shapes are: it is asked for the shape of a tensor that is made for that.

import type { GraphBuilder } from './graph-builder.ts';
import type { RopeTables } from './rope.ts';
import type { TrainingBuilder } from './training-builder.ts';
import { trainingNames } from './training-form.ts';

export type AttentionInputs = {
  /** float32 [B, 1, T, T]: 0 where a row sees a column, else far below any score. */
  readonly mask: string;
  /** int64 [4] = [B, T, count, headDim] */
  shapeByHead(count: number): string;
  /** float32 [positions, headDim / 2] */
  readonly minusSin: string;
};

export function attentionInputs({ g, on, model, weight }: TrainingBuilder, rope: RopeTables): AttentionInputs {
  const { headDim } = model.shape;
  const { cos, sin } = trainingNames;
  for (const [name, data] of [
    [cos, rope.cos],
    [sin, rope.sin],
  ] as const) {
    weight(name, { type: 'float32', shape: [data.length / (headDim / 2), headDim / 2], data });
  }
  const isOneText = sameSegment(g);
  const mask = on === 'host' ? maskOf(g, isOneText) : deviceMaskOf(g, isOneText);
  return {
    mask: g.op('Unsqueeze', [mask, g.integers('at_1', [1])]),
    shapeByHead: on === 'host' ? shapes(g, headDim) : deviceShapes(g, headDim),
    minusSin: g.op('Neg', [sin]),
  };
}

/** bool [B, T, T] */
function sameSegment(g: GraphBuilder): string {
  const column = g.op('Unsqueeze', [trainingNames.segments, g.integers('at_2', [2])]);
  const row = g.op('Unsqueeze', [trainingNames.segments, g.integers('at_1', [1])]);
  return g.op('Equal', [column, row]);
}

function maskOf(g: GraphBuilder, isOneText: string): string {
  const seen = g.op('Trilu', [isOneText], { upper: 0 });
  return g.op('Where', [seen, g.float('zero', 0), g.float('unseen', -1e30)]);
}

/** Triangles are of floats there: 1 where seen. */
function deviceMaskOf(g: GraphBuilder, isOneText: string): string {
  const one = g.float('one', 1);
  const seen = g.op('Trilu', [g.op('Where', [isOneText, one, g.float('zero', 0)])], { upper: 0 });
  return g.op('Mul', [g.op('Sub', [seen, one]), g.float('far', 1e30)]);
}

function shapes(g: GraphBuilder, headDim: number): AttentionInputs['shapeByHead'] {
  const batchShape = g.op('Shape', [trainingNames.tokens]);
  return (count) => g.op('Concat', [batchShape, g.integers(`heads_${count}`, [count, headDim])], { axis: 0 });
}

/** Each made once. */
function deviceShapes(g: GraphBuilder, headDim: number): AttentionInputs['shapeByHead'] {
  const known = new Map<number, string>();
  const places = g.op('Unsqueeze', [trainingNames.tokens, g.integers('at_2_3', [2, 3])]);
  return (count) => {
    const made = () => g.op('Expand', [places, g.integers(`each_of_${count}`, [1, 1, count, headDim])]);
    const shape = known.get(count) ?? g.op('Shape', [made()]);
    known.set(count, shape);
    return shape;
  };
}
