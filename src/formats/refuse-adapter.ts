// Refusals of adapters: `invalid` where the files are broken or contradict each other, `unsupported` where they are
// correct and need something that is not done here. Both name the field or the tensor at fault.

import { LorikeetError } from '../core/errors.ts';

/** Names that stand for a whole file where no single field or tensor is at fault. */
export const configFile = 'adapter_config.json';
export const weightsFile = 'adapter_model.safetensors';

/** Refuses a broken adapter. `reason` follows the name of what is at fault: `r must be a whole number`. */
export function invalidAdapter(param: string, reason: string): never {
  throw refusal('adapter_invalid', 'Invalid adapter', param, reason);
}

export function unsupportedAdapter(param: string, reason: string): never {
  throw refusal('adapter_unsupported', 'The adapter is not supported', param, reason);
}

function refusal(code: 'adapter_invalid' | 'adapter_unsupported', what: string, param: string, reason: string) {
  const shown = shorten(param);
  return new LorikeetError(code, { message: `${what}: ${shown} ${reason}.`, param: shown });
}

/** Prepares a name from outside for a message: control characters escaped, length bounded. */
export function shorten(text: string): string {
  const escaped = JSON.stringify(text.length > 160 ? `${text.slice(0, 160)}...` : text);
  return escaped.slice(1, -1);
}
