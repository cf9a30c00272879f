// Sends one prompt to several targets and shows the answers side by side. The targets are in the address, so that a
// comparison has a link.

import { h } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Heading } from '../parts/heading.ts';
import { replaceRoute } from '../state/route.ts';
import { baseModel } from '../state/server.ts';
import { useStore } from '../state/store.ts';
import { AddTarget } from './playground/add-target.ts';
import { Column } from './playground/column.ts';
import { bodyOf, keepQuestion, lastQuestion, type Question } from './playground/question.ts';
import { QuestionForm } from './playground/question-form.ts';
import { type Answer, runTarget, waiting } from './playground/run.ts';
import { base, parseTarget, type Target, targetsMax, targetText } from './playground/targets.ts';
import type { ViewProps } from './view.ts';

export function PlaygroundView({ route }: ViewProps) {
  const named = route.query.getAll('target').slice(0, targetsMax).map(parseTarget);
  const targets = named.length === 0 ? [base] : named;
  const model = useStore(baseModel)?.id ?? 'Base model';
  const [question, setQuestion] = useState<Question>(lastQuestion);
  const [answers, setAnswers] = useState<readonly (Answer | null)[]>([]);
  const [isColored, setColored] = useState(true);
  const stop = useRef<AbortController | null>(null);
  useEffect(() => () => stop.current?.abort(), []);
  const isRunning = answers.some((one) => one?.state === 'waiting' || one?.state === 'streaming');

  const setTargets = (next: readonly Target[]) => replaceRoute(['playground'], { target: next.map(targetText) });
  const place = (at: number, answer: Answer) => setAnswers((before) => before.with(at, answer));
  const ask = () => {
    stop.current?.abort();
    const run = new AbortController();
    stop.current = run;
    setAnswers(targets.map(() => waiting));
    for (const [i, target] of targets.entries()) {
      void runTarget(bodyOf(question, target), run.signal, (now) => stop.current === run && place(i, now));
    }
  };
  const remove = (at: number) => {
    setTargets(targets.toSpliced(at, 1));
    setAnswers((before) => before.toSpliced(at, 1));
  };
  const change = (next: Question) => {
    setQuestion(next);
    keepQuestion(next);
  };
  return h(
    'div',
    { class: 'whole' },
    h(Heading, { title: 'Playground', about: 'One prompt, one seed, side by side' }),
    h(QuestionForm, {
      ...{ question, isRunning, isColored, onChange: change, onColored: setColored, onAsk: ask },
      onStop: () => stop.current?.abort(),
    }),
    h(
      'div',
      { class: 'columns' },
      targets.map((target, i) =>
        h(Column, {
          key: `${i} ${target.reference}`,
          ...{ target, model, question, isColored, answer: answers[i] ?? null },
          beside: i === 0 ? null : (answers[0] ?? null),
          onChange: (next) => setTargets(targets.with(i, next)),
          onRemove: targets.length > 1 && !isRunning ? () => remove(i) : null,
        }),
      ),
    ),
    targets.length < targetsMax && !isRunning && h(AddTarget, { onAdd: (target) => setTargets([...targets, target]) }),
  );
}
