// An answer token by token, each darker the less likely it was. One token is shown in detail, chosen by the mouse or
// the arrow keys.

import { h } from 'preact';
import { useState } from 'preact/hooks';
import { percent } from '../../figures.ts';
import type { Piece } from './run.ts';

type Props = {
  readonly pieces: readonly Piece[];
  readonly isColored: boolean;
  readonly isStreaming: boolean;
  /** Index of the first token that differs from the first column's; null: none does. */
  readonly differsAt: number | null;
  readonly label: string;
};

/** Lowest probabilities of the five shades. */
const shades = [0.9, 0.6, 0.3, 0.1, 0];

const shadeOf = (logprob: number) => shades.findIndex((least) => Math.exp(logprob) >= least);

export function Tokens({ pieces, isColored, isStreaming, differsAt, label }: Props) {
  const [at, setAt] = useState<number | null>(null);
  if (!isColored) {
    const text = pieces.map((piece) => piece.text).join('');
    return h('div', { class: `answer ${isStreaming ? 'streaming' : ''}` }, text);
  }
  const move = (event: KeyboardEvent) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined || pieces.length === 0) return;
    event.preventDefault();
    setAt(Math.min(pieces.length - 1, Math.max(0, (at ?? -step) + step)));
  };
  const over = (event: MouseEvent) => {
    const index = (event.target as HTMLElement).dataset.at;
    if (index !== undefined) setAt(Number(index));
  };
  return h(
    'div',
    { class: 'inspected' },
    h(
      'div',
      {
        class: `answer colored ${isStreaming ? 'streaming' : ''}`,
        tabIndex: 0,
        role: 'group',
        'aria-label': `${label}: arrow keys go through the tokens`,
        onKeyDown: move,
        onMouseOver: over,
      },
      pieces.map(({ text, logprob }, i) =>
        h('span', { key: i, 'data-at': i, class: tokenClass(logprob, i === at, i === differsAt) }, text),
      ),
    ),
    h(Closely, { piece: at === null ? null : (pieces[at] ?? null) }),
  );
}

function tokenClass(logprob: number | null, isChosen: boolean, differs: boolean): string {
  const shade = logprob === null ? '' : `shade-${shadeOf(logprob)}`;
  return `${shade}${isChosen ? ' chosen' : ''}${differs ? ' differs' : ''}`;
}

/** Shows the probability of a token and of its alternatives. */
function Closely({ piece }: { piece: Piece | null }) {
  if (piece === null || piece.logprob === null) {
    return h('p', { class: 'closely faint' }, 'Point at a token to see what else was likely.');
  }
  return h(
    'dl',
    { class: 'closely', 'aria-live': 'polite' },
    h('div', { class: 'own' }, h('dt', null, shownText(piece.text)), h('dd', null, likely(piece.logprob))),
    piece.top
      .filter(({ token }) => token !== piece.text)
      .slice(0, 3)
      .map(({ token, logprob }) =>
        h('div', { key: token }, h('dt', null, shownText(token)), h('dd', null, likely(logprob))),
      ),
  );
}

const likely = (logprob: number) => percent(Math.exp(logprob), 1);

/** Makes spaces and line ends visible. */
const shownText = (text: string) => text.replaceAll(' ', '␣').replaceAll('\n', '↵') || '(nothing)';
