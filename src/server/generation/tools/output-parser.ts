// Parses a model's output in a chat as it comes, into its thinking, its text and its tool calls.

import type { ToolCall } from '../../schemas/tools.ts';
import type { CallForm } from './call-forms.ts';
import { type CallDelta, CallParser, overlap } from './call-parser.ts';

export type OutputDelta = CallDelta | { readonly reasoning: string };

export type OutputParser = {
  push(text: string): OutputDelta[];
  /** Gives what is left at the output's end. */
  finish(): OutputDelta[];
};

export type OutputOptions = {
  /** The form of tool calls; null: there are no tools, or none may be called. */
  readonly form: CallForm | null;
  readonly names: ReadonlySet<string>;
  /**
   * `marked`: thinking is between <think> and </think>; `open`: the prompt has opened it already; `none`: there is
   * none.
   */
  readonly thinking: 'none' | 'marked' | 'open';
  readonly newId: () => string;
};

const start = '<think>';
const end = '</think>';

export function outputParser({ form, names, thinking, newId }: OutputOptions): OutputParser {
  const calls = form === null ? null : new CallParser({ form, names, newId });
  const say = (text: string): OutputDelta[] => (calls ? calls.push(text) : text === '' ? [] : [{ content: text }]);
  let phase: 'start' | 'thinking' | 'thought' | 'said' =
    thinking === 'none' ? 'said' : thinking === 'open' ? 'thinking' : 'start';
  let held = '';

  const read = (text: string, isLast: boolean): OutputDelta[] => {
    if (phase === 'said') return say(text);
    if (phase === 'thought') {
      // White space between thinking and answer is dropped.
      const said = text.trimStart();
      if (said !== '') phase = 'said';
      return say(said);
    }
    held += text;
    if (phase === 'start') {
      const begun = held.trimStart();
      if (!isLast && begun.length < start.length && start.startsWith(begun)) return [];
      phase = begun.startsWith(start) ? 'thinking' : 'said';
      held = phase === 'thinking' ? begun.slice(start.length) : held;
    }
    if (phase === 'thinking') return think(isLast);
    const all = held;
    held = '';
    return say(all);
  };
  const think = (isLast: boolean): OutputDelta[] => {
    const at = held.indexOf(end);
    if (at < 0) {
      const thought = isLast ? held : held.slice(0, held.length - overlap(held, end));
      held = held.slice(thought.length);
      return thought === '' ? [] : [{ reasoning: thought }];
    }
    const [thought, said] = [held.slice(0, at), held.slice(at + end.length).trimStart()];
    phase = said === '' ? 'thought' : 'said';
    held = '';
    return [...(thought === '' ? [] : [{ reasoning: thought }]), ...say(said)];
  };
  return {
    push: (text) => read(text, false),
    finish: () => [...read('', true), ...(calls?.finish() ?? [])],
  };
}

export type ParsedOutput = { content: string; reasoning: string; calls: ToolCall[] };

/** Parses a whole output at once. */
export function parseOutput(options: OutputOptions, text: string): ParsedOutput {
  const parser = outputParser(options);
  const parsed: ParsedOutput = { content: '', reasoning: '', calls: [] };
  for (const delta of [...parser.push(text), ...parser.finish()]) {
    if ('content' in delta) parsed.content += delta.content;
    else if ('reasoning' in delta) parsed.reasoning += delta.reasoning;
    else {
      const { index, id = '', function: part } = delta.call;
      parsed.calls[index] ??= { id, type: 'function', function: { name: part.name ?? '', arguments: '' } };
      parsed.calls[index].function.arguments += part.arguments ?? '';
    }
  }
  return parsed;
}
