// Prepares a conversation for a chat template, and encodes the text that the template renders.

import type { ControlGuard } from './control-guard.ts';
import type { Encoder } from './encoder.ts';
import type { ChatMessage, ChatOptions } from './tokenizer.ts';
import { toolTurns } from './tool-turns.ts';

export type OpenChat = {
  readonly messages: readonly ChatMessage[];
  readonly variables: Readonly<Record<string, unknown>>;
  encode(text: string): number[];
};

export function chatEncoder(encoder: Encoder, guard: ControlGuard, isSpecial: (token: number) => boolean) {
  return {
    /** @param source the template's text, which shows whether it knows tools */
    open(source: string, messages: readonly ChatMessage[], { tools = [], variables = {} }: ChatOptions): OpenChat {
      const turns = toolTurns(source, messages, tools);
      const guarded = guard(turns.messages, { ...variables, ...turns.variables });
      const encode = (text: string): number[] =>
        encoder
          .cut(text.toWellFormed(), true)
          .flatMap((section, index) =>
            typeof section === 'number' ? section : encoder.encode(guarded.unmark(section), false, index === 0),
          );
      return { ...guarded, encode };
    },
    /** Gives the control token with which a text begins; null where it begins with none. */
    endToken(text: string): number | null {
      const [first] = encoder.cut(text, true);
      return typeof first === 'number' && isSpecial(first) ? first : null;
    },
  };
}
