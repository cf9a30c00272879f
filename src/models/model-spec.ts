// Parses the user's name for a base model. Touches no file.

import { LorikeetError } from '../core/errors.ts';

export type ModelSpec =
  | { readonly kind: 'path'; readonly path: string }
  /** `file` chooses one GGUF file of a repository. */
  | { readonly kind: 'hub'; readonly repo: string; readonly revision: string; readonly file: string | null }
  | { readonly kind: 'name'; readonly name: string };

const repoName = String.raw`[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}`;
const hubSpec = new RegExp(String.raw`^hf:(${repoName})(?:@([\w][\w./-]{0,254}))?(?::([\w][\w.-]{0,254}\.gguf))?$`);

/** Parses `hf:org/repo[@revision][:file.gguf]`, a path (with a separator or a weight file's ending), or a name. */
export function parseModelSpec(spec: string): ModelSpec {
  if (spec.startsWith('hf:')) {
    const [, repo, revision = 'main', file = null] = hubSpec.exec(spec) ?? [];
    if (repo === undefined || repo.includes('..') || revision.includes('..')) {
      throw new LorikeetError('invalid_config', {
        message: `${JSON.stringify(spec)} is not of the form hf:org/repo[@revision][:file.gguf].`,
      });
    }
    return { kind: 'hub', repo, revision, file };
  }
  const isPath = /[/\\]|^\.|\.(gguf|safetensors)$/.test(spec);
  return isPath ? { kind: 'path', path: spec } : { kind: 'name', name: spec };
}
