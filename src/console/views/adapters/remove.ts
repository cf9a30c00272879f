// Deletes an adapter or one version, after a confirmation.

import { h } from 'preact';
import { ask, part } from '../../api/client.ts';
import { Confirm } from '../../parts/dialog.ts';
import { ErrorNote } from '../../parts/notes.ts';
import { useAction } from '../../state/action.ts';
import { go } from '../../state/route.ts';
import { say } from '../../state/toasts.ts';

type Deletion = { readonly deleted: boolean };

export function RemoveAdapter({ name, onClose }: { name: string; onClose: () => void }) {
  const action = useAction();
  const remove = () =>
    action.run(async () => {
      const { deleted } = await ask<Deletion>(`/v1/adapters/${part(name)}`, { method: 'DELETE' });
      say(deleted ? `${name} is deleted.` : `${name} goes when its last request has ended.`);
      go(['adapters']);
    });
  return h(
    Confirm,
    { title: `Delete ${name}?`, word: 'Delete all versions', isBusy: action.isRunning, onConfirm: remove, onClose },
    h('p', null, 'All versions and aliases go. Requests in flight are answered; new ones are refused.'),
    action.error && h(ErrorNote, { error: action.error }),
  );
}

type VersionProps = {
  readonly id: string;
  readonly name: string;
  readonly version: number;
  readonly onDone: () => void;
  readonly onClose: () => void;
};

export function RemoveVersion({ id, name, version, onDone, onClose }: VersionProps) {
  const action = useAction();
  const remove = () =>
    action.run(async () => {
      const path = `/v1/adapters/${part(name)}/versions/${version}`;
      const { deleted } = await ask<Deletion>(path, { method: 'DELETE' });
      say(deleted ? `${id} is deleted.` : `${id} goes when its last request has ended.`);
      onDone();
    });
  return h(
    Confirm,
    { title: `Delete ${id}?`, word: 'Delete the version', isBusy: action.isRunning, onConfirm: remove, onClose },
    h('p', null, 'Its number is never given again. A version that an alias points to cannot go.'),
    action.error && h(ErrorNote, { error: action.error }),
  );
}
