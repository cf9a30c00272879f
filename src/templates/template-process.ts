// Owns the process that renders adapters' chat templates. It asks one question at a time, in turns by tenant. Where a
// template takes too long or its process dies, the process is killed and the template refused for a while. Knows no
// conversations.

import { LRUCache } from 'lru-cache';
import type { Timers } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import { fairTurns } from '../core/fair-turns.ts';
import type { Limits } from '../core/limits.ts';
import { type SharedPlaces, sharedPlaces } from '../core/shared-places.ts';
import type { ChildProcess, StartChild } from '../protocol/child-process.ts';
import type { TemplateEvent, TemplateQuestion } from './messages.ts';

/** An adapter's own template, and the tenant on whose behalf it is rendered. */
export type TenantTemplate = { readonly tenant: string; readonly source: string };

export type TemplateProcessOptions = {
  readonly start: StartChild<TemplateQuestion, TemplateEvent>;
  readonly timers: Timers;
  readonly limits: Pick<
    Limits,
    'chatTemplateMs' | 'chatTemplateStartMs' | 'chatTemplateRestMs' | 'chatTemplatesWaiting' | 'chatTemplateMemoryMiB'
  >;
  /** Limits a process to `moreBytes` of memory beyond its present use, where the system has such limits. */
  readonly boundMemory: (pid: number, moreBytes: number) => void;
};

type Answer = Exclude<TemplateEvent, { type: 'ready' }>;
type Job = {
  readonly key: string;
  readonly question: TemplateQuestion;
  readonly answered: PromiseWithResolvers<Answer>;
};
type Child = { readonly process: ChildProcess<TemplateQuestion>; isReady: boolean };

const MiB = 2 ** 20;

/** Most intervals that are waited for on a machine that is busy with other work. */
const looksMax = 30;
/** Templates that are refused for a while: more would be an attack, and conversations take turns anyway. */
const restingMax = 1024;

export class TemplateProcess {
  readonly #options: TemplateProcessOptions;
  readonly #place: SharedPlaces;
  readonly #turn = fairTurns();
  /**
   * Templates that had to be ended, and why. The key has the tenant, so that the same template of others is not
   * refused.
   */
  readonly #resting: LRUCache<string, string>;
  #child: Child | null = null;
  #current: Job | null = null;
  #nextId = 1;
  #isClosed = false;
  #stopWatch = () => {};

  constructor(options: TemplateProcessOptions) {
    this.#options = options;
    this.#resting = new LRUCache({ max: restingMax, ttl: options.limits.chatTemplateRestMs });
    const message = 'Too many conversations wait for a chat template.';
    this.#place = sharedPlaces(
      options.limits.chatTemplatesWaiting,
      () => new LorikeetError('server_overloaded', { message }),
    );
  }

  /**
   * Checks whether the template can be parsed. Throws `adapter_invalid`, `chat_template_too_slow`, `server_overloaded`.
   */
  async check(template: TenantTemplate): Promise<void> {
    const answer = await this.#ask(template, null);
    if (answer.type === 'rendered') return;
    throw new LorikeetError('adapter_invalid', {
      message: `Invalid adapter: its chat template cannot be read: ${answer.message}`,
      param: 'chat_template',
    });
  }

  /** Renders the template. Throws `chat_template_failed`, `chat_template_too_slow`, `server_overloaded`. */
  async render(template: TenantTemplate, variables: Readonly<Record<string, unknown>>): Promise<string> {
    const answer = await this.#ask(template, variables);
    if (answer.type === 'rendered') return answer.text;
    const message = `The adapter's chat template refused these messages: ${answer.message}`;
    throw new LorikeetError('chat_template_failed', { message, param: 'messages' });
  }

  /** Ends the process. Waiting callers get `server_draining`. */
  close(): void {
    this.#isClosed = true;
    this.#end();
    this.#settle(({ answered }) => answered.reject(new LorikeetError('server_draining')));
  }

  async #ask({ tenant, source }: TenantTemplate, variables: TemplateQuestion['variables']): Promise<Answer> {
    const key = `${tenant}\n${source}`;
    this.#assertAwake(key);
    const leave = this.#place(tenant);
    try {
      const end = await this.#turn(tenant);
      try {
        return await this.#answerTo({ key, question: { id: this.#nextId++, source, variables } });
      } finally {
        end();
      }
    } finally {
      leave();
    }
  }

  #assertAwake(key: string): void {
    const why = this.#resting.get(key);
    if (why !== undefined) throw tooSlow(`${why} lately, and is not tried again for a minute`);
  }

  #answerTo(asked: Omit<Job, 'answered'>): Promise<Answer> {
    if (this.#isClosed) throw new LorikeetError('server_draining');
    // The template may have been ended while this question waited for its turn.
    this.#assertAwake(asked.key);
    const answered = Promise.withResolvers<Answer>();
    this.#current = { ...asked, answered };
    this.#child ??= this.#start();
    if (this.#child.isReady) this.#child.process.send(asked.question);
    this.#watch(this.#child);
    return answered.promise;
  }

  #start(): Child {
    const child: Child = {
      isReady: false,
      process: this.#options.start({
        onEvent: (event) => {
          if (this.#child === child) this.#take(child, event);
        },
        onExit: () => {
          if (this.#child !== child) return;
          this.#fail(child.isReady ? 'it took more memory than a template may have' : null);
        },
      }),
    };
    return child;
  }

  #take(child: Child, event: TemplateEvent): void {
    if (event.type === 'ready') {
      const { boundMemory, limits } = this.#options;
      const { pid } = child.process;
      // The limit holds before the process gets any template.
      if (pid !== undefined) boundMemory(pid, limits.chatTemplateMemoryMiB * MiB);
      child.isReady = true;
      if (this.#current === null) return;
      child.process.send(this.#current.question);
      this.#watch(child);
      return;
    }
    if (event.id === this.#current?.question.id) this.#settle(({ answered }) => answered.resolve(event));
  }

  /**
   * Limits the time of a question. A template waits for nothing, so its own time is processor time, however busy the
   * machine is. Elapsed time is measured in short intervals: a machine that was stopped for minutes has spent only one
   * of them.
   */
  #watch({ isReady, process }: Child): void {
    const { timers, limits } = this.#options;
    this.#stopWatch();
    // Where the system does not tell processor time, all elapsed time counts.
    const processorMs = () => process.processorMs?.() ?? null;
    const began = processorMs();
    const isSlow = () => {
      const now = processorMs();
      return isReady && (began === null || now === null || now - began >= limits.chatTemplateMs);
    };
    const ms = isReady ? limits.chatTemplateMs : limits.chatTemplateStartMs / looksMax;
    const look = (left: number): void => {
      this.#stopWatch = timers.after(ms, () => {
        if (left > 0 && !isSlow()) look(left - 1);
        else this.#fail(isReady ? `it took longer than ${ms} ms` : null);
      });
    };
    look(looksMax);
  }

  /** @param why what the template did wrong; null: the process never started */
  #fail(why: string | null): void {
    this.#end();
    this.#settle(({ key, answered }) => {
      if (why !== null) this.#resting.set(key, why);
      answered.reject(why === null ? notStarted() : tooSlow(why));
    });
  }

  #settle(work: (job: Job) => void): void {
    this.#stopWatch();
    const job = this.#current;
    this.#current = null;
    if (job !== null) work(job);
  }

  #end(): void {
    this.#child?.process.kill();
    this.#child = null;
  }
}

const tooSlow = (why: string) =>
  new LorikeetError('chat_template_too_slow', {
    message: `The adapter's chat template was not rendered: ${why}.`,
    param: 'messages',
  });

const notStarted = () => new LorikeetError('internal_error', { message: 'No chat template can be rendered.' });
