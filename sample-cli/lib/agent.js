// The agent's course: greet, work, ask, react to the answer, end with a code. It only acts as if: nothing is changed.

import { readdirSync } from 'node:fs';
import pc from 'picocolors';
import { Conversation } from './conversation.js';
import { Spinner } from './spinner.js';

const INTERRUPTED = 130;

/** Runs to the end and gives the exit code. */
export async function runAgent({ prompt, exitCode, paceMs }) {
  const out = process.stdout;
  const spinner = new Spinner(out, paceMs);
  greet(out, prompt);
  await work(spinner, [
    ['Reading the task', 'understood'],
    ['Looking around the workspace', `${readdirSync('.').length} entries`],
    ['Thinking of a plan', '3 steps'],
  ]);
  showPlan(out);
  // From here on the terminal may be resized while nothing else is printed.
  const conversation = new Conversation(process.stdin, out);
  const onResize = () => conversation.interject(`${pc.cyan('↔')} The terminal is now ${size(out)}.`);
  out.on('resize', onResize);
  try {
    return await converse({ out, spinner, conversation, exitCode });
  } finally {
    out.off('resize', onResize);
    conversation.close();
  }
}

function greet(out, prompt) {
  out.write(`${pc.bold(pc.cyan('◆ sample agent'))} ${pc.dim(out.isTTY ? `in a terminal of ${size(out)}` : 'without a terminal')}\n`);
  out.write(prompt === '' ? pc.dim('No task was given in $PROMPT.\n\n') : `${pc.dim('Task:')} ${prompt}\n\n`);
}

function showPlan(out) {
  out.write(`\n${pc.bold('The plan')}\n`);
  ['Greet the world', 'Count to ten', 'Leave everything tidy'].forEach((step, index) => {
    out.write(`  ${pc.cyan(`${index + 1}.`)} ${step}\n`);
  });
  out.write('\n');
}

async function converse({ out, spinner, conversation, exitCode }) {
  for (;;) {
    const answer = await conversation.ask(`${pc.yellow('?')} ${pc.bold('Shall I go ahead?')} ${pc.dim('(yes / no / exit N / a note)')} `);
    if (answer.kind === 'interrupted') {
      out.write(pc.red('\n✗ Interrupted.\n'));
      return INTERRUPTED;
    }
    if (answer.kind === 'eof') {
      out.write(pc.dim('\nNobody answered: nothing was changed.\n'));
      return exitCode;
    }
    const done = await react(answer.text.trim(), { out, spinner, exitCode });
    if (done !== null) return done;
  }
}

/** The exit code, or null where the conversation goes on. */
async function react(text, { out, spinner, exitCode }) {
  const exit = /^exit\s+(\d{1,3})$/i.exec(text);
  if (exit && Number(exit[1]) <= 255) {
    out.write(`${pc.magenta('→')} Leaving with code ${exit[1]}, as you say.\n`);
    return Number(exit[1]);
  }
  if (/^(n|no)$/i.test(text)) {
    out.write(`${pc.magenta('→')} As you like: nothing was changed.\n`);
    return exitCode;
  }
  if (/^(y|yes|)$/i.test(text)) {
    await work(spinner, [
      ['Greeting the world', 'hello'],
      ['Counting to ten', '10'],
      ['Tidying up', 'done'],
    ]);
    out.write(`\n${pc.green(pc.bold('✔ All done.'))}\n`);
    return exitCode;
  }
  await work(spinner, [[`Considering "${text}"`, `${[...text].length} characters, noted`]]);
  return null;
}

async function work(spinner, tasks) {
  for (const [label, result] of tasks) await spinner.during(label, result);
}

function size(out) {
  return `${out.columns}x${out.rows}`;
}
