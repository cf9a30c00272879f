// Writes OpenAI's response as events: an item opens, grows by deltas and closes before the next one opens.

import type { EventStream } from '../../http/event-stream.ts';
import type { ToolCallDelta } from '../../schemas/tools.ts';
import type { EventWriter } from '../answer.ts';
import type { Position } from '../generation.ts';
import type { ChatReader } from '../tools/chat-output.ts';
import type { OutputDelta } from '../tools/output-parser.ts';
import {
  callItem,
  messageItem,
  partLogprobs,
  type ResponseHead,
  reasoningItem,
  responseJson,
  type Status,
  statusOf,
  textPart,
} from './response-object.ts';

type Send = (type: string, fields: object) => void;

/**
 * An item of the output that is open. Its kind is that of the deltas that it takes; a number is the index of a call.
 */
type OpenItem = {
  readonly kind: 'reasoning' | 'message' | number;
  add(text: string, positions: readonly Position[]): void;
  close(status: Status): object;
};

export function responseWriter(head: ResponseHead, reader: ChatReader, stream: EventStream): EventWriter {
  const output: object[] = [];
  let sequence_number = 0;
  let item: OpenItem | null = null;
  let isOpen = false;
  const send: Send = (type, fields) =>
    stream.send(JSON.stringify({ type, sequence_number: sequence_number++, ...fields }), type);
  const open = () => {
    if (isOpen) return;
    isOpen = true;
    const response = responseJson(head, null);
    send('response.created', { response });
    send('response.in_progress', { response });
  };
  const close = (status: Status) => {
    if (item !== null) output.push(item.close(status));
    item = null;
  };
  const itemFor = (kind: OpenItem['kind'], make: (send: Send, index: number) => OpenItem): OpenItem => {
    if (item?.kind === kind) return item;
    close('completed');
    item = make(send, output.length);
    return item;
  };
  const take = (delta: OutputDelta, positions: readonly Position[]) => {
    if ('reasoning' in delta) {
      itemFor('reasoning', (...place) => openReasoning(head, ...place)).add(delta.reasoning, []);
    } else if ('content' in delta) {
      itemFor('message', (...place) => openMessage(head, ...place)).add(delta.content, positions);
    } else {
      const { call } = delta;
      const calls = itemFor(call.index, (...place) => openCall(head, call, ...place));
      if (call.function.arguments !== undefined) calls.add(call.function.arguments, []);
    }
  };
  return {
    onPiece({ text, token, logprobs }) {
      open();
      const positions = token === null || logprobs === null ? [] : [{ token, logprobs }];
      for (const delta of reader.read(text, 0)) take(delta, positions);
    },
    onOutcome(outcome) {
      open();
      for (const delta of reader.read(null, 0)) take(delta, []);
      // An empty answer is a message without text.
      if (item === null && output.length === 0) item = openMessage(head, send, 0);
      close(statusOf(outcome));
      const response = responseJson(head, { outcome, output });
      send(`response.${response.status}`, { response });
    },
  };
}

function openMessage(head: ResponseHead, send: Send, output_index: number): OpenItem {
  const added = messageItem(head, 'in_progress', []);
  const place = { item_id: added.id, output_index, content_index: 0 };
  const told: Position[] = [];
  let text = '';
  send('response.output_item.added', { output_index, item: added });
  send('response.content_part.added', { ...place, part: textPart('') });
  return {
    kind: 'message',
    add(delta, positions) {
      text += delta;
      told.push(...positions);
      send('response.output_text.delta', { ...place, delta, logprobs: partLogprobs(head, positions) });
    },
    close(status) {
      const logprobs = partLogprobs(head, told);
      const part = textPart(text, logprobs);
      const item = messageItem(head, status, [part]);
      send('response.output_text.done', { ...place, text, logprobs });
      send('response.content_part.done', { ...place, part });
      send('response.output_item.done', { output_index, item });
      return item;
    },
  };
}

function openReasoning(head: ResponseHead, send: Send, output_index: number): OpenItem {
  const added = reasoningItem(head, '', 'in_progress');
  const place = { item_id: added.id, output_index, content_index: 0 };
  let text = '';
  send('response.output_item.added', { output_index, item: added });
  return {
    kind: 'reasoning',
    add(delta) {
      text += delta;
      send('response.reasoning_text.delta', { ...place, delta });
    },
    close(status) {
      const item = reasoningItem(head, text, status);
      send('response.reasoning_text.done', { ...place, text });
      send('response.output_item.done', { output_index, item });
      return item;
    },
  };
}

function openCall(
  head: ResponseHead,
  { index, id = '', function: { name = '' } }: ToolCallDelta,
  send: Send,
  output_index: number,
): OpenItem {
  let text = '';
  const itemOf = (status: Status) => callItem(head, index, { id, name, arguments: text }, status);
  const added = itemOf('in_progress');
  const place = { item_id: added.id, output_index };
  send('response.output_item.added', { output_index, item: added });
  return {
    kind: index,
    add(delta) {
      text += delta;
      send('response.function_call_arguments.delta', { ...place, delta });
    },
    close(status) {
      const item = itemOf(status);
      send('response.function_call_arguments.done', { ...place, name, arguments: text });
      send('response.output_item.done', { output_index, item });
      return item;
    },
  };
}
