// Form fields with their labels.

import { type ComponentChildren, h } from 'preact';
import { useId } from 'preact/hooks';

type Labelled = { readonly label: string; readonly hint?: ComponentChildren };
type Given<V> = { readonly value: V; readonly onChange: (value: V) => void };

type TextProps = Labelled &
  Given<string> & {
    readonly type?: 'text' | 'number' | 'password' | 'search';
    readonly placeholder?: string;
    readonly min?: number;
    readonly max?: number;
    readonly step?: number | 'any';
    readonly list?: string;
    readonly isRequired?: boolean;
  };

const field = (id: string, { label, hint }: Labelled, input: ComponentChildren) =>
  h('div', { class: 'field' }, h('label', { for: id }, label), input, hint && h('p', { class: 'hint' }, hint));

export function TextField(props: TextProps) {
  const id = useId();
  const { value, onChange, type = 'text', placeholder, min, max, step, list, isRequired } = props;
  const onInput = (event: { currentTarget: HTMLInputElement }) => onChange(event.currentTarget.value);
  const common = { id, type, value, placeholder, min, max, step, list, onInput, required: isRequired };
  return field(id, props, h('input', { ...common, autocomplete: 'off', spellcheck: false }));
}

export function TextArea({ rows = 3, ...props }: Labelled & Given<string> & { rows?: number; placeholder?: string }) {
  const id = useId();
  const { value, onChange, placeholder } = props;
  const onInput = (event: { currentTarget: HTMLTextAreaElement }) => onChange(event.currentTarget.value);
  return field(id, props, h('textarea', { id, rows, value, placeholder, onInput }));
}

export type Option = { readonly value: string; readonly label: string };

export function Select(props: Labelled & Given<string> & { options: readonly Option[] }) {
  const id = useId();
  const { value, onChange, options } = props;
  const onInput = (event: { currentTarget: HTMLSelectElement }) => onChange(event.currentTarget.value);
  const choices = options.map((option) => h('option', { key: option.value, value: option.value }, option.label));
  return field(id, props, h('select', { id, value, onInput }, choices));
}

type SliderProps = Labelled & Given<number> & { min: number; max: number; step: number; shown: string };

export function Slider(props: SliderProps) {
  const id = useId();
  const { value, onChange, min, max, step, shown, label, hint } = props;
  const onInput = (event: { currentTarget: HTMLInputElement }) => onChange(Number(event.currentTarget.value));
  return h(
    'div',
    { class: 'field slider' },
    h('label', { for: id }, label),
    h('output', { for: id }, shown),
    h('input', { id, type: 'range', min, max, step, value, onInput, 'aria-valuetext': shown }),
    hint && h('p', { class: 'hint' }, hint),
  );
}

export function Check(props: Labelled & Given<boolean>) {
  const { label, value, onChange, hint } = props;
  const onInput = (event: { currentTarget: HTMLInputElement }) => onChange(event.currentTarget.checked);
  return h('label', { class: 'check' }, h('input', { type: 'checkbox', checked: value, onInput }), label, hint);
}
