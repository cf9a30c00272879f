// GPT-2's byte alphabet: each of the 256 bytes as one printable character, so that byte-level vocabularies are JSON
// text. Printable Latin-1 characters stand for themselves; every other byte takes the next character from U+0100 on.

function isPrintable(byte: number): boolean {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

let shifted = 0x100;
const characters = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : shifted++));
const bytes = new Map(characters.map((character, byte) => [character, byte]));

/** Writes the text's UTF-8 bytes as characters of the alphabet. */
export function toByteCharacters(text: string): string {
  let out = '';
  for (const byte of Buffer.from(text, 'utf8')) out += characters[byte];
  return out;
}

/** Gives the bytes of a byte-level token; null where a character is outside the alphabet. */
export function fromByteCharacters(text: string): Uint8Array | null {
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const byte = bytes.get(text[i]!);
    if (byte === undefined) return null;
    out[i] = byte;
  }
  return out;
}
