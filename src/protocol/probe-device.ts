// Probes for a device in a separate process, since loading native code can end a process.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** The question for `runtime/probe.ts`, its only argument. */
export type ProbeQuestion = { readonly library: string | null; readonly device: string; readonly cudaDir: string };

type Probed =
  | { readonly name: string; readonly providers: string[]; readonly library: string; readonly freeBytes: number | null }
  /** `isSaid`: the library reported the error; otherwise the process that loaded it ended. */
  | { readonly error: string; readonly isSaid: boolean };

const execute = promisify(execFile);
const probeMs = 20_000;

export async function probe(question: ProbeQuestion, env: NodeJS.ProcessEnv): Promise<Probed> {
  const program = fileURLToPath(new URL('../runtime/probe.ts', import.meta.url));
  try {
    const { stdout } = await execute(process.execPath, [program, JSON.stringify(question)], { timeout: probeMs, env });
    const found = JSON.parse(stdout);
    return 'error' in found ? { ...found, isSaid: true } : found;
  } catch (error) {
    const { signal, code } = error as { signal?: string; code?: unknown };
    return { error: `the library ended the process (${signal ?? code})`, isSaid: false };
  }
}
