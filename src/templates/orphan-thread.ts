// Kills the template process when its server has gone. The process itself cannot notice that while it is in an endless
// template.

import { workerData } from 'node:worker_threads';

const { parent } = workerData as { readonly parent: number };

setInterval(() => {
  if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL');
}, 1000);
