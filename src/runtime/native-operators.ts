// The project's own operators, compiled from native/: finds their library for this platform, and offers them to every
// session in the domain `lorikeet`. Knows no operator by name.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { LibraryHandle } from 'koffi';
import { LorikeetError } from '../core/errors.ts';
import { type OrtApi, openLibrary, type Pointer } from './ort-api.ts';

const suffixes: Partial<Record<NodeJS.Platform, string>> = { darwin: 'dylib', win32: 'dll' };

/** Room for operators: more than there will be. */
const operatorsMax = 256;

/** Throws `runtime_unavailable` where this platform has no library. */
export function nativeLibrary(): LibraryHandle {
  const platform = `${process.platform}-${process.arch}`;
  const file = `../../native/lib/${platform}/lorikeet.${suffixes[process.platform] ?? 'so'}`;
  const path = fileURLToPath(new URL(file, import.meta.url));
  if (existsSync(path)) return openLibrary(path);
  const message =
    `There is no library of native operators for ${platform}. ` +
    'Install a C compiler (cc) and run `node scripts/build-native.js --here` in the project.';
  throw new LorikeetError('runtime_unavailable', { message });
}

export type NativeOperators = {
  /** Instructions that the operators use, such as `avx2`. */
  readonly variant: string;
  /** An OrtCustomOpDomain, which stays for the life of the process. */
  readonly domain: Pointer;
  /** The stream of all sessions; null where each has its own. */
  readonly stream: Pointer | null;
};

/** What a device's operators need to launch kernels. */
export type DeviceOperators = {
  /** ONNX Runtime's name of the provider. */
  readonly provider: string;
  /** Argument of `lorikeet_use_cuda`. */
  readonly addresses: BigUint64Array;
  /** The stream in which all sessions queue their work. */
  readonly stream: Pointer;
};

/**
 * @param variant null for the fastest that this processor has
 * @throws `runtime_unavailable` where this platform has no library, or the library lacks the variant
 */
export function nativeOperators(
  api: OrtApi,
  variant: string | null,
  device: DeviceOperators | null = null,
): NativeOperators {
  const operators = new BigUint64Array(operatorsMax);
  const chosen: [string | null] = [null];
  const library = nativeLibrary();
  const list = library.func(
    'size_t lorikeet_operators(const char* provider, const char* name, _Out_ const char** chosen, ' +
      'void* operators, size_t capacity)',
  );
  const count = Number(list(device?.provider ?? null, variant, chosen, operators, operatorsMax));
  if (count === 0) {
    const message = `The native operators have no variant ${variant} for this processor.`;
    throw new LorikeetError('runtime_unavailable', { message });
  }
  if (device) {
    const use = library.func('size_t lorikeet_use_cuda(void* addresses, size_t count)');
    if (Number(use(device.addresses, device.addresses.length)) === 0) throw new Error('another number of kernels');
  }
  const domain = api.call('createCustomOpDomain', 'lorikeet');
  for (const operator of operators.subarray(0, count)) api.call('customOpDomainAdd', domain, operator);
  return { variant: chosen[0]!, domain, stream: device?.stream ?? null };
}
