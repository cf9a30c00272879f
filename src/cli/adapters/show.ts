// Prints adapters: many as a table, one as a list of its properties.

import type { Adapter } from '../../server/schemas/adapters.ts';
import { date } from '../date.ts';
import { columns, table } from '../help.ts';
import { megabytes } from '../progress-bar.ts';

export function adapterTable(adapters: readonly Adapter[]): string[] {
  const rows = adapters.map((adapter) => [
    adapter.id,
    adapter.virtual_tokens > 0 ? `${adapter.virtual_tokens} tokens` : `r ${adapter.r}`,
    megabytes(adapter.bytes),
    date(adapter.created_at * 1000),
    [adapter.state, ...adapter.aliases.map((alias) => `:${alias}`)].join(' '),
  ]);
  return table(rows);
}

export const describeAdapter = (adapter: Adapter): string =>
  columns([
    ['id', adapter.id],
    ['digest', adapter.digest],
    ['base', adapter.base_digest],
    ...(adapter.virtual_tokens > 0
      ? [['virtual tokens', String(adapter.virtual_tokens)] as const]
      : [['rank', String(adapter.r)] as const, ['modules', adapter.target_modules.join(', ')] as const]),
    ['parameters', adapter.parameters.toLocaleString('en')],
    ['size', megabytes(adapter.bytes)],
    ['made', `${date(adapter.created_at * 1000)} by ${adapter.source}`],
    ['state', adapter.state],
    ...(adapter.chat_template === null ? [] : [['template', `its own, ${adapter.chat_template}`] as const]),
    ['aliases', adapter.aliases.join(', ') || 'none'],
    ...adapter.warnings.map((warning): [string, string] => ['warning', warning]),
  ]);
