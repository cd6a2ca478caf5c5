// The program from outside: over pipes, and in a real terminal where `script` can make one.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

const PROGRAM = fileURLToPath(new URL('../index.js', import.meta.url));

function run(args, { input = '', prompt } = {}) {
  const env = { ...process.env, NO_COLOR: '1' };
  delete env.PROMPT;
  if (prompt !== undefined) env.PROMPT = prompt;
  return spawnSync(process.execPath, [PROGRAM, ...args], { input, env, encoding: 'utf8', timeout: 20_000 });
}

test('it shows its task and does it when told to', () => {
  const { status, stdout } = run(['run'], { input: 'yes\n', prompt: 'Say "hi"' });
  assert.equal(status, 0);
  assert.match(stdout, /Task: Say "hi"/);
  assert.match(stdout, /✔ Counting to ten 10/);
  assert.match(stdout, /All done/);
});

test('an empty answer is a yes, and a no changes nothing', () => {
  assert.match(run(['run'], { input: '\n' }).stdout, /All done/);
  assert.match(run(['run'], { input: 'n\n' }).stdout, /nothing was changed/);
});

test('it exits with the code that the answer names', () => {
  assert.equal(run(['run'], { input: 'exit 7\n' }).status, 7);
});

test('it exits with the code that the command line names', () => {
  assert.equal(run(['run', '--exit', '3'], { input: 'yes\n' }).status, 3);
});

test('it ends cleanly when nobody answers', () => {
  const { status, stdout, stderr } = run(['run']);
  assert.equal(status, 0);
  assert.match(stdout, /Nobody answered/);
  assert.equal(stderr, '');
});

test('it asks again after anything else, and reads answers that came early', () => {
  const { status, stdout } = run(['run'], { input: 'be quick\nexit 256\nexit 9\n' });
  assert.match(stdout, /Considering "be quick" 8 characters/);
  assert.match(stdout, /Considering "exit 256"/);
  assert.equal(status, 9);
});

test('it refuses arguments that it does not know, with its usage', () => {
  for (const args of [[], ['walk'], ['run', '--exit', '256'], ['run', '--exit', 'x'], ['run', '--wat']]) {
    const { status, stderr } = run(args);
    assert.equal(status, 2, args.join(' '));
    assert.match(stderr, /Usage: node index.js run/);
  }
});

const hasScript = spawnSync('script', ['--version']).status === 0;

test('in a terminal it says the size, the new one after a resize, and takes what is typed ahead', { skip: hasScript ? false : 'no script(1) from util-linux' }, async () => {
  const shell = `tty; stty cols 91 rows 33; "${process.execPath}" "${PROGRAM}" run --pace 20 --exit 5`;
  const child = spawn('script', ['-qefc', shell, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = new Promise((resolve) => child.on('exit', resolve));
  const screen = new Screen(child.stdout);
  try {
    const [, tty] = await screen.until(/(\/dev\/\S+)/);
    await screen.until(/in a terminal of 91x33/);
    await screen.until(/Shall I go ahead\?/);
    assert.equal(spawnSync('stty', ['-F', tty, 'cols', '70', 'rows', '20']).status, 0);
    await screen.until(/The terminal is now 70x20\./);
    // The second answer is begun while the first is still worked on.
    child.stdin.write('tty please\r');
    await screen.until(/Considering "tty please" …/);
    child.stdin.write('ye');
    await screen.until(/✔ Considering "tty please" 10 characters[^]*Shall I go ahead\?/);
    child.stdin.write('s\r');
    await screen.until(/All done/);
    assert.equal(await exited, 5);
  } finally {
    child.kill();
  }
});

/** What a terminal was sent, without its colours and cursor moves. */
class Screen {
  #text = '';
  #stream;

  constructor(stream) {
    this.#stream = stream.setEncoding('utf8');
    stream.on('data', (chunk) => (this.#text += chunk));
  }

  until(pattern) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.#text.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, '').match(pattern);
        if (!found) return;
        clearTimeout(late);
        this.#stream.off('data', look);
        resolve(found);
      };
      const late = setTimeout(() => reject(new Error(`no ${pattern} in ${JSON.stringify(this.#text)}`)), 15_000);
      this.#stream.on('data', look);
      look();
    });
  }
}
