// Normalises plain text before it is split: Unicode forms, and the replacements of SentencePiece vocabularies.

import { toRegExp } from './pattern.ts';
import type { NormalizerPart } from './tokenizer-schema.ts';

export type Normalizer = (text: string) => string;

export function createNormalizer(parts: readonly NormalizerPart[]): Normalizer {
  const steps = parts.map(stepOf);
  return (text) => steps.reduce((current, step) => step(current), text);
}

function stepOf(part: NormalizerPart): Normalizer {
  switch (part.type) {
    case 'Prepend':
      return (text) => (text === '' ? '' : part.prepend + text);
    case 'Replace': {
      const regExp = toRegExp(part.pattern);
      return (text) => text.replace(regExp, () => part.content);
    }
    default:
      return (text) => text.normalize(part.type);
  }
}
