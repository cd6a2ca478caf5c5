// Renders cases: one JSON object a line on standard input, `{cols, rows, scrollback, steps}`, where a step is a string
// (base64 of bytes to write) or a size `[cols, rows]`. Answers each with a line of the terminal's state.

import { createInterface } from 'node:readline';
import { Reference } from './terminal.mjs';

for await (const line of createInterface({ input: process.stdin })) {
  const { cols, rows, scrollback, steps } = JSON.parse(line);
  const reference = new Reference(cols, rows, scrollback);
  let error;
  try {
    for (const step of steps) {
      if (typeof step === 'string') reference.write(Buffer.from(step, 'base64'));
      else reference.terminal.resize(...step);
    }
  } catch (thrown) {
    error = String(thrown);
  }
  const state = reference.state();
  process.stdout.write(JSON.stringify({ error, state, answers: reference.answers }) + '\n');
  reference.terminal.dispose();
}
