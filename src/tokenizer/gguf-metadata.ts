// Typed access to GGUF metadata. A value of the wrong type is an error that names its key.

import { invalid } from './refuse.ts';

/** Metadata values: strings, numbers, booleans, and arrays of them. */
export type GgufMetadata = ReadonlyMap<string, unknown>;

export type MetadataReader = {
  text(key: string): string | undefined;
  flag(key: string): boolean | undefined;
  integer(key: string): number | undefined;
  texts(key: string): readonly string[] | undefined;
  numbers(key: string): readonly number[] | undefined;
};

export function createMetadataReader(metadata: GgufMetadata): MetadataReader {
  function read<T>(key: string, is: (value: unknown) => boolean): T | undefined {
    const value = metadata.get(key);
    if (value === undefined || is(value)) return value as T | undefined;
    throw invalid(`GGUF: ${key} has a value of the wrong type.`);
  }
  return {
    text: (key) => read(key, (value) => typeof value === 'string'),
    flag: (key) => read(key, (value) => typeof value === 'boolean'),
    integer: (key) => read(key, Number.isSafeInteger),
    texts: (key) => read(key, (value) => isListOf('string', value)),
    numbers: (key) => read(key, (value) => isListOf('number', value)),
  };
}

function isListOf(type: 'string' | 'number', value: unknown): boolean {
  return Array.isArray(value) && value.every((entry) => typeof entry === type);
}
