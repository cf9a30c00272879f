// Chooses the provider of a device, and words the error where it is not available.

import type { Device } from '../core/device.ts';
import { LorikeetError } from '../core/errors.ts';
import { cudaProvider } from './cuda.ts';
import type { CardReal, Provider, ProviderPlaces } from './provider.ts';
import { webGpuProvider } from './webgpu.ts';

/**
 * null for the processor. Throws `device_unavailable` where no library has the device.
 * @param cardReal what a card computes with
 */
export function providerOf(device: Device, places: ProviderPlaces, cardReal: CardReal): Provider | null {
  if (device.kind === 'cpu') return null;
  return device.kind === 'cuda' ? cudaProvider(device.index, places, cardReal) : webGpuProvider(places);
}

/** An error with the library's own words, and what to do. */
export function unavailable({ name, library, hint }: Provider, cause: unknown): LorikeetError {
  // The library's message begins behind the place in its sources that raised it.
  const reason = (cause as Error).message
    .replace(/\s+/g, ' ')
    .replace(/^.*(was false\.|\[ONNXRuntimeError\] : \d+ : \w+ :) /, '')
    .trim();
  const message = `The device ${name} is not available with ${library}: ${reason.replace(/\.$/, '')}. ${hint}`;
  return new LorikeetError('device_unavailable', { message, param: 'LORIKEET_DEVICE', cause });
}
