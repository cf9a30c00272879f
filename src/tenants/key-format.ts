// The format of a key, `lk_<prefix>_<secret>`, and the hash that is stored. Knows no storage.

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

const pattern = /^lk_([0-9a-f]{12})_([0-9a-f]{48})$/;

export type KeyParts = { readonly prefix: string; readonly secret: string };

export function generateKey(): KeyParts {
  return { prefix: randomBytes(6).toString('hex'), secret: randomBytes(24).toString('hex') };
}

export const formatKey = ({ prefix, secret }: KeyParts): string => `lk_${prefix}_${secret}`;

export function parseKey(text: string): KeyParts | null {
  const [, prefix, secret] = pattern.exec(text) ?? [];
  return prefix !== undefined && secret !== undefined ? { prefix, secret } : null;
}

/** SHA-256 is enough for 192 random bits; slow hashes protect secrets that people choose. */
export const hashSecret = (secret: string): Buffer => createHash('sha256').update(secret).digest();

/** Compares in a time that does not tell how far two secrets agree. */
export const secretMatches = (secret: string, hash: Buffer): boolean => timingSafeEqual(hashSecret(secret), hash);
