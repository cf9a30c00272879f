// Opens model files on this machine as a base model: its shape and its tensors under Hugging Face's names. Does not
// know where the files came from.

import type { BaseModel, ModelFiles } from '../core/base-model.ts';
import { openGguf } from './open-gguf.ts';
import { openSafetensors } from './open-safetensors.ts';

/**
 * Opens the model. Only headers are read; weights are read when a tensor's `bytes()` is called. Throws
 * `model_file_invalid` or `model_unsupported`.
 */
export async function openModel(files: ModelFiles): Promise<BaseModel> {
  return files.kind === 'gguf' ? openGguf(files.weights[0]!) : openSafetensors(files);
}
