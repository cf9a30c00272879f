// Which device computes, as it is written in the configuration: `cpu`, `cuda`, `cuda:1`, `webgpu`. Pure; whether it is
// there is found out by the runtime.

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
