// Chooses the chat template of a conversation: the adapters' own, where the setting allows it and all adapters of the
// request have the same one; else the base model's. The choice is made when the adapters are leased, so that an alias
// that moves never combines one version's template with another's weights.

import { LRUCache } from 'lru-cache';
import { LorikeetError } from '../../core/errors.ts';
import type { AdapterVersion } from '../../registry/adapter-registry.ts';
import type { ChatMessage, ChatOptions, ForeignTemplate } from '../../tokenizer/tokenizer.ts';
import type { AppDeps } from '../deps.ts';

export type ChatTemplate = {
  /** Text of the template; null where the base model has none. */
  readonly source: string | null;
  /** Tokens that end an answer, besides the model's own. */
  readonly ends: readonly number[];
  encode(messages: readonly ChatMessage[], options: ChatOptions): number[] | Promise<number[]>;
};

type Variables = Readonly<Record<string, unknown>>;
type Held = { readonly adapters: readonly { readonly adapter: AdapterVersion }[] };

export type ChatTemplates = { of(held: Held): ChatTemplate | Promise<ChatTemplate> };

export function chatTemplates({ templates, tokenizer, registry, limits }: AppDeps): ChatTemplates {
  const base: ChatTemplate = {
    ...{ source: tokenizer.chatTemplate, ends: [] },
    encode: (messages, options) => tokenizer.encodeChat(messages, options),
  };
  /** Ends of known templates, by the template's digest, without the model's own. */
  const known = new LRUCache<string, readonly number[]>({ max: limits.chatTemplatesKept });

  const endsOf = async (digest: string, template: ForeignTemplate): Promise<readonly number[]> => {
    const found = known.get(digest);
    if (found !== undefined) return found;
    try {
      const end = await tokenizer.endOfTurn(template);
      const ends = end === null || tokenizer.eosTokens.includes(end) ? [] : [end];
      known.set(digest, ends);
      return ends;
    } catch (error) {
      // The template refuses the two turns of the trial. What it cannot render at all, the conversation itself will
      // show.
      if (error instanceof LorikeetError && error.code === 'chat_template_failed') known.set(digest, []);
      return [];
    }
  };

  const own = async (adapter: AdapterVersion, process: NonNullable<typeof templates>): Promise<ChatTemplate> => {
    const { tenant, templateDigest } = adapter;
    const source = (await registry.template(adapter))!;
    const template = { source, render: (variables: Variables) => process.render({ tenant, source }, variables) };
    return {
      ...{ source, ends: await endsOf(templateDigest!, template) },
      encode: (messages, options) => tokenizer.encodeChatBy(template, messages, options),
    };
  };

  return {
    of({ adapters }) {
      const [first] = adapters;
      const digest = first?.adapter.templateDigest ?? null;
      if (templates === null || first === undefined || digest === null) return base;
      return adapters.every(({ adapter }) => adapter.templateDigest === digest) ? own(first.adapter, templates) : base;
    },
  };
}
