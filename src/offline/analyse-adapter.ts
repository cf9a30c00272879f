// placeholder
import type { AdapterAnalysis, OfflineWork } from '../protocol/offline-messages.ts';
export function analyseAdapter(_: Extract<OfflineWork,{kind:'analysis'}>): AdapterAnalysis { throw new Error('x'); }
