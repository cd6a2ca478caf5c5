// The main path: a link is opened, the program is answered, watched through a resize and a reload, and ends.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { noChromium } from '../lib/chromium.js';
import { DESK, picture } from '../lib/picture.js';
import { stage } from '../lib/stage.js';
import { TerminalPage, until } from '../lib/terminal-page.js';

/** Asks the terminal what it is (DA1) once told to, and prints what is typed then; ends with the next piece of input. */
const ASKING_PROGRAM = `
  const next = (then) => process.stdin.once('data', (text) => then(JSON.stringify(String(text))));
  process.stdin.setRawMode(true);
  console.log('ready');
  next(() => {
    process.stdout.write('\\x1b[c');
    next((answer) => {
      console.log('answer ' + answer);
      next((last) => { console.log('last ' + last); process.exit(); });
    });
  });`;
const QUESTION = /Shall I go ahead\?/;

describe('a session in the browser', { skip: noChromium }, () => {
  const on = stage();
  const open = (url, options) => TerminalPage.open(on.browser, url, options);

  test('shows the program, takes an answer, and says how it ended', async () => {
    const session = await on.server.create();
    const terminal = await open(session.terminalUrl);
    await terminal.shows(/Task: Hello!/);
    await terminal.shows(QUESTION);
    assert.equal(await terminal.says('#stage'), 'Running');
    assert.equal(await terminal.says('#link'), 'Connected');
    await terminal.type('exit 7\n');
    assert.equal(await terminal.says('#end'), 'Finished with an error exit code 7');
    assert.equal(await terminal.says('#stage'), 'Ended');
    assert.match(await terminal.text(), /Leaving with code 7/, 'the terminal stays readable');
    const { endReason, exitCode } = await on.server.ended(session.sessionId);
    assert.deepEqual({ endReason, exitCode }, { endReason: 'exited', exitCode: 7 });
    terminal.isQuiet();
    await terminal.close();
  });

  for (const [renderer, gpu] of [['webgl', true], ['dom', false]]) {
    test(`is drawn by ${gpu ? 'a GPU, where the browser says that it has one' : 'the page, where WebGL would be played in software'}`, async () => {
      const session = await on.server.create();
      const terminal = await open(session.terminalUrl, { ...DESK, gpu });
      await terminal.shows(QUESTION);
      await terminal.reaches((state) => state.renderer === renderer, `drawn with ${renderer}`);
      await picture(terminal, `desk-${renderer}`);
      await terminal.type('yes\n');
      assert.match(await terminal.says('#end'), /Finished/);
      terminal.isQuiet();
      await terminal.close();
    });
  }

  test('takes the token out of the address bar and out of the history', async () => {
    const session = await on.server.create();
    const terminal = await open(session.terminalUrl);
    await terminal.shows(QUESTION);
    assert.equal(terminal.page.url(), session.terminalUrl.split('?')[0]);
    await terminal.close();
  });

  test('gives the program the window’s size, and each new one', async () => {
    const session = await on.server.create();
    const terminal = await open(session.terminalUrl);
    await terminal.shows(QUESTION);
    const first = await terminal.size();
    await terminal.page.setViewportSize({ width: 900, height: 500 });
    await until(async () => (await terminal.size()).cols < first.cols, () => 'the terminal kept its size');
    const second = await terminal.size();
    await terminal.shows(new RegExp(`The terminal is now ${second.cols}x${second.rows}\\.`));
    assert.ok(second.rows < first.rows, JSON.stringify([first, second]));
    await terminal.close();
  });

  test('is explained to whoever opens a used link', async () => {
    const session = await on.server.create();
    const terminal = await open(session.terminalUrl);
    await terminal.shows(QUESTION);
    const stranger = await open(session.terminalUrl);
    assert.match(await stranger.says('#card'), /already been used.*fresh one/);
    assert.equal(stranger.page.url(), session.terminalUrl.split('?')[0]);
    await terminal.type('no\n');
    await terminal.shows(/nothing was changed/);
    await Promise.all([terminal.close(), stranger.close()]);
  });

  test('comes back after a reload, with all of its output, and can be typed in', async () => {
    const session = await on.server.create();
    const terminal = await open(session.terminalUrl);
    await terminal.shows(QUESTION);
    for (const note of ['first', 'second']) {
      await terminal.page.reload();
      await terminal.shows(QUESTION);
      assert.match(await terminal.text(), /Task: Hello!/);
      await terminal.type(`${note} note\n`);
      await terminal.shows(new RegExp(`Considering "${note} note"`));
    }
    terminal.isQuiet();
    await terminal.close();
  });

  test('goes on over a new connection when the network changes, and shows nothing twice', async () => {
    const session = await on.server.create();
    const terminal = await open(session.terminalUrl);
    await terminal.shows(QUESTION);
    const sockets = () => terminal.requests.filter((url) => url.startsWith('ws')).length;
    assert.equal(sockets(), 1);
    await terminal.page.evaluate(() => window.dispatchEvent(new Event('online')));
    await terminal.reaches(({ connection }) => connection.kind === 'open' && sockets() === 2, 'connected anew');
    await terminal.type('still there\n');
    await terminal.shows(/Considering "still there" 11 characters/);
    const text = await terminal.text();
    assert.equal(text.split('The plan').length, 2, text);
    assert.equal((await terminal.state()).role, 'operator');
    await terminal.close();
  });

  test('keeps its result for a fresh link after the end', async () => {
    const session = await on.server.create();
    const terminal = await open(session.terminalUrl);
    await terminal.shows(QUESTION);
    const link = await on.server.link(session.sessionId, 'viewer');
    await terminal.type('exit 3\n');
    await terminal.says('#end');
    const late = await open(link);
    assert.match(await late.says('#end'), /exit code 3/);
    await late.shows(/Leaving with code 3/);
    await Promise.all([terminal.close(), late.close()]);
  });

  test('answers the program’s own questions to the terminal, once', async () => {
    const session = await on.server.create({ install_cmd: '', command: `node -e "${ASKING_PROGRAM}"` });
    const terminal = await open(session.terminalUrl);
    await terminal.shows(/ready/);
    await terminal.type('g');
    const [, answer] = await terminal.shows(/answer ("\S+")/);
    assert.match(JSON.parse(answer), /^\x1b\[\?[\d;]*c$/);
    await terminal.page.reload();
    await terminal.shows(/answer/);
    // A replayed question that was answered again would be typed before this, and be what ended the program.
    await terminal.type('q');
    await terminal.shows(/last "q"/);
    await terminal.close();
  });

  test('explains an address without a token, and one of no session', async () => {
    const session = await on.server.create();
    const bare = await open(session.terminalUrl.split('?')[0]);
    assert.match(await bare.says('#card'), /needs its link/);
    const damaged = await open(`${session.terminalUrl.slice(0, -6)}AAAAAA`);
    assert.match(await damaged.says('#card'), /not valid/);
    await Promise.all([bare.close(), damaged.close()]);
  });
});
