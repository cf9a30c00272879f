// A pool of blocks of keys and values in device memory. The whole pool is bound to runs, so nothing is copied.

import type { ModelShape } from '../../core/base-model.ts';
import { type BlockForm, poolShapes, type Real } from '../../graph/target.ts';
import type { Runtime } from '../../runtime/session.ts';
import type { BlockMemory } from './block-kv.ts';
import { DeviceRows } from './device-rows.ts';
import type { RowSessions } from './row-sessions.ts';

export type DeviceBlocks = BlockMemory & { readonly pool: DeviceRows };

export type DeviceBlocksForm = {
  readonly blocks: BlockForm;
  readonly real: Real;
  readonly ready: Promise<void>;
};

export function createDeviceBlocks(
  runtime: Runtime,
  sessions: RowSessions,
  shape: ModelShape,
  { blocks: form, real, ready }: DeviceBlocksForm,
  blocks: number,
): DeviceBlocks {
  const { layers, kvHeads, headDim } = shape;
  const row = [kvHeads, form.length * headDim] as const;
  const pool = new DeviceRows(runtime, sessions, { pools: 2 * layers, rows: blocks, row, real });
  const { keys, values } = poolShapes(form, shape, blocks);
  return {
    ...{ pool, ready, write: null },
    key: (layer) => pool.view(2 * layer, 0, keys),
    value: (layer) => pool.view(2 * layer + 1, 0, values),
    release: () => pool.release(),
  };
}
