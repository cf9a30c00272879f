// Ends the process of chat templates when its server has gone. The process itself cannot: it may be in the midst of a
// template without an end, and then it hears of nothing.

import { workerData } from 'node:worker_threads';

const { parent } = workerData as { readonly parent: number };

setInterval(() => {
  if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL');
}, 1000);
