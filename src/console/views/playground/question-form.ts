// The prompt and its sampling parameters.

import { h } from 'preact';
import { Button } from '../../parts/button.ts';
import { TextArea, TextField } from '../../parts/fields.ts';
import type { Question } from './question.ts';

type Props = {
  readonly question: Question;
  readonly isRunning: boolean;
  readonly isColored: boolean;
  readonly onChange: (question: Question) => void;
  readonly onColored: (isColored: boolean) => void;
  readonly onAsk: () => void;
  readonly onStop: () => void;
};

export function QuestionForm(props: Props) {
  const { question, isRunning, isColored, onChange, onColored, onAsk, onStop } = props;
  const set = (change: Partial<Question>) => onChange({ ...question, ...change });
  const isChat = question.form === 'chat';
  const submit = (event: Event) => {
    event.preventDefault();
    if (!isRunning) onAsk();
  };
  const keys = (event: KeyboardEvent) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) submit(event);
  };
  return h(
    'form',
    { class: 'card question', onSubmit: submit, onKeyDown: keys },
    h(
      'div',
      { class: 'row', role: 'group', 'aria-label': 'Form of the prompt' },
      h(Button, { isSmall: true, isPressed: isChat, onClick: () => set({ form: 'chat' }) }, 'Chat'),
      h(Button, { isSmall: true, isPressed: !isChat, onClick: () => set({ form: 'text' }) }, 'Plain text'),
    ),
    isChat &&
      h(TextField, {
        label: 'System message',
        value: question.system,
        onChange: (system: string) => set({ system }),
        placeholder: 'none',
      }),
    h(TextArea, {
      label: isChat ? 'Message' : 'Text to go on from',
      value: question.prompt,
      onChange: (prompt: string) => set({ prompt }),
    }),
    h(
      'div',
      { class: 'sampling' },
      h(Sampling, { question, set }),
      h(
        'div',
        { class: 'actions' },
        h(Button, { isPressed: isColored, onClick: () => onColored(!isColored) }, 'Colour by likelihood'),
        isRunning
          ? h(Button, { icon: 'stop', onClick: onStop }, 'Stop')
          : h(Button, { kind: 'primary', icon: 'play', isSubmit: true }, 'Ask all'),
      ),
    ),
  );
}

type SamplingProps = { question: Question; set: (change: Partial<Question>) => void };

function Sampling({ question, set }: SamplingProps) {
  const number = (label: string, name: 'temperature' | 'topP' | 'maxTokens' | 'seed', range: object) =>
    h(TextField, {
      ...{ label, type: 'number' as const, value: String(question[name]), ...range },
      onChange: (text: string) => text !== '' && Number.isFinite(Number(text)) && set({ [name]: Number(text) }),
    });
  return h(
    'div',
    { class: 'numbers' },
    number('Temperature', 'temperature', { min: 0, max: 2, step: 'any' }),
    number('Top p', 'topP', { min: 0.01, max: 1, step: 'any' }),
    number('Tokens at most', 'maxTokens', { min: 1, max: 100_000 }),
    number('Seed', 'seed', { min: 0 }),
  );
}
