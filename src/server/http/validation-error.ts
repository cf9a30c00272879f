// Turns the findings of the schema validator into one error with a code, the parameter's path and a sentence.

import type { FastifySchemaValidationError } from 'fastify';
import { LorikeetError } from '../../core/errors.ts';
import { suggest } from './suggest.ts';

/** A finding of ajv, which with `verbose` carries the schema that was broken. */
type Finding = FastifySchemaValidationError & {
  parentSchema?: { title?: string; properties?: object; patternProperties?: object };
  data?: unknown;
  schema?: unknown;
};

/** Most characters of an unknown name that an error repeats. */
const nameChars = 100;

export function validationError(findings: readonly FastifySchemaValidationError[]): LorikeetError {
  const finding = mostSpecific(findings);
  const path = toPath(finding.instancePath);
  const part = unsupportedPart(findings);
  if (part !== null) return part;
  if (finding.keyword === 'required') {
    const param = join(path, String(finding.params.missingProperty));
    return new LorikeetError('missing_parameter', { message: `${param} is required.`, param });
  }
  if (finding.keyword === 'additionalProperties') {
    const name = String(finding.params.additionalProperty).slice(0, nameChars);
    if (finding.parentSchema?.patternProperties !== undefined) {
      const message = `${path} has the key "${name}", which is not one that it takes.`;
      return new LorikeetError('invalid_parameter', { message, param: join(path, name) });
    }
    const meant = suggest(name, Object.keys(finding.parentSchema?.properties ?? {}));
    const hint = meant === null ? '' : ` Did you mean ${join(path, meant)}?`;
    const param = join(path, name);
    return new LorikeetError('unknown_parameter', { message: `${param} is not a known parameter.${hint}`, param });
  }
  if (path === '') return new LorikeetError('invalid_parameter', { message: 'The body must be a JSON object.' });
  return new LorikeetError('invalid_parameter', { message: `${path} ${complaint(finding)}.`, param: path });
}

/** The error for a message's part that is not text, whatever else the schema finds in it; null: there is none. */
function unsupportedPart(findings: readonly Finding[]): LorikeetError | null {
  for (const { keyword, instancePath, data } of findings) {
    const [, part, member] = /^(\/messages\/\d+\/content\/\d+)(\/type)?$/.exec(instancePath) ?? [];
    const type = member !== undefined && keyword === 'const' ? data : (data as { type?: unknown } | null)?.type;
    if (part === undefined || typeof type !== 'string' || type === 'text') continue;
    const param = toPath(part);
    const message = `${param}: parts of type ${JSON.stringify(type).slice(0, 60)} are not supported; text parts are.`;
    return new LorikeetError('unsupported_parameter', { message, param });
  }
  return null;
}

/**
 * Chooses the finding to report. For a choice of schemas ajv reports what each one misses and then that none fits. The
 * deepest finding is in the schema that the caller meant; of several elements of one list the last one is, since that
 * schema took the elements before it. Where all are at one place, the sentence that names all choices is best.
 */
function mostSpecific(findings: readonly Finding[]): Finding {
  const depth = ({ instancePath }: Finding) => instancePath.split('/').length;
  const deepest = Math.max(...findings.map(depth));
  const candidates = findings.filter((finding) => depth(finding) === deepest);
  const last = candidates.reduce((a, b) => (isLater(b.instancePath, a.instancePath) ? b : a)).instancePath;
  const there = candidates.filter(({ instancePath }) => instancePath === last);
  return there.find(({ keyword }) => keyword === 'anyOf') ?? there[0]!;
}

/** Whether two places of the same depth part in one list, and `place` stands behind `other` in it. */
function isLater(place: string, other: string): boolean {
  const others = other.split('/');
  const [i, part] = [...place.split('/').entries()].find(([i, part]) => part !== others[i]) ?? [0, ''];
  return Number(part) > Number(others[i]);
}

function complaint({ keyword, message, parentSchema, schema }: Finding): string {
  if (keyword === 'anyOf' && parentSchema?.title) return `must be ${parentSchema.title}`;
  if (keyword === 'enum') return `must be one of ${(schema as unknown[]).join(', ')}`;
  if (keyword === 'const') return `must be ${JSON.stringify(schema)}`;
  return message ?? 'is invalid';
}

/** Converts `/messages/0/content` to `messages[0].content`. */
function toPath(pointer: string): string {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce((path, part) => (/^\d+$/.test(part) && path !== '' ? `${path}[${part}]` : join(path, part)), '');
}

const join = (path: string, name: string) => (path === '' ? name : `${path}.${name}`);
