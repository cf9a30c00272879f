// `lorikeet replicas`: the servers that share a running server's database.

import type { Replica, ReplicaList } from '../server/schemas/replicas.ts';
import { askServer } from './ask-server.ts';
import { type Command, exitCodes } from './command.ts';
import { table } from './help.ts';

export const replicasCommand: Command = {
  name: 'replicas',
  usage: 'replicas',
  summary: "servers that share a running server's database: whether others wait for them, and what each is at",
  options: {},
  settings: 'client',
  positionalsMax: 0,
  async run({ json, print, printJson, loadConfig }) {
    const replicas = await askServer(loadConfig().config).get<ReplicaList>('/v1/admin/replicas');
    if (json) printJson(replicas);
    else for (const line of table(replicas.data.map(rowOf))) print(line);
    return exitCodes.ok;
  },
};

function rowOf({ id, is_this, lease_seconds: lease, changes_behind: behind, status }: Replica): string[] {
  return [
    `${id}${is_this ? ' (this one)' : ''}`,
    `${status.host ?? ''}`,
    `${status.engine ?? ''}`,
    `${status.running ?? 0} running, ${status.waiting ?? 0} waiting`,
    lease === null ? 'alone' : lease < 0 ? `gone for ${Math.round(-lease)} s` : 'there',
    behind === 0 ? '' : `${behind} changes behind`,
  ];
}
