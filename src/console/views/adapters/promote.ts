// Points an alias to a version: for all requests, or for a share of them beside the current version.

import { h } from 'preact';
import { useState } from 'preact/hooks';
import type { Adapter, Alias } from '../../api/types.ts';
import { Button } from '../../parts/button.ts';
import { Dialog } from '../../parts/dialog.ts';
import { Slider, TextField } from '../../parts/fields.ts';
import { ErrorNote } from '../../parts/notes.ts';
import { useAction } from '../../state/action.ts';
import { moveAlias, sharesOf, type Target, targetsText } from './alias-change.ts';

type Props = {
  readonly name: string;
  readonly version: number;
  readonly versions: readonly Adapter[];
  readonly aliases: readonly Alias[];
  readonly onDone: () => void;
  readonly onClose: () => void;
};

export function PromoteDialog({ name, version, aliases, onDone, onClose }: Props) {
  const [alias, setAlias] = useState(aliases[0]?.alias ?? 'prod');
  const [share, setShare] = useState(100);
  const action = useAction();
  const before = aliases.find((one) => one.alias === alias) ?? null;
  const other = before === null ? null : (sharesOf(before.targets).find((one) => one.version !== version) ?? null);
  const targets: Target[] =
    other === null || share === 100
      ? [{ version, weight: 1 }]
      : [
          { version, weight: share / 100 },
          { version: other.version, weight: 1 - share / 100 },
        ];
  const send = () => action.run(() => moveAlias({ name, alias, targets, before, onChange: onDone }));
  const hint =
    before === null ? `${name}:${alias} will be new.` : `${name}:${alias} is ${targetsText(before.targets)} now.`;
  return h(
    Dialog,
    { title: `Promote v${version}`, onClose },
    h(
      'datalist',
      { id: 'aliases' },
      aliases.map((one) => h('option', { key: one.alias, value: one.alias })),
    ),
    h(TextField, { label: 'Alias', value: alias, onChange: setAlias, list: 'aliases', hint }),
    other !== null &&
      h(Slider, {
        label: `Share of requests for v${version}`,
        ...{ min: 1, max: 100, step: 1, value: share, onChange: setShare },
        shown: share === 100 ? 'all' : `${share} %`,
        hint: share === 100 ? 'Below all of them it is a canary.' : `v${other.version} keeps ${100 - share} %.`,
      }),
    action.error && h(ErrorNote, { error: action.error }),
    h(
      'footer',
      null,
      h(Button, { onClick: onClose }, 'Cancel'),
      h(
        Button,
        { kind: 'primary', icon: 'promote', isBusy: action.isRunning, isDisabled: alias === '', onClick: send },
        share === 100 || other === null ? 'Promote' : 'Start the canary',
      ),
    ),
  );
}
