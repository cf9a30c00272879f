// One target: its name, its answer, the weights that answered, and the times.

import { h } from 'preact';
import { count, figure, millis, plural } from '../../figures.ts';
import { Badge } from '../../parts/badge.ts';
import { Button } from '../../parts/button.ts';
import { CopyButton, Digest } from '../../parts/copy.ts';
import { Facts } from '../../parts/facts.ts';
import { ErrorNote } from '../../parts/notes.ts';
import { bodyOf, type Question } from './question.ts';
import type { Answer } from './run.ts';
import { asCurl, asPython } from './snippets.ts';
import { TargetSettings } from './target-settings.ts';
import { type Target, targetTitle } from './targets.ts';
import { Tokens } from './tokens.ts';

type Props = {
  readonly target: Target;
  readonly model: string;
  readonly question: Question;
  readonly answer: Answer | null;
  /** The first column's answer to compare with; null in the first column. */
  readonly beside: Answer | null;
  readonly isColored: boolean;
  readonly onChange: (target: Target) => void;
  readonly onRemove: (() => void) | null;
};

export function Column(props: Props) {
  const { target, model, question, answer, beside, isColored, onChange, onRemove } = props;
  const title = targetTitle(target, model);
  const differsAt = answer && beside && firstDifference(answer, beside);
  return h(
    'section',
    { class: 'card column', 'aria-label': title },
    h(
      'header',
      null,
      h('h2', { title }, title),
      target.reference === '' && h(Badge, null, 'base'),
      answer?.whole && h(Weights, { answer }),
      onRemove &&
        h(Button, { kind: 'quiet', isSmall: true, icon: 'close', label: `Remove ${title}`, onClick: onRemove }),
    ),
    target.reference !== '' && h(TargetSettings, { target, onChange }),
    answer === null
      ? h('p', { class: 'answer faint' }, 'Nothing asked yet.')
      : h(Tokens, {
          ...{ pieces: answer.pieces, isColored, differsAt, label: title },
          isStreaming: answer.state === 'waiting' || answer.state === 'streaming',
        }),
    answer?.error && h(ErrorNote, { error: answer.error }),
    answer && beside && answer.state === 'done' && h(Sameness, { differsAt }),
    answer && h(Timings, { answer }),
    h(
      'footer',
      { class: 'row' },
      h(CopyButton, { word: 'Copy as curl', text: () => asCurl(bodyOf(question, target)) }),
      h(CopyButton, { word: 'Copy as Python', text: () => asPython(bodyOf(question, target)) }),
    ),
  );
}

function Weights({ answer: { whole } }: { answer: Answer }) {
  const adapter = whole?.adapter;
  if (!adapter) return null;
  return h(
    'span',
    { class: 'tags' },
    h(Badge, { tone: 'accent' }, `v${adapter.version}`),
    adapter.merged_bits !== null && h(Badge, { tone: 'info' }, `merged, ${adapter.merged_bits} bits`),
    h(Digest, { digest: adapter.digest }),
  );
}

function Timings({ answer: { state, pieces, firstMs, totalMs, whole } }: { answer: Answer }) {
  const decodeMs = whole?.timings.decode_ms ?? 0;
  const tokens = whole?.usage.completion_tokens ?? pieces.length;
  const known = pieces.filter(({ logprob }) => logprob !== null);
  const mean = known.reduce((sum, { logprob }) => sum + logprob!, 0) / Math.max(1, known.length);
  const facts = [
    ['Tokens', count(tokens)],
    ...(firstMs === null ? [] : [['First token', millis(firstMs)] as const]),
    ...(decodeMs > 0 && tokens > 1 ? [['Tokens/s', figure(((tokens - 1) * 1000) / decodeMs)] as const] : []),
    ...(totalMs === null ? [] : [['All', millis(totalMs)] as const]),
    ...(whole === null ? [] : [['Queue', millis(whole.timings.queue_ms)] as const]),
    ...(whole === null
      ? []
      : [['Prompt', `${whole.usage.prompt_tokens} (${whole.usage.cached_tokens} cached)`] as const]),
    ...(known.length === 0 ? [] : [['Perplexity', figure(Math.exp(-mean))] as const]),
    ['End', whole?.finish_reason ?? state],
  ] as const;
  return h(Facts, { facts });
}

const Sameness = ({ differsAt }: { differsAt: number | null }) =>
  h(
    'p',
    { class: 'faint' },
    differsAt === null
      ? 'Word for word what the first one says.'
      : differsAt === 0
        ? 'Differs from the first one from the first word on.'
        : `Says the same as the first one for ${plural(differsAt, 'token')}.`,
  );

/** Index of the first token that differs; null where the answers are the same so far. */
function firstDifference({ pieces }: Answer, { pieces: others }: Answer): number | null {
  const differs = pieces.findIndex(({ text }, i) => text !== others[i]?.text);
  return differs === -1 ? null : differs;
}
