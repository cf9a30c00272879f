// Runs a program to its end, and reports its output and its peak memory.

import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

export type Finished = { readonly stdout: string; readonly peakRssBytes: number };

const pollMs = 20;
const stderrTailChars = 2000;

export async function runProcess(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Finished> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  const memory = watchMemory(child);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-stderrTailChars);
  });
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (...how) => resolve(how));
  });
  const peakRssBytes = memory.stop();
  if (code !== 0) throw new Error(`${command} ended with ${code ?? signal}:\n${stderr}`);
  return { stdout, peakRssBytes };
}

export type MemoryWatch = {
  /** Gives the high-water mark so far, children included; 0 where the system has no /proc. */
  stop(): number;
};

/**
 * Measures the peak resident memory of a process and its descendants: the largest sum of their high-water marks at one
 * time.
 */
export function watchMemory(child: ChildProcess): MemoryWatch {
  let peak = 0;
  const look = () => {
    if (child.pid !== undefined) peak = Math.max(peak, highWaterBytes(child.pid));
  };
  const timer = setInterval(look, pollMs);
  return {
    stop() {
      look();
      clearInterval(timer);
      return peak;
    },
  };
}

/** Sums the high-water marks of a process and its children; 0 where the system does not tell. */
export function highWaterBytes(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
    const own = Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
    return children.reduce((sum, child) => sum + highWaterBytes(Number(child)), own);
  } catch {
    return 0; // The process has ended, or this is not Linux.
  }
}
