// Copies text to the clipboard.

import { h } from 'preact';
import { useState } from 'preact/hooks';
import { shortDigest } from '../figures.ts';
import { Button } from './button.ts';
import { Icon } from './icons.ts';

const shownMs = 1500;

/** @returns whether something was copied just now, and the function that copies */
export function useCopy(): [boolean, (text: string) => void] {
  const [isCopied, setCopied] = useState(false);
  const copy = (text: string) => {
    // Pages over plain HTTP from another machine have no clipboard.
    void navigator.clipboard?.writeText(text).then(() => {
      setCopied(true);
      setTimeout(() => setCopied(false), shownMs);
    });
  };
  return [isCopied, copy];
}

export function CopyButton({ text, word }: { text: () => string; word: string }) {
  const [isCopied, copy] = useCopy();
  const icon = isCopied ? 'check' : 'copy';
  return h(Button, { isSmall: true, kind: 'quiet', icon, onClick: () => copy(text()) }, isCopied ? 'Copied' : word);
}

/** Shows a digest's first digits; a click copies all of it. */
export function Digest({ digest }: { digest: string }) {
  const [isCopied, copy] = useCopy();
  return h(
    'button',
    { class: 'digest', type: 'button', title: `${digest}: copy`, onClick: () => copy(digest) },
    h('code', null, shortDigest(digest)),
    isCopied && h(Icon, { name: 'check' }),
    h('span', { class: 'unseen', role: 'status' }, isCopied ? 'copied' : ''),
  );
}
