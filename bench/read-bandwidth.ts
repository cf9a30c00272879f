// Measures the bandwidth of memory: the runtime's threads read a buffer far larger than all caches.

import { systemClock } from '../src/core/clock.ts';
import { encodeOnnx } from '../src/formats/onnx.ts';
import { createGraphBuilder } from '../src/graph/graph-builder.ts';
import type { Runtime } from '../src/runtime/session.ts';

const bytes = 256 * 2 ** 20;
const rounds = 9;

/** Bytes a second in the fastest round. */
export async function readBandwidth(runtime: Runtime): Promise<number> {
  const g = createGraphBuilder();
  g.native('ReadMemory', [g.input('x', 'uint8', ['N'])], {}, g.output('y', 'float32', [1]));
  const session = await runtime.session(encodeOnnx(g.build()), { weights: new Map() });
  const binding = session.bind();
  const x = runtime.tensor(new Uint8Array(bytes).fill(1), [bytes]);
  const y = runtime.tensor(new Float32Array(1), [1]);
  binding.input('x', x);
  binding.output('y', y);
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round++) {
    const start = systemClock.monotonic();
    await session.run(binding);
    least = Math.min(least, systemClock.monotonic() - start);
  }
  binding.release();
  session.release();
  for (const tensor of [x, y]) tensor.release();
  return (bytes * 1000) / least;
}
