// Main file of the process that renders adapters' chat templates. A tenant's template may contain anything: an endless
// loop, a list that fills memory. So the process does nothing else, and its parent may kill it at any time.

import { Worker } from 'node:worker_threads';
import { Template } from '@huggingface/jinja';
import { LRUCache } from 'lru-cache';
import { limits } from '../core/limits.ts';
import { channelToParent } from '../protocol/child-process.ts';
import type { TemplateEvent, TemplateQuestion } from './messages.ts';

const channel = channelToParent<TemplateQuestion, TemplateEvent>('process of chat templates');
const parsed = new LRUCache<string, Template>({ max: limits.chatTemplatesKept });

const orphan = new Worker(new URL('./orphan-thread.ts', import.meta.url), { workerData: { parent: process.ppid } });
orphan.unref();

channel.onCommand((question) => channel.send(answer(question)));
// The thread's own memory must not count as a template's, so the process is ready only when the thread runs.
orphan.once('online', () => channel.send({ type: 'ready' }));

function answer({ id, source, variables }: TemplateQuestion): TemplateEvent {
  try {
    const template = read(source);
    const text = variables === null ? '' : template.render({ ...variables });
    // The length is checked before the text is used: a text that was doubled many times takes its memory only when it
    // is used.
    if (text.length <= limits.chatTemplateTextChars) return { type: 'rendered', id, text };
    return { type: 'refused', id, message: `it makes more than ${limits.chatTemplateTextChars} characters of them` };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { type: 'refused', id, message: message.slice(0, messageChars) };
  }
}

function read(source: string): Template {
  const known = parsed.get(source);
  if (known !== undefined) return known;
  const template = new Template(source);
  parsed.set(source, template);
  return template;
}

/** Characters of an error message: enough for what a template raises. */
const messageChars = 500;
