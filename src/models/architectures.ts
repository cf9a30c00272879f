// The table of supported model families. Another decoder is another row here and, where it computes something new, a
// field of the shape's traits and a part in graph/.

import type { Architecture } from '../core/base-model.ts';
import type { Family } from './families/family.ts';
import { gemma2, gemma3 } from './families/gemma.ts';
import { granite } from './families/granite.ts';
import { llama } from './families/llama.ts';
import { phi3 } from './families/phi3.ts';
import { qwen2, qwen3 } from './families/qwen.ts';
import { smollm3 } from './families/smollm3.ts';

export const architectures: Readonly<Record<Architecture, Family>> = {
  ...{ llama, qwen2, qwen3, smollm3, granite, phi3, gemma2, gemma3 },
};

export const supportedArchitectures = Object.values(architectures).flatMap(({ modelTypes }) => Object.keys(modelTypes));
