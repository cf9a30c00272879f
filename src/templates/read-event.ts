// Checks of the events of the template process.

import Type from 'typebox';
import { count, messageReader } from '../protocol/checks/check-message.ts';
import type { TemplateEvent } from './messages.ts';

export const readTemplateEvent = messageReader<TemplateEvent>()({
  ready: Type.Object({}),
  rendered: Type.Object({ id: count, text: Type.String() }),
  refused: Type.Object({ id: count, message: Type.String() }),
});
