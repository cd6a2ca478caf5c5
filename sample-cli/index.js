#!/usr/bin/env node
// The command line: reads the arguments and hands over to the agent.

import { parseArgs } from 'node:util';
import { runAgent } from './lib/agent.js';

const USAGE = `Usage: node index.js run [--exit N] [--pace MS]

  --exit N    exit with this code at the end (0 to 255; 0 if left out)
  --pace MS   how long one turn of a spinner takes (60 if left out, 0 for no animation)

The task is read from $PROMPT.`;

function parse(args) {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { exit: { type: 'string' }, pace: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  });
  if (values.help) return { help: true };
  if (positionals.length !== 1 || positionals[0] !== 'run') throw new Error('the only command is "run"');
  return { exitCode: number('exit', values.exit ?? '0', 255), paceMs: number('pace', values.pace ?? '60', 10_000) };
}

function number(name, text, max) {
  if (!/^\d+$/.test(text) || Number(text) > max) throw new Error(`--${name} takes a number from 0 to ${max}`);
  return Number(text);
}

try {
  const options = parse(process.argv.slice(2));
  if (options.help) console.log(USAGE);
  else process.exitCode = await runAgent({ ...options, prompt: process.env.PROMPT ?? '' });
} catch (error) {
  console.error(`${error.message}\n\n${USAGE}`);
  process.exitCode = 2;
}
