// Parses tool calls in an output that comes in parts. A call's name is reported as soon as it is certain, and its
// arguments as they come; what looks like a call and is none is reported as text.

import type { ToolCallDelta } from '../../schemas/tools.ts';
import type { CallForm } from './call-forms.ts';
import { type JsonEnd, jsonEnd } from './json-end.ts';

export type CallDelta = { readonly content: string } | { readonly call: ToolCallDelta };

export type CallParserOptions = {
  readonly form: CallForm;
  /** Names of the tools that may be called. */
  readonly names: ReadonlySet<string>;
  readonly newId: () => string;
};

const mark = '<tool_call>';
const endMark = '</tool_call>';
/** Beginning of the first call in the forms without a mark: at the very start, with or without a control token. */
const bareStart = /^\s*(?:<\|python_tag\|>|\[TOOL_CALLS\])?\s*\[?\s*(?=\{)/;
const bareStartSoFar = /^\s*(?:<[^{]{0,16}|\[[^{]{0,16})?$/;
const head = /^\{\s*"name"\s*:\s*"([^"\\]*)"\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)/;

export class CallParser {
  readonly #options: CallParserOptions;
  readonly #deltas: CallDelta[] = [];
  #held = '';
  #phase: 'text' | 'call' | 'arguments' | 'tail' = 'text';
  #calls = 0;
  #hasText = false;
  #end: JsonEnd = jsonEnd();
  /** Length of the part of `#held` that `#end` has read. */
  #seen = 0;

  constructor(options: CallParserOptions) {
    this.#options = options;
  }

  push(text: string): CallDelta[] {
    return this.#read(text, false);
  }

  finish(): CallDelta[] {
    const deltas = this.#read('', true);
    // The output ended with a mark and nothing behind it.
    if (this.#phase === 'call' && this.#options.form.name === 'hermes') deltas.push({ content: mark });
    return deltas;
  }

  #read(text: string, isLast: boolean): CallDelta[] {
    this.#held += text;
    while (this.#step(isLast)) {}
    return this.#deltas.splice(0);
  }

  /** Reads one part of the held text; false where more text is needed. */
  #step(isLast: boolean): boolean {
    if (this.#held === '') return false;
    if (this.#phase === 'call') return this.#readCall(isLast);
    if (this.#phase === 'arguments') return this.#readArguments();
    if (this.#phase === 'tail') return this.#readTail(isLast);
    return this.#options.form.name === 'hermes' ? this.#readMarked(isLast) : this.#readBare(isLast);
  }

  #readMarked(isLast: boolean): boolean {
    const at = this.#held.indexOf(mark);
    if (at >= 0) {
      this.#emitText(this.#held.slice(0, at));
      return this.#begin(at + mark.length);
    }
    const certain = isLast ? this.#held.length : this.#held.length - overlap(this.#held, mark);
    this.#emitText(this.#held.slice(0, certain));
    this.#held = this.#held.slice(certain);
    return false;
  }

  #readBare(isLast: boolean): boolean {
    if (this.#hasText) {
      this.#emitText(this.#held);
      this.#held = '';
      return false;
    }
    if (this.#calls > 0) this.#held = this.#held.replace(/^[\s;,\]]+/, '');
    const start = bareStart.exec(this.#held)?.[0];
    if (start !== undefined) return this.#begin(start.length);
    if (!isLast && bareStartSoFar.test(this.#held)) return false;
    this.#hasText = this.#calls === 0 && this.#held.trim() !== '';
    if (!this.#hasText) this.#held = '';
    return this.#hasText;
  }

  #begin(from: number): boolean {
    this.#held = this.#held.slice(from).trimStart();
    this.#phase = 'call';
    this.#end = jsonEnd();
    this.#seen = 0;
    return true;
  }

  #readCall(isLast: boolean): boolean {
    const { names } = this.#options;
    this.#held = this.#held.trimStart();
    if (this.#held === '') return false;
    const [start, name] = head.exec(this.#held) ?? [];
    if (name !== undefined && names.has(name)) {
      this.#emitName(name);
      this.#held = this.#held.slice(start!.length);
      this.#phase = 'arguments';
      return true;
    }
    // The call's members have another order, or this is no call: it is parsed when it is whole.
    const end = this.#held.startsWith('{') ? this.#end.push(this.#held.slice(this.#seen)) : 0;
    if (end < 0 && !isLast) {
      this.#seen = this.#held.length;
      return false;
    }
    const length = end < 0 ? this.#held.length : this.#seen + end;
    const call = wholeCall(this.#held.slice(0, length), names);
    if (call === null) return this.#emitAsText();
    this.#emitName(call.name);
    this.#emitArguments(call.arguments);
    this.#held = this.#held.slice(length);
    this.#calls++;
    this.#phase = 'tail';
    return true;
  }

  /** Reports the mark as text, with all that follows until the next mark. */
  #emitAsText(): boolean {
    if (this.#options.form.name === 'hermes') this.#emitText(mark);
    this.#hasText = true;
    const next = this.#held.indexOf(mark);
    const text = next < 0 ? this.#held : this.#held.slice(0, next);
    this.#emitText(text);
    this.#held = this.#held.slice(text.length);
    this.#phase = 'text';
    return true;
  }

  #readArguments(): boolean {
    const end = this.#end.push(this.#held);
    const part = end < 0 ? this.#held : this.#held.slice(0, end);
    this.#emitArguments(part);
    this.#held = this.#held.slice(part.length);
    if (end < 0) return false;
    this.#calls++;
    this.#phase = 'tail';
    return true;
  }

  /** Skips the closing brace of a call whose arguments came in parts, and the end mark. */
  #readTail(isLast: boolean): boolean {
    const { form } = this.#options;
    this.#held = this.#held.replace(/^\s*\}?\s*/, '');
    if (form.name === 'hermes' && !isLast && endMark.startsWith(this.#held)) {
      if (this.#held !== endMark) return false;
    }
    if (this.#held.startsWith(endMark)) this.#held = this.#held.slice(endMark.length).trimStart();
    this.#phase = 'text';
    return true;
  }

  #emitName(name: string): void {
    const id = this.#options.newId();
    this.#deltas.push({
      call: { index: this.#calls, id, type: 'function', function: { name, arguments: '' } },
    });
    this.#end = jsonEnd();
  }

  #emitArguments(part: string): void {
    if (part !== '') this.#deltas.push({ call: { index: this.#calls, function: { arguments: part } } });
  }

  /** Reports text; white space around calls is dropped. */
  #emitText(text: string): void {
    if (text === '' || (this.#calls > 0 && text.trim() === '')) return;
    this.#hasText = true;
    this.#deltas.push({ content: text });
  }
}

function wholeCall(text: string, names: ReadonlySet<string>): { name: string; arguments: string } | null {
  try {
    const { name, arguments: args, parameters = args } = JSON.parse(text) as Record<string, unknown>;
    if (typeof name !== 'string' || !names.has(name)) return null;
    const written = typeof parameters === 'string' ? JSON.parse(parameters) : (parameters ?? {});
    return typeof written === 'object' ? { name, arguments: JSON.stringify(written) } : null;
  } catch {
    return null;
  }
}

/** Length of the longest suffix of `text` that is a proper prefix of `mark`. */
export function overlap(text: string, mark: string): number {
  for (let length = Math.min(text.length, mark.length - 1); length > 0; length--) {
    if (text.endsWith(mark.slice(0, length))) return length;
  }
  return 0;
}
