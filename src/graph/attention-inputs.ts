// What the attention of every layer reads besides its rows: rotary tables, masks, and shapes of rows by heads. A device
// cannot compute with int64, the type of shapes, so it reads a shape off a tensor that is made for that.

import { modelPlan } from '../core/layer-plan.ts';
import type { GraphBuilder } from './graph-builder.ts';
import { ropeTables, rotaryPairs, type TableName, tableNames, tablesOf } from './rope.ts';
import type { TrainingBuilder } from './training-builder.ts';
import { trainingNames } from './training-form.ts';

export type AttentionInputs = {
  /**
   * float32 [B, 1, T, T] for a window, or for null without one: 0 where a row sees a column, otherwise far below any
   * score.
   */
  mask(window: number | null): string;
  /** int64 [4] = [B, T, count, headDim] */
  shapeByHead(count: number): string;
  rope(table: TableName): RotaryInputs;
};

/** float32 [positions, pairs] each */
export type RotaryInputs = { readonly cos: string; readonly sin: string; readonly minusSin: string };

export function attentionInputs({ g, on, model, form, weight }: TrainingBuilder): AttentionInputs {
  const { shape } = model;
  const ropes = new Map<TableName, RotaryInputs>();
  for (const table of tablesOf(shape)) {
    const { cos, sin } = ropeTables(shape, form.positions, table);
    const names = tableNames[table];
    const size = [form.positions, rotaryPairs(shape)];
    weight(names.cos, { type: 'float32', shape: size, data: cos });
    weight(names.sin, { type: 'float32', shape: size, data: sin });
    ropes.set(table, { ...names, minusSin: g.op('Neg', [names.sin]) });
  }
  const isOneText = sameSegment(g);
  const masks = new Map<number | null, string>();
  for (const { window } of modelPlan(shape).layers) {
    if (masks.has(window)) continue;
    const mask = on === 'host' ? maskOf(g, isOneText, window) : deviceMaskOf(g, isOneText, window);
    masks.set(window, g.op('Unsqueeze', [mask, g.integers('at_1', [1])]));
  }
  return {
    mask: (window) => masks.get(window)!,
    shapeByHead: on === 'host' ? shapes(g, shape.headDim) : deviceShapes(g, shape.headDim),
    rope: (table) => ropes.get(table)!,
  };
}

/** bool [B, T, T]: whether row and column are of one segment. */
function sameSegment(g: GraphBuilder): string {
  const column = g.op('Unsqueeze', [trainingNames.segments, g.integers('at_2', [2])]);
  const row = g.op('Unsqueeze', [trainingNames.segments, g.integers('at_1', [1])]);
  return g.op('Equal', [column, row]);
}

/**
 * Columns that each row sees, a triangle. A text's tokens lie side by side, so their distance is that of their columns.
 */
function seenOf(g: GraphBuilder, isOneText: string, window: number | null): string {
  const before = g.op('Trilu', [isOneText], { upper: 0 });
  return window === null
    ? before
    : g.op('Trilu', [before, g.integers(`nearest_${window}`, [1 - window])], { upper: 1 });
}

function maskOf(g: GraphBuilder, isOneText: string, window: number | null): string {
  const seen = seenOf(g, isOneText, window);
  return g.op('Where', [seen, g.float('zero', 0), g.float('unseen', -1e30)]);
}

/** Triangles on a device are of floats: 1 where a row sees a column. */
function deviceMaskOf(g: GraphBuilder, isOneText: string, window: number | null): string {
  const one = g.float('one', 1);
  const seen = seenOf(g, g.op('Where', [isOneText, one, g.float('zero', 0)]), window);
  return g.op('Mul', [g.op('Sub', [seen, one]), g.float('far', 1e30)]);
}

function shapes(g: GraphBuilder, headDim: number): AttentionInputs['shapeByHead'] {
  const batchShape = g.op('Shape', [trainingNames.tokens]);
  return (count) => g.op('Concat', [batchShape, g.integers(`heads_${count}`, [count, headDim])], { axis: 0 });
}

/** Makes each shape once. */
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
