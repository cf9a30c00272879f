// Recognises a file by its first bytes where it is not what its name says, so that a refusal can say what it is.

/** Bytes from the start of a file that are enough to recognise it. */
export const kindPrefixBytes = 512;

export type FileKind = { readonly name: FileKindName /** Completes "<file> ...". */; readonly says: string };
type FileKindName = 'empty' | 'lfs' | 'html' | 'xml' | 'zip' | 'pickle' | 'gguf' | 'gzip' | 'numpy' | 'text';

const magic = (prefix: Uint8Array, ...bytes: number[]) => bytes.every((byte, index) => prefix[index] === byte);

/**
 * Recognises the file; null for bytes of no known kind, which may still be broken. Safetensors files begin with a
 * length.
 */
export function fileKind(prefix: Uint8Array): FileKind | null {
  const kind = (name: FileKindName, says: string): FileKind => ({ name, says });
  if (prefix.length === 0) return kind('empty', 'is empty');
  // Safetensors, whatever its first two bytes are: a header length below 16 MB, then the JSON's first bracket.
  if (prefix[8] === 0x7b && prefix.subarray(3, 8).every((byte) => byte === 0)) return null;
  if (magic(prefix, 0x50, 0x4b, 0x03, 0x04)) {
    return kind('zip', 'is a zip, as torch.save writes; save the adapter as safetensors (safe_serialization=True)');
  }
  if (prefix[0] === 0x80 && prefix[1]! >= 2 && prefix[1]! <= 5 && prefix[2] !== 0) {
    return kind('pickle', 'is a pickle, which is not read; save the adapter as safetensors (safe_serialization=True)');
  }
  if (magic(prefix, 0x47, 0x47, 0x55, 0x46)) return kind('gguf', 'is a GGUF file');
  if (magic(prefix, 0x1f, 0x8b)) return kind('gzip', 'is compressed with gzip; send it unpacked');
  if (magic(prefix, 0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59)) return kind('numpy', 'is a NumPy file');
  return textKind(prefix.subarray(0, kindPrefixBytes));
}

function textKind(prefix: Uint8Array): FileKind | null {
  const text = new TextDecoder().decode(prefix).trimStart();
  if (text.startsWith('version https://git-lfs')) {
    return { name: 'lfs', says: 'is a Git LFS pointer: fetch the file itself with `git lfs pull`' };
  }
  if (/^<(!doctype html|html|head|body)\b/i.test(text)) {
    return { name: 'html', says: 'is an HTML page, such as a sign-in or an error: download the file itself' };
  }
  if (/^<(\?xml|Error>)/i.test(text)) return { name: 'xml', says: 'is an XML text, such as an error of a storage' };
  // The 8 bytes of a safetensors header's length always contain a zero byte; a text contains none.
  if (prefix.length >= 8 && !prefix.includes(0) && !text.includes('\ufffd')) {
    return { name: 'text', says: 'is a text, not safetensors' };
  }
  return null;
}
