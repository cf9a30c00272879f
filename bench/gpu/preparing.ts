// Measures what JavaScript does before an adapter is sent to a card, without the card: filling pages with half floats
// as they lie in memory, beside making the floats that graphs on other devices take.

import type { ModelShape } from '../../src/core/base-model.ts';
import { systemClock } from '../../src/core/clock.ts';
import { DevicePages } from '../../src/engine/adapters/device-pages.ts';
import { joinedSizes, layerOf, type ResidentAdapter } from '../../src/engine/adapters/resident-adapter.ts';
import { createRowSessions } from '../../src/engine/kv/row-sessions.ts';
import type { Memory, Runtime } from '../../src/runtime/session.ts';

export type Prepared = {
  /** Number of values in an adapter's pages. */
  readonly values: number;
  readonly sentBytes: number;
  readonly halvesMs: number;
  readonly floatsMs: number;
};

const rounds = 5;

export async function measurePreparing(
  runtime: Runtime,
  shape: ModelShape,
  adapter: ResidentAdapter,
): Promise<Prepared> {
  let sentBytes = 0;
  const nowhere: Runtime = {
    ...runtime,
    allocate: (type, elements): Memory => ({ type, elements, view: noView, release: () => {} }),
    async send(_places, data) {
      sentBytes += data.byteLength;
    },
  };
  const form = { slots: 1, real: 'float16', ready: Promise.resolve(), isListed: false } as const;
  const pages = new DevicePages(nowhere, createRowSessions(nowhere, 'float16'), shape, form);
  const times = { halves: Number.POSITIVE_INFINITY, floats: Number.POSITIVE_INFINITY };
  for (let round = 0; round < rounds; round++) {
    sentBytes = 0;
    const start = systemClock.monotonic();
    for (const [linear, resident] of adapter.linears) {
      await pages.fill(linear, { first: 0, pages: resident.pages }, resident);
    }
    const between = systemClock.monotonic();
    for (const sizes of joinedSizes(shape)) {
      const { linear, layers, modules } = sizes;
      const resident = adapter.linears.get(linear);
      for (const part of resident ? modules.keys() : []) {
        for (let layer = 0; layer < layers; layer++) layerOf(resident!, part, layer, sizes);
      }
    }
    times.halves = Math.min(times.halves, between - start);
    times.floats = Math.min(times.floats, systemClock.monotonic() - between);
  }
  return { values: sentBytes / 2, sentBytes, halvesMs: times.halves, floatsMs: times.floats };
}

function noView(): never {
  throw new Error('nothing is there');
}
