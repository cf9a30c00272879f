// Starts a training: rows, a name, settings. The server chooses the settings that are left empty.

import { h } from 'preact';
import { useState } from 'preact/hooks';
import { ask } from '../../api/client.ts';
import type { FileObject, Job } from '../../api/types.ts';
import { Button } from '../../parts/button.ts';
import { Check, TextField } from '../../parts/fields.ts';
import { Card, Heading } from '../../parts/heading.ts';
import { Loaded } from '../../parts/loaded.ts';
import { ErrorNote } from '../../parts/notes.ts';
import { useAction } from '../../state/action.ts';
import { useResource } from '../../state/resource.ts';
import { go, href } from '../../state/route.ts';
import { jobsUrl } from './jobs.ts';
import { RowsFile } from './rows-file.ts';
import { SettingsForm } from './settings-form.ts';
import { hyperparametersOf, readSettings, type Setting } from './settings-schema.ts';

type Result = {
  readonly suffix: string;
  readonly model: string;
  readonly alias: string;
  readonly onlyIfBetter: boolean;
};

export function NewJob() {
  const settings = useResource<Setting[]>('settings', readSettings);
  const [rows, setRows] = useState<FileObject | null>(null);
  const [validation, setValidation] = useState<FileObject | null>(null);
  const [result, setResult] = useState<Result>({ suffix: '', model: '', alias: '', onlyIfBetter: false });
  const [typed, setTyped] = useState<Readonly<Record<string, string>>>({});
  const action = useAction();
  const start = () =>
    action.run(async () => {
      const { suffix, model, alias, onlyIfBetter } = result;
      const hyperparameters = hyperparametersOf(settings.value ?? [], typed);
      const body = {
        training_file: rows!.id,
        ...(validation === null ? {} : { validation_file: validation.id }),
        ...(suffix === '' ? {} : { suffix }),
        ...(model === '' ? {} : { model }),
        ...(alias === '' ? {} : { alias, ...(onlyIfBetter ? { alias_if_better: true } : {}) }),
        method: { type: 'supervised', supervised: { hyperparameters } },
      };
      const job = await ask<Job>(jobsUrl, { method: 'POST', body });
      go(['training', job.id]);
    });
  return h(
    'div',
    { class: 'whole' },
    h(Heading, { title: 'New training', above: { title: 'Training', href: href(['training']) } }),
    h(
      'div',
      { class: 'cards' },
      h(
        Card,
        { title: 'Rows to train on' },
        h(RowsFile, { label: 'Drop a JSONL file, or choose one', file: rows, onFile: setRows }),
        h('p', { class: 'faint' }, 'Each line is {"prompt", "completion"} or {"messages"}.'),
      ),
      h(
        Card,
        { title: 'Rows to validate with' },
        h(RowsFile, { label: 'Drop a JSONL file, or leave this out', file: validation, onFile: setValidation }),
        h('p', { class: 'faint' }, 'With them the best checkpoint becomes the result, not the last one.'),
      ),
    ),
    h(Card, { title: 'What comes of it' }, h(ResultFields, { result, onChange: setResult })),
    h(
      Card,
      { title: 'Settings' },
      h(Loaded<Setting[]>, {
        resource: settings,
        what: 'settings',
        children: (all) => {
          const onType = (name: string, text: string) => setTyped((before) => ({ ...before, [name]: text }));
          return h(SettingsForm, { settings: all, typed, onType });
        },
      }),
    ),
    action.error && h(ErrorNote, { error: action.error }),
    h(
      'div',
      { class: 'actions' },
      h(
        Button,
        { kind: 'primary', icon: 'play', isDisabled: rows === null, isBusy: action.isRunning, onClick: start },
        'Start training',
      ),
      rows === null && h('span', { class: 'faint' }, 'It needs rows first.'),
    ),
  );
}

function ResultFields({ result, onChange }: { result: Result; onChange: (result: Result) => void }) {
  const set = (change: Partial<Result>) => onChange({ ...result, ...change });
  return h(
    'div',
    { class: 'fields' },
    h(TextField, {
      ...{ label: 'Name', value: result.suffix, onChange: (suffix: string) => set({ suffix }) },
      ...{ placeholder: 'ft-...', hint: 'A name that is there gets a new version.' },
    }),
    h(TextField, {
      ...{ label: 'Go on from', value: result.model, onChange: (model: string) => set({ model }) },
      ...{ placeholder: 'the base model', hint: 'Or an adapter of yours: name, name@2, name:prod.' },
    }),
    h(TextField, {
      ...{ label: 'Alias', value: result.alias, onChange: (alias: string) => set({ alias }) },
      ...{ placeholder: 'none', hint: 'Moves to the new version when it succeeds.' },
    }),
    result.alias !== '' &&
      h(Check, {
        label: 'Only if its validation loss is better',
        value: result.onlyIfBetter,
        onChange: (onlyIfBetter: boolean) => set({ onlyIfBetter }),
      }),
  );
}
