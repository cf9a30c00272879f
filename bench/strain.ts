// npm run bench:strain [-- --part overload,connections,recovery] [--save]: measures a server on the real model under
// strain. Overload: answers within a deadline at 1.5 and 5 times the engine's capacity, with `timeout_ms` and without.
// Connections: 2,000 idle or stuck ones of one key, and how long another tenant waits beside them. Recovery: the time
// until a killed engine answers again, beside the time for loading its weights.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadConfig } from '../src/config.ts';
import { modelSources } from '../src/main/model.ts';
import { resolveModel } from '../src/models/resolve.ts';
import { describeMachine } from './machine.ts';
import { measureConnections } from './strain/connections.ts';
import { measureOverload } from './strain/overload.ts';
import { measureLoad, measureRecovery } from './strain/recovery.ts';
import { startStrained } from './strain/server.ts';

const { values: flags } = parseArgs({
  options: {
    part: { type: 'string', default: 'overload,connections,recovery' },
    model: { type: 'string' },
    'deadline-ms': { type: 'string', default: '4000' },
    seconds: { type: 'string', default: '60' },
    connections: { type: 'string', default: '2000' },
    asks: { type: 'string', default: '40' },
    rounds: { type: 'string', default: '3' },
    save: { type: 'boolean', default: false },
  },
});
const parts = new Set(flags.part.split(','));
const rounds = Number(flags.rounds);
const { config } = loadConfig(flags.model === undefined ? {} : { model: flags.model });
const model = await resolveModel(config.model, { ...modelSources(config), log: console.error });
const server = await startStrained(flags.model ?? model.weights[0]!, config.dataDir);
const result: Record<string, unknown> = { startMs: server.startMs };
try {
  if (parts.has('connections')) {
    const sizes = { connections: Number(flags.connections), asks: Number(flags.asks), rounds };
    result.connections = await measureConnections(server, sizes);
  }
  if (parts.has('overload')) {
    const load = { times: [1.5, 5], deadlineMs: Number(flags['deadline-ms']), seconds: Number(flags.seconds) };
    result.overload = await measureOverload(server, load);
  }
  if (parts.has('recovery')) result.recovery = await measureRecovery(server, rounds);
} finally {
  await server.stop();
}
if (parts.has('recovery')) {
  const load = await measureLoad({ ...config, model }, rounds);
  result.load = load;
  console.log(`loading the weights alone takes ${load.loads.map((ms) => ms.toFixed(0)).join(', ')} ms`);
}
const machine = describeMachine();
console.log(`${machine.cpu}, ${machine.cores} cores, commit ${machine.commit}`);
if (flags.save) {
  const name = `${new Date().toISOString().slice(0, 10)}-strain-${[...parts].join('-')}.json`;
  const path = join(fileURLToPath(new URL('results', import.meta.url)), name);
  writeFileSync(path, `${JSON.stringify({ machine, ...result }, null, 2)}\n`);
  console.log(`written to bench/results/${name}`);
}
process.exit(0);
