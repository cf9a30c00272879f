// Runs the same work with torch and PEFT's mixed batch, on the same device in the same run.

import type { ModelShape } from '../../src/core/base-model.ts';
import { runProcess } from '../peers/run-process.ts';
import type { Work } from './decode.ts';

export type PeftRow = Work & { readonly ms: number };
export type PeftRun = { readonly versions: string; readonly rows: readonly PeftRow[] };

export type PeftSpec = {
  readonly shape: ModelShape;
  readonly device: 'cpu' | 'cuda';
  readonly works: readonly Work[];
  readonly context: number;
  readonly rounds: number;
  readonly rank: number;
};

/** Runs PEFT; gives an error message where it cannot run. */
export async function runPeft(python: string, spec: PeftSpec): Promise<PeftRun | string> {
  const script = new URL('peft-mixed.py', import.meta.url).pathname;
  try {
    const { stdout } = await runProcess(python, [script, JSON.stringify(spec)]);
    return JSON.parse(stdout.trim().split('\n').at(-1)!) as PeftRun;
  } catch (error) {
    return (error as Error).message.trim().split('\n').at(-1)!;
  }
}
