// Names of devices as the configuration has them: `cpu`, `cuda`, `cuda:1`, `webgpu`, or several with an engine on each:
// `cuda:0,cuda:1`. Pure: whether a device exists is found out by the runtime.

export type Device =
  | { readonly kind: 'cpu' }
  | { readonly kind: 'webgpu' }
  /** `index` counts cards from 0, in CUDA's order. */
  | { readonly kind: 'cuda'; readonly index: number };

/**
 * Kernels on a CUDA card. `runtime`: ONNX Runtime's operators alone. `own`: the project's as well. `recorded`: whole
 * steps are replayed, too.
 */
export type DeviceKernels = 'recorded' | 'own' | 'runtime';

export const defaultDeviceKernels: DeviceKernels = 'own';

/** Reads the name of one device. Throws an Error whose message completes a sentence such as "LORIKEET_DEVICE ...". */
export function parseDevice(text: string): Device {
  if (text === 'cpu' || text === 'webgpu') return { kind: text };
  const [isCuda, index = '0'] = /^cuda(?::(\d{1,2}))?$/.exec(text) ?? [];
  if (isCuda) return { kind: 'cuda', index: Number(index) };
  throw new Error(`must be cpu, cuda, cuda:<number> or webgpu, not ${JSON.stringify(text)}`);
}

/** Splits a list into names of single devices, all of one kind. Throws as `parseDevice` does. */
export function deviceNames(list: string): readonly string[] {
  const names = list.split(',').map((name) => name.trim());
  const devices = names.map(parseDevice);
  if (names.length > enginesMax) throw new Error(`names ${names.length} devices; ${enginesMax} is the most`);
  if (new Set(devices.map(({ kind }) => kind)).size > 1) throw new Error(`must name devices of one kind, not ${list}`);
  const cards = devices.flatMap((device) => (device.kind === 'cuda' ? [device.index] : []));
  if (new Set(cards).size < cards.length) throw new Error(`names a card twice: ${list}`);
  return names;
}

/** Gives the kind that all devices of a list have in common. */
export const kindOf = (list: string): Device['kind'] => parseDevice(deviceNames(list)[0]!).kind;

/** The most engines of one server; anybody with more devices starts several servers. */
const enginesMax = 64;
