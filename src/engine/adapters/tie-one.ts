// Ties one adapter's matrices to a run of the form `one`: the resident memory itself, nothing is copied.

import { adapterNames, type JoinedLinear, type Reach, reaches } from '../../graph/adapted-linear.ts';
import type { Binding, Runtime, Tensor } from '../../runtime/session.ts';
import { type JoinedSizes, pageRanks, type ResidentAdapter } from './resident-adapter.ts';

export type OneInputs = {
  readonly adapter: ResidentAdapter;
  setScale(scale: number): void;
  /** To be released with the binding, or before others are tied. */
  readonly tensors: readonly Tensor[];
};

export function tieOne(
  runtime: Runtime,
  binding: Binding,
  allSizes: readonly JoinedSizes[],
  adapter: ResidentAdapter,
): OneInputs {
  const { linears, gains: hasGains }: (typeof reaches)[Reach] = reaches[adapter.reach];
  const tensors: Tensor[] = [];
  const tie = (name: string, data: Float32Array<ArrayBuffer>, shape: readonly number[]) => {
    const tensor = runtime.tensor(data, shape);
    binding.input(name, tensor);
    tensors.push(tensor);
  };
  const scales = new Float32Array(1);
  tie(adapterNames.scale, scales, [1]);
  for (const { linear, layers, modules, in: inputs, outs, out: width } of allSizes) {
    if (!(linears as readonly JoinedLinear[]).includes(linear)) continue;
    const resident = adapter.linears.get(linear);
    const ones = hasGains && !resident?.gains ? new Float32Array(width).fill(1) : null;
    for (let layer = 0; layer < layers; layer++) {
      for (const [part, module] of modules.entries()) {
        const { ranks, a, b } = resident?.parts[part] ?? untouched;
        const rows = (matrix: Float32Array<ArrayBuffer>, columns: number) =>
          matrix.subarray(layer * ranks * columns, (layer + 1) * ranks * columns);
        tie(adapterNames.a(layer, module), rows(a, inputs), [...inPages(ranks), inputs]);
        tie(adapterNames.b(layer, module), rows(b, outs[part]!), [ranks, outs[part]!]);
      }
      if (!hasGains) continue;
      const gains = ones ?? resident!.gains!.subarray(layer * width, (layer + 1) * width);
      tie(adapterNames.gain(layer, linear), gains, [1, width]);
    }
  }
  return {
    adapter,
    tensors,
    setScale: (scale) => {
      scales[0] = scale;
    },
  };
}

/** As many ranks as a kernel takes at once, and keeps together. */
const widePage = 16;

/** Pages and their width; one page of none where there are none, since no page at all cannot be multiplied with. */
function inPages(ranks: number): [pages: number, width: number] {
  if (ranks === 0) return [1, 0];
  const width = ranks % widePage === 0 ? widePage : pageRanks;
  return [ranks / width, width];
}

const none = new Float32Array(0);
const untouched = { ranks: 0, a: none, b: none };
