// Reads the tokens that the model wants around a sequence: usually a beginning-of-sequence token, or nothing.

import { invalid } from './refuse.ts';
import type { PostProcessorPart } from './tokenizer-schema.ts';

export type Affixes = { readonly prefix: readonly number[]; readonly suffix: readonly number[] };

export function readAffixes(parts: readonly PostProcessorPart[]): Affixes {
  let affixes: Affixes = { prefix: [], suffix: [] };
  for (const part of parts) {
    if (part.type !== 'TemplateProcessing') continue;
    const { prefix, suffix } = templateAffixes(part);
    affixes = { prefix: [...prefix, ...affixes.prefix], suffix: [...affixes.suffix, ...suffix] };
  }
  return affixes;
}

function templateAffixes(part: Extract<PostProcessorPart, { type: 'TemplateProcessing' }>): Affixes {
  const text = part.single.findIndex((item) => 'Sequence' in item);
  if (text < 0) throw invalid('tokenizer.json: the post_processor has no place for the text.');
  const tokensOf = (items: typeof part.single) =>
    items.flatMap((item) => {
      if ('Sequence' in item) return [];
      const token = part.special_tokens[item.SpecialToken.id];
      if (token === undefined) throw invalid(`tokenizer.json: the post_processor lacks ${item.SpecialToken.id}.`);
      return token.ids;
    });
  return { prefix: tokensOf(part.single.slice(0, text)), suffix: tokensOf(part.single.slice(text + 1)) };
}
