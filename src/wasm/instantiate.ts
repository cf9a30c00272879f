// Instantiates WebAssembly modules that come with the source, built by wasm/build.sh. Each is compiled once in a
// thread.

import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

export type Memory = { readonly buffer: ArrayBuffer };

type Imports = Readonly<Record<string, Readonly<Record<string, (...numbers: number[]) => number | undefined>>>>;

declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: Imports) => { readonly exports: object };
};

const modules = new Map<string, object>();

/**
 * Instantiates a module.
 * @param name of a file beside this one, without its extension
 * @returns the module's functions and memory
 */
export function instantiate<Exports extends object>(name: 'grammar' | 'sampling', imports: Imports = {}): Exports {
  const module = modules.get(name) ?? new WebAssembly.Module(unpacked(name));
  modules.set(name, module);
  return new WebAssembly.Instance(module, imports).exports as Exports;
}

const unpacked = (name: string) => gunzipSync(readFileSync(new URL(`./${name}.wasm.gz`, import.meta.url)));
