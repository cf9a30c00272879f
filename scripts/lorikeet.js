#!/usr/bin/env node
// The `lorikeet` command; it starts under any Node from 20 on.

import { join } from 'node:path';
import { root } from './install.js';
import { launch } from './launch.js';

await launch([join(root, 'src/cli/main.ts'), ...process.argv.slice(2)]);
