// Whether a device is there, asked in a process of its own: loading native code can end a process.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Config, cudaDir, environmentForChildren } from '../config.ts';
import { parseDevice } from '../core/device.ts';
import { LorikeetError } from '../core/errors.ts';

type Probed =
  | { readonly name: string; readonly providers: string[]; readonly library: string; readonly freeBytes: number | null }
  /** `isSaid`: by the library; else the process that loaded it ended. */
  | { readonly error: string; readonly isSaid: boolean };

const execute = promisify(execFile);
const probeMs = 20_000;

export async function probe({ ortLibrary: library, dataDir }: Config, device: string): Promise<Probed> {
  const program = fileURLToPath(new URL('../runtime/probe.ts', import.meta.url));
  const asked = JSON.stringify({ library, device, cudaDir: cudaDir(dataDir) });
  try {
    const options = { timeout: probeMs, env: environmentForChildren() };
    const { stdout } = await execute(process.execPath, [program, asked], options);
    const found = JSON.parse(stdout);
    return 'error' in found ? { ...found, isSaid: true } : found;
  } catch (error) {
    const { signal, code } = error as { signal?: string; code?: unknown };
    return { error: `the library ended the process (${signal ?? code})`, isSaid: false };
  }
}

/** Throws `device_unavailable` before a model is fetched for it. What ends a probe is the engine's to say. */
export async function assertDeviceThere(config: Config): Promise<void> {
  if (parseDevice(config.device).kind === 'cpu') return;
  const found = await probe(config, config.device);
  if ('error' in found && found.isSaid) throw new LorikeetError('device_unavailable', { message: found.error });
}
