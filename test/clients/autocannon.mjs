// autocannon, a load tool: 40 requests over 8 connections; every answer must be a success.

import assert from 'node:assert/strict';
import autocannon from 'autocannon';

const body = JSON.stringify({ model: 'pirate', messages: [{ role: 'user', content: 'Hi' }], max_tokens: 4 });
const result = await autocannon({
  url: `${process.argv[2]}/v1/chat/completions`,
  ...{ method: 'POST', headers: { 'content-type': 'application/json' }, body, connections: 8, amount: 40, timeout: 60 },
});
assert.equal(result['2xx'], 40);
assert.deepEqual([result.non2xx, result.errors, result.timeouts], [0, 0, 0]);
