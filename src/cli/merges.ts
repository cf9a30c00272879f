// `lorikeet merges [list]`, and the `merge` and `unmerge` of `lorikeet adapters`, on a running server.

import { setTimeout } from 'node:timers/promises';
import { LorikeetError } from '../core/errors.ts';
import type { Merge, MergeList } from '../server/schemas/merges.ts';
import { askServer, type Server, ServerRefusal } from './ask-server.ts';
import { type Command, exitCodes, type Invocation, UsageError } from './command.ts';
import { columns, table } from './help.ts';
import { megabytes } from './progress-bar.ts';

export const mergesCommand: Command = {
  name: 'merges',
  usage: 'merges [list]',
  summary: 'merged adapters of a running server: memory, share of the traffic, what rounding costs',
  options: {},
  settings: 'client',
  positionalsMax: 1,
  async run({ positionals: [verb = 'list'], json, print, printJson, loadConfig }) {
    if (verb !== 'list') throw new UsageError('Write `lorikeet merges list`.');
    const merges = await askServer(loadConfig().config).get<MergeList>('/v1/admin/merges');
    if (json) printJson(merges);
    else if (merges.data.length === 0) print('No merges. `lorikeet adapters merge <ref>` makes one.');
    else for (const line of mergeTable(merges)) print(line);
    return exitCodes.ok;
  },
};

const addressOf = (reference: string) => `/v1/admin/adapters/${encodeURIComponent(reference)}/merge`;

/**
 * Merges an adapter. With `--wait` it prints progress until the merge is over. It waits by the list of merges, because
 * another POST for a merge that failed would begin it anew.
 */
export async function mergeAdapter(server: Server, { flags, io }: Invocation, reference: string): Promise<Merge> {
  let merge = (await (await server.post(addressOf(reference), bitsOf(flags.bits))).json()) as Merge;
  let told = '';
  while (flags.wait === true && merge.state === 'merging') {
    const state = stateOf(merge);
    if (state !== told) io.stderr.write(`${state}\n`);
    told = state;
    await setTimeout(askAgainMs);
    merge = await mergeNow(server, merge);
  }
  return merge;
}

const askAgainMs = 1000;

async function mergeNow(server: Server, { id, adapters }: Merge): Promise<Merge> {
  const { data } = await server.get<MergeList>('/v1/admin/merges');
  const found = data.find((merge) => merge.id === id);
  if (found === undefined) {
    throw new LorikeetError('merge_not_found', { message: `${adapters[0]!.id} was unmerged meanwhile.` });
  }
  if (found.error === null) return found;
  throw new ServerRefusal(failedStatus, found.error.code, found.error.message);
}

/** HTTP status for a merge that failed while it was waited for; the list of merges gives none. */
const failedStatus = 500;

export async function unmergeAdapter(server: Server, reference: string): Promise<Merge> {
  return (await (await server.ask(addressOf(reference), { method: 'DELETE' })).json()) as Merge;
}

function bitsOf(flag: unknown): { bits?: number } {
  if (flag === undefined) return {};
  if (!['4', '8', '16', '32'].includes(String(flag))) throw new UsageError('--bits is 4, 8, 16 or 32.');
  return { bits: Number(flag) };
}

const namesOf = ({ adapters }: Merge) =>
  adapters.map(({ id, weight }) => (weight === 1 ? id : `${weight} ${id}`)).join(' + ');

const percent = (share: number) => `${Math.round(share * 100)} %`;

function stateOf({ state, progress, error }: Merge): string {
  if (state === 'merging') return `merging, ${percent(progress)}`;
  return error === null ? state : `${state}: ${error.code}`;
}

export function describeMerge(merge: Merge): string {
  const { bits, bytes, seconds, quality } = merge;
  return columns([
    ['merge', namesOf(merge)],
    ['state', stateOf(merge)],
    ['bits', bits === null ? 'its own' : String(bits)],
    ['size', bytes === null ? 'not known yet' : megabytes(bytes)],
    ...(seconds === null ? [] : [['made in', `${seconds.toFixed(1)} s`] as const]),
    ...(quality === null
      ? []
      : [['against unmerged', `mean KL ${quality.mean_kl.toPrecision(2)}, ${agreement(quality)}`] as const]),
  ]);
}

const agreement = ({ top1_agreement, positions }: NonNullable<Merge['quality']>) =>
  `same top token at ${(top1_agreement * 100).toFixed(1)} % of ${positions} positions`;

function mergeTable({ data, used_bytes, budget_bytes }: MergeList): string[] {
  const rows = data.map((merge) => [
    namesOf(merge),
    stateOf(merge),
    merge.bits === null ? '' : `${merge.bits} bits`,
    merge.bytes === null ? '' : megabytes(merge.bytes),
    `${percent(merge.share)} of the traffic`,
    merge.quality === null ? '' : `KL ${merge.quality.mean_kl.toPrecision(2)}`,
    merge.automatic ? 'automatic' : '',
  ]);
  return [...table(rows), `${megabytes(used_bytes)} of ${megabytes(budget_bytes)} used`];
}
