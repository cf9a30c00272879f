// How an adapter is refused: `invalid` where its files are broken or contradict each other, `unsupported` where they
// are right and ask for what is not done here. Both name the field or the tensor at fault.

import { LorikeetError } from '../core/errors.ts';

/** The field that is to blame where no single one is. */
export const configFile = 'adapter_config.json';
export const weightsFile = 'adapter_model.safetensors';

/** `reason` follows the name of what is at fault: `r must be a whole number`. */
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

/** A name from outside in a message: of bounded length, control characters escaped. */
export function shorten(text: string): string {
  const escaped = JSON.stringify(text.length > 160 ? `${text.slice(0, 160)}...` : text);
  return escaped.slice(1, -1);
}
