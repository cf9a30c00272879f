// Measures how fast the device reads and writes its own memory, which bounds a step that only reads its weights.

import { systemClock } from '../../src/core/clock.ts';
import { encodeOnnx } from '../../src/formats/onnx.ts';
import { createGraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Runtime } from '../../src/runtime/session.ts';
import { spread } from '../statistics.ts';

const rounds = 8;
/** Passes over the memory in one run, so that the fixed cost of a run does not count. */
const passes = 16;

/** Bytes a second, read and written. */
export async function copyBandwidth(runtime: Runtime, bytes: number): Promise<number> {
  const elements = bytes / 4;
  const g = createGraphBuilder();
  let x = g.input('x', 'float32', [elements]);
  for (let pass = 0; pass < passes; pass++) x = g.op('Neg', [x]);
  // A run is complete when its output has left the device.
  g.op('Gather', [x, g.integers('last', [elements - 1])], {}, g.output('end', 'float32', [1]));
  const session = await runtime.session(encodeOnnx(g.build()), { weights: new Map() });
  const memory = runtime.allocate('float32', elements);
  const tensors = [memory.view(0, [elements]), runtime.tensor(new Float32Array(1), [1])] as const;
  const binding = session.bind();
  binding.input('x', tensors[0]);
  binding.output('end', tensors[1]);
  const seconds: number[] = [];
  for (let round = -2; round < rounds; round++) {
    const start = systemClock.monotonic();
    await session.run(binding);
    if (round >= 0) seconds.push((systemClock.monotonic() - start) / 1000);
  }
  binding.release();
  session.release();
  for (const tensor of tensors) tensor.release();
  memory.release();
  return (2 * passes * bytes) / spread(seconds).min;
}
