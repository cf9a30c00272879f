// The process with what it may have: no environment, nothing to write to, a small heap, and a place behind the engine.

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
  read: readTemplateEvent,
  env: {},
  nice: 5,
  nodeArguments,
  // A template that ends it by memory would write pages into the log, as often as its tenant likes.
  isSilent: true,
});

/** Started with the first question. */
export const startTemplates = (options: Omit<TemplateProcessOptions, 'start'>): TemplateProcess =>
  new TemplateProcess({ ...options, start: startTemplateChild });
