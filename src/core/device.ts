// Which device computes, as it is written in the configuration: `cpu`, `cuda`, `cuda:1`, `webgpu`; or several, with an
// engine on each: `cuda:0,cuda:1`. Pure; whether one is there is found out by the runtime.

export type Device =
  | { readonly kind: 'cpu' }
  | { readonly kind: 'webgpu' }
  /** `index` counts the cards as CUDA does, from 0. */
  | { readonly kind: 'cuda'; readonly index: number };

/** Throws an Error that completes a sentence such as "LORIKEET_DEVICE ...". */
export function parseDevice(text: string): Device {
  if (text === 'cpu' || text === 'webgpu') return { kind: text };
  const [isCuda, index = '0'] = /^cuda(?::(\d{1,2}))?$/.exec(text) ?? [];
  if (isCuda) return { kind: 'cuda', index: Number(index) };
  throw new Error(`must be cpu, cuda, cuda:<number> or webgpu, not ${JSON.stringify(text)}`);
}

/** Names of one device each, of one kind. Throws as `parseDevice` does. */
export function deviceNames(list: string): readonly string[] {
  const names = list.split(',').map((name) => name.trim());
  const devices = names.map(parseDevice);
  if (names.length > enginesMax) throw new Error(`names ${names.length} devices; ${enginesMax} is the most`);
  if (new Set(devices.map(({ kind }) => kind)).size > 1) throw new Error(`must name devices of one kind, not ${list}`);
  const cards = devices.flatMap((device) => (device.kind === 'cuda' ? [device.index] : []));
  if (new Set(cards).size < cards.length) throw new Error(`names a card twice: ${list}`);
  return names;
}

/** What all of a list are. */
export const kindOf = (list: string): Device['kind'] => parseDevice(deviceNames(list)[0]!).kind;

/** A server with more engines than this would be several servers. */
const enginesMax = 64;
