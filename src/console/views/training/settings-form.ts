// A form of all settings, each with its meaning and with what the server chooses for an empty field.

import { h } from 'preact';
import { Select, TextField } from '../../parts/fields.ts';
import { isFirst, type Setting } from './settings-schema.ts';

type Props = {
  readonly settings: readonly Setting[];
  readonly typed: Readonly<Record<string, string>>;
  readonly onType: (name: string, text: string) => void;
};

export function SettingsForm({ settings, typed, onType }: Props) {
  const field = (setting: Setting) =>
    h(SettingField, {
      key: setting.name,
      setting,
      value: typed[setting.name] ?? '',
      onChange: (text: string) => onType(setting.name, text),
    });
  return h(
    'div',
    { class: 'stack' },
    h('div', { class: 'fields' }, settings.filter(isFirst).map(field)),
    h(
      'details',
      null,
      h('summary', null, 'All settings'),
      h('div', { class: 'fields' }, settings.filter((setting) => !isFirst(setting)).map(field)),
    ),
  );
}

type FieldProps = { readonly setting: Setting; readonly value: string; readonly onChange: (text: string) => void };

function SettingField({ setting: { name, description, kind, choices }, value, onChange }: FieldProps) {
  const common = { label: name, hint: description, value, onChange };
  if (kind !== 'choice') {
    const placeholder = choices.length > 0 ? `auto, ${choices.join(', ')} or a list` : 'auto';
    return h(TextField, { ...common, placeholder, type: kind === 'number' ? 'number' : 'text', step: 'any' });
  }
  const options = [{ value: '', label: 'auto' }, ...choices.map((choice) => ({ value: choice, label: choice }))];
  return h(Select, { ...common, options });
}
