// How many threads are worth having: two on one physical core only get in each other's way in dense arithmetic.

import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** Physical cores that this process may use. Where the system does not tell, logical ones. */
export function physicalCores(): number {
  const logical = availableParallelism();
  if (process.platform !== 'linux') return logical;
  try {
    const cores = new Set<string>();
    for (let cpu = 0; cpu < logical; cpu++) {
      cores.add(readFileSync(`/sys/devices/system/cpu/cpu${cpu}/topology/thread_siblings_list`, 'utf8').trim());
    }
    return cores.size;
  } catch {
    return logical;
  }
}
