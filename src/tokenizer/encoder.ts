// Encodes text to tokens: added tokens are cut out first, and the text between them is normalised, split and merged.

import { createAddedSplit, type Sections } from './added-tokens.ts';
import { createBpe } from './bpe.ts';
import { createNormalizer } from './normalizer.ts';
import { createPreTokenizer } from './pre-tokenizer.ts';
import type { TokenizerJson } from './tokenizer-json.ts';
import type { AddedToken } from './tokenizer-schema.ts';

export type Encoder = {
  /** Cuts added tokens out of raw text; control tokens only with `parseSpecial`. */
  cut(text: string, parseSpecial: boolean): Sections;
  /** Encodes text. `first`: the text is the beginning of the input, where some models put a space. */
  encode(text: string, parseSpecial: boolean, first?: boolean): number[];
};

export function createEncoder(json: TokenizerJson, added: readonly AddedToken[]): Encoder {
  const control = added.filter((token) => token.special);
  const others = added.filter((token) => !token.special);
  // Other added tokens may be looked for after normalisation. A control token is always looked for in raw text, so that
  // the guard and the parser see the same characters.
  const isLate = (token: AddedToken) => json.normalizer.length > 0 && (token.normalized ?? true);
  const early = others.filter((token) => !isLate(token));
  const cutAll = createAddedSplit([...control, ...early]);
  const cutOthers = createAddedSplit(early);
  const cutLate = createAddedSplit(others.filter(isLate));

  const normalize = createNormalizer(json.normalizer);
  const preTokenizer = createPreTokenizer(json.preTokenizer);
  const controlContents = new Set(control.map(({ content }) => content));
  const vocabulary = new Map(Object.entries(json.model.vocab).filter(([content]) => !controlContents.has(content)));
  const encodePiece = createBpe(json.model, vocabulary, preTokenizer.byteLevel);

  const cut = (text: string, parseSpecial: boolean) => (parseSpecial ? cutAll : cutOthers)(text);

  return {
    cut,
    encode(text, parseSpecial, first = true) {
      const tokens: number[] = [];
      cut(text.toWellFormed(), parseSpecial).forEach((section, index) => {
        const atStart = first && index === 0;
        if (typeof section === 'number') tokens.push(section);
        else encodePlain(section, atStart, tokens);
      });
      return tokens;
    },
  };

  function encodePlain(text: string, first: boolean, tokens: number[]): void {
    cutLate(normalize(text)).forEach((section, index) => {
      if (typeof section === 'number') tokens.push(section);
      else
        for (const piece of preTokenizer.split(section, first && index === 0))
          for (const token of encodePiece(piece)) tokens.push(token);
    });
  }
}
