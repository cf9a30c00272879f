// Starts the template process with the few rights that it needs: no environment, no write access, a small heap, and a
// lower priority than the engine.

import { limits } from '../core/limits.ts';
import { childStarter } from '../protocol/child-process.ts';
import type { TemplateEvent, TemplateQuestion } from './messages.ts';
import { readTemplateEvent } from './read-event.ts';
import { TemplateProcess, type TemplateProcessOptions } from './template-process.ts';

const nodeArguments = [
  `--max-old-space-size=${limits.chatTemplateHeapMiB}`,
  '--disallow-code-generation-from-strings',
  '--permission',
  '--allow-fs-read=*',
  '--allow-worker',
];

export const startTemplateChild = childStarter<TemplateQuestion, TemplateEvent>(new URL('./main.ts', import.meta.url), {
  checkEvent: readTemplateEvent,
  env: {},
  nice: 5,
  nodeArguments,
  // A template that exhausts the memory would make Node print pages into the log, as often as its tenant likes.
  isSilent: true,
});

/** Makes the owner of the process, which starts with the first question. */
export const startTemplates = (options: Omit<TemplateProcessOptions, 'start'>): TemplateProcess =>
  new TemplateProcess({ ...options, start: startTemplateChild });
