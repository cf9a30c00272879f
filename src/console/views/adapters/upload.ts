// Uploads a PEFT folder as a version: finds its two files, sends them with a progress bar, and shows a refusal as it
// is.

import { h } from 'preact';
import { useRef, useState } from 'preact/hooks';
import type { Adapter } from '../../api/types.ts';
import { upload } from '../../api/upload.ts';
import { bytes, percent } from '../../figures.ts';
import { Button } from '../../parts/button.ts';
import { Dialog } from '../../parts/dialog.ts';
import { DropZone } from '../../parts/drop-zone.ts';
import { Progress } from '../../parts/facts.ts';
import { TextField } from '../../parts/fields.ts';
import { ErrorNote, Warning } from '../../parts/notes.ts';
import { useAction } from '../../state/action.ts';
import { say } from '../../state/toasts.ts';

export type Picked = { readonly files: readonly File[]; readonly folder: string | null };

const needed = ['adapter_config.json', 'adapter_model.safetensors'] as const;

type Props = {
  readonly picked: Picked;
  /** The adapter that gets a new version; left out: the dialog asks for a name. */
  readonly name?: string;
  readonly onDone: () => void;
  readonly onClose: () => void;
};

export function UploadDialog({ picked, name: given, onDone, onClose }: Props) {
  const [{ files, folder }, setPicked] = useState(picked);
  const [typed, setName] = useState<string | null>(null);
  const [share, setShare] = useState(0);
  const action = useAction();
  const stop = useRef(new AbortController());
  const name = given ?? typed ?? folder ?? '';
  const found = needed.map((wanted) => files.find((file) => file.name === wanted));
  const missing = needed.filter((_, i) => found[i] === undefined);
  const send = () =>
    action.run(async () => {
      const form = new FormData();
      form.append('name', name);
      for (const [i, wanted] of needed.entries()) form.append(wanted, found[i]!, wanted);
      stop.current = new AbortController();
      const made = await upload<Adapter>('/v1/adapters', form, stop.current.signal, setShare);
      say(`${made.id} is ready.`);
      onDone();
    });
  const close = () => {
    stop.current.abort(new Error('The upload was stopped.'));
    onClose();
  };
  const take = (files: readonly File[], folder: string | null) => {
    action.clear();
    setPicked({ files, folder });
  };
  return h(
    Dialog,
    { title: given === undefined ? 'Upload an adapter' : `A new version of ${given}`, onClose: close },
    h(DropZone, { label: 'Drop a folder that PEFT saved, or choose one', isFolder: true, onFiles: take }),
    h(Chosen, { found, missing, isEmpty: files.length === 0 }),
    given === undefined && h(TextField, { label: 'Name', value: name, onChange: setName, placeholder: 'team/adapter' }),
    action.isRunning && h(Sending, { share }),
    action.error && h(ErrorNote, { error: action.error }),
    h(
      'footer',
      null,
      h(Button, { onClick: close }, action.isRunning ? 'Stop' : 'Cancel'),
      h(
        Button,
        { kind: 'primary', isDisabled: missing.length > 0 || name === '', isBusy: action.isRunning, onClick: send },
        'Upload',
      ),
    ),
  );
}

const Sending = ({ share }: { share: number }) =>
  h(
    'div',
    { class: 'sending' },
    h(Progress, { share, label: 'Upload' }),
    h('span', null, share < 1 ? percent(share) : 'The server checks it'),
  );

type ChosenProps = { found: readonly (File | undefined)[]; missing: readonly string[]; isEmpty: boolean };

function Chosen({ found, missing, isEmpty }: ChosenProps) {
  if (isEmpty) return null;
  return h(
    'div',
    { class: 'stack' },
    h(
      'ul',
      { class: 'files' },
      found.map((file) => file && h('li', { key: file.name }, h('code', null, file.name), ` ${bytes(file.size)}`)),
    ),
    missing.length > 0 && h(Warning, null, `Not among the files: ${missing.join(' and ')}.`),
  );
}
