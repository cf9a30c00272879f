// The promote dialog for a version of which only the reference is known.

import { h } from 'preact';
import { ask, part } from '../../api/client.ts';
import type { Page } from '../../api/pages.ts';
import type { Adapter, Alias } from '../../api/types.ts';
import { useResource } from '../../state/resource.ts';
import { PromoteDialog } from '../adapters/promote.ts';

/** @param reference `name@version` */
export function PromoteReference({ reference, onClose }: { reference: string; onClose: () => void }) {
  const [name = '', version = '1'] = reference.split('@');
  const at = `/v1/adapters/${part(name)}`;
  const read = async (signal: AbortSignal) => {
    const [versions, aliases] = await Promise.all([
      ask<Page<Adapter>>(`${at}/versions`, { signal }),
      ask<Page<Alias>>(`${at}/aliases`, { signal }),
    ]);
    return { versions: versions.data, aliases: aliases.data };
  };
  const whole = useResource(reference, read);
  if (whole.value === null) return null;
  return h(PromoteDialog, { name, version: Number(version), ...whole.value, onDone: onClose, onClose });
}
