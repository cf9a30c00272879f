// Logits that stay in device memory. For a step's rows only the best logits and sums over all of them come back. A
// whole row is fetched where it is asked for, before the next run.

import { topNames } from '../../graph/top-logits.ts';
import { runOnce } from '../../runtime/run-once.ts';
import type { Memory, Runtime, Session, Tensor } from '../../runtime/session.ts';
import type { RowSessions } from '../kv/row-sessions.ts';
import type { TopLogits } from '../sampling/draw-top.ts';

/**
 * Bound of 1 / temperature: far above what distinguishes two float32 logits, and far below infinity, as infinity times
 * 0 is NaN.
 */
const sharpnessMax = 1e30;

/** Best logits for each row: as many as common filters keep, and more than log-probabilities are given for. */
const topMax = 64;

export type DeviceLogits = {
  readonly memory: Memory;
  readonly stays: true;
  /** Rows that the memory has room for. */
  readonly rows: number;
  readonly vocabulary: number;
  /** The memory for logits of `rows` rows; the caller releases the tensor. */
  view(rows: number): Tensor;
  /** The best logits of each row. `sharpMass` is at the row's temperature, or at 1 where that is 0. */
  top(temperatures: readonly number[]): Promise<TopLogits[]>;
  /** Whole rows [vocabulary] by number, out of `rows`. */
  whole(wanted: readonly number[], rows: number): Promise<Float32Array[]>;
  release(): void;
};

export function createDeviceLogits(
  runtime: Runtime,
  sessions: RowSessions,
  { rows, vocabulary }: { readonly rows: number; readonly vocabulary: number },
): DeviceLogits {
  const memory = runtime.allocate('float32', rows * vocabulary);
  const view = (rows: number) => memory.view(0, [rows, vocabulary]);
  const count = Math.min(topMax, vocabulary);
  /** Readers of the best logits, by number of rows. */
  const readers = new Map<number, TopReader>();
  return {
    ...{ memory, rows, vocabulary, stays: true },
    view,
    async top(temperatures) {
      const session = await sessions.top(vocabulary, count);
      const { length } = temperatures;
      const reader = readers.get(length) ?? createTopReader(runtime, session, view(length), count, vocabulary);
      readers.set(length, reader);
      return await reader.read(temperatures);
    },
    async whole(wanted, rows) {
      const session = await sessions.fetch(vocabulary);
      const found = new Float32Array(wanted.length * vocabulary);
      await runOnce(session, (tie) => {
        tie.input(topNames.logits, view(rows));
        tie.input(topNames.wanted, runtime.tensor(BigInt64Array.from(wanted, BigInt), [wanted.length]));
        tie.output(topNames.rows, runtime.tensor(found, [wanted.length, vocabulary]));
      });
      return wanted.map((_, i) => found.subarray(i * vocabulary, (i + 1) * vocabulary));
    },
    release() {
      for (const reader of readers.values()) reader.release();
      memory.release();
    },
  };
}

type TopReader = { read(temperatures: readonly number[]): Promise<TopLogits[]>; release(): void };

/** Reads the best logits of a fixed number of rows; bound once, with buffers of its own. */
function createTopReader(
  runtime: Runtime,
  session: Session,
  logits: Tensor,
  count: number,
  vocabulary: number,
): TopReader {
  const rows = logits.shape[0]!;
  const floats = (width: number) => new Float32Array(rows * width);
  const [sharpness, values, mass, sharpMass] = [floats(1), floats(count), floats(1), floats(1)];
  const ids = new BigInt64Array(rows * count);
  // Tokens are the low halves of the ids: thousands of big integers would take longer than the card.
  const halves = new Int32Array(ids.buffer);
  const binding = session.bind();
  const tensors = [logits];
  const tied = (data: Float32Array<ArrayBuffer> | BigInt64Array<ArrayBuffer>) => {
    const tensor = runtime.tensor(data, [rows, data.length / rows]);
    tensors.push(tensor);
    return tensor;
  };
  binding.input(topNames.logits, logits);
  binding.input(topNames.sharpness, tied(sharpness));
  binding.output(topNames.tokens, tied(ids));
  for (const [name, data] of Object.entries({ values, mass, sharpMass })) {
    binding.output(topNames[name as 'values' | 'mass' | 'sharpMass'], tied(data));
  }
  return {
    async read(temperatures) {
      for (const [row, temperature] of temperatures.entries()) {
        sharpness[row] = temperature === 0 ? 1 : Math.min(1 / temperature, sharpnessMax);
      }
      await session.run(binding, { steady: true });
      return temperatures.map((_, row) => {
        const [start, end] = [row * count, (row + 1) * count];
        const tokens = Array.from({ length: count }, (_, i) => halves[2 * (start + i)]!);
        const logits = values.subarray(start, end);
        orderEquals(tokens, logits);
        return { tokens, logits, mass: mass[row]!, sharpMass: sharpMass[row]!, vocabulary };
      });
    },
    release() {
      binding.release();
      for (const tensor of tensors) tensor.release();
    },
  };
}

/** Orders tokens of equal logits by id, as ONNX asks but not every provider does; half floats are often equal. */
export function orderEquals(tokens: number[], logits: Float32Array): void {
  for (let i = 1; i < tokens.length; i++) {
    const token = tokens[i]!;
    let at = i;
    while (at > 0 && logits[at - 1] === logits[i] && tokens[at - 1]! > token) {
      tokens[at] = tokens[at - 1]!;
      at--;
    }
    tokens[at] = token;
  }
}
