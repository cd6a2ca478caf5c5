// Two operators at one terminal: one has the keyboard and the size, the other watches until it takes them over.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { noChromium } from '../lib/chromium.js';
import { stage } from '../lib/stage.js';
import { TerminalPage, until } from '../lib/terminal-page.js';

const QUESTION = /Shall I go ahead\?/;
const SMALL = { viewport: { width: 700, height: 420 } };
/** Asks the terminal what it is (DA1) for each `g`, and prints what else it reads. */
const ASKING_PROGRAM = `
  process.stdin.setRawMode(true);
  process.stdin.on('data', (text) => {
    if (String(text) === 'g') process.stdout.write('asking \\x1b[c');
    else console.log('got ' + JSON.stringify(String(text)));
  });
  console.log('ready');`;

describe('a session with two operators', { skip: noChromium }, () => {
  const on = stage();

  /** The first has the keyboard; the second came later. */
  async function gather(ready = QUESTION, body = {}) {
    const session = await on.server.create(body);
    const first = await TerminalPage.open(on.browser, session.terminalUrl);
    await first.shows(ready);
    await holds(first);
    const second = await TerminalPage.open(on.browser, await on.server.link(session.sessionId, 'operator'), SMALL);
    await second.shows(ready);
    await watches(second);
    return { session, first, second, close: () => Promise.all([first.close(), second.close()]) };
  }

  const holds = (terminal) => terminal.reaches(({ presence, letterboxed }) => presence?.holds && !letterboxed, 'with the keyboard');
  const watches = (terminal) =>
    terminal.reaches(({ presence, letterboxed }) => presence?.held && !presence.holds && letterboxed, 'a watcher');
  const press = (terminal, button) => terminal.page.locator(button).click();

  async function haveOneSize(one, other) {
    const size = async (terminal) => JSON.stringify(await terminal.size());
    await until(async () => (await size(one)) === (await size(other)), async () => `${await size(one)} and ${await size(other)} stay`);
  }

  test('lets one of them type, tells the other, and hands the keyboard over when asked', async () => {
    const { first, second, close } = await gather();
    await haveOneSize(first, second);
    const { cols } = await first.size();
    assert.match(await second.says('#keyboard'), /^Somebody else has the keyboard\. You are watching\./);
    assert.equal(await second.says('#people'), '2 operators');
    assert.equal(await first.says('#people'), '2 operators');
    await second.type('typed to nobody\n');
    await first.type('from the first\n');
    await second.shows(/Considering "from the first"/);

    await press(second, '#take');
    await holds(second);
    await watches(first);
    await haveOneSize(first, second);
    assert.ok((await first.size()).cols < cols, 'the size came with the keyboard');
    assert.match(await first.says('#keyboard'), /^Somebody else has taken the keyboard\. You are watching\. Take over/);
    await first.type('typed to nobody\n');
    await second.type('from the second\n');
    await first.shows(/Considering "from the second"/);

    await press(first, '#keyboard-take');
    await holds(first);
    await watches(second);
    await first.type('exit 5\n');
    for (const terminal of [first, second]) {
      assert.match(await terminal.says('#end'), /exit code 5/);
      assert.doesNotMatch(await terminal.text(), /typed to nobody/);
      terminal.isQuiet();
    }
    await close();
  });

  test('has the program’s questions answered once, by whoever has the keyboard', async () => {
    const { first, second, close } = await gather(/ready/, { install_cmd: '', command: `node -e "${ASKING_PROGRAM}"` });
    await first.type('g');
    await first.shows(/asking got "\S+c"/);
    await press(second, '#take');
    await holds(second);
    await watches(first);
    await second.type('g');
    await second.shows(/asking got "\S+c"[^]*asking got "\S+c"/);
    await second.type('.');
    await second.shows(/got "\."/);
    const read = [...(await second.text()).matchAll(/got ("\S+")/g)].map(([, text]) => JSON.parse(text));
    assert.equal(read.length, 3, JSON.stringify(read));
    for (const answer of read.slice(0, 2)) assert.match(answer, /^\x1b\[\?[\d;]*c$/);
    await close();
  });

  test('sends the other away when told to, who comes back only by hand, and watches', async () => {
    const { first, second, close } = await gather();
    await press(second, '#keyboard-leave');
    await holds(second);
    assert.match(await first.says('#card'), /^Another operator has taken over .* Come back$/);
    assert.equal(await first.says('#link'), 'Not connected');
    await until(async () => (await second.page.locator('#people-text').innerText()) === '', () => 'the second is not alone');
    for (const event of ['visibilitychange', 'online']) {
      await first.page.evaluate((name) => (name === 'online' ? window : document).dispatchEvent(new Event(name)), event);
      assert.equal((await first.state()).connection.kind, 'refused');
    }
    await press(first, '#card-button');
    await watches(first);
    assert.equal((await second.state()).presence.holds, true);
    await second.type('still mine\n');
    await first.shows(/Considering "still mine"/);
    await close();
  });

  test('gives the keyboard to whoever stays when its holder leaves', async () => {
    const { first, second } = await gather();
    await first.close();
    await holds(second);
    const { cols } = await second.size();
    await second.shows(new RegExp(`The terminal is now ${cols}x`));
    await second.type('alone now\n');
    await second.shows(/Considering "alone now"/);
    await second.close();
  });

  test('counts who watches, and says nothing to one who is alone', async () => {
    const session = await on.server.create();
    const operator = await TerminalPage.open(on.browser, session.terminalUrl);
    await operator.shows(QUESTION);
    await holds(operator);
    assert.equal(await operator.page.locator('#people-text').innerText(), '');
    const viewer = await TerminalPage.open(on.browser, await on.server.link(session.sessionId, 'viewer'), SMALL);
    const came = performance.now();
    for (const terminal of [operator, viewer]) {
      await until(async () => (await terminal.says('#people')) === '1 operator, 1 viewer', () => terminal.says('#people'));
    }
    const took = performance.now() - came;
    assert.ok(took < 5_000, `the operator was told of the viewer after ${Math.round(took)} ms`);
    assert.equal(await viewer.page.locator('#take').isVisible(), false);
    await viewer.close();
    await until(async () => (await operator.page.locator('#people-text').innerText()) === '', () => operator.says('#people'));
    operator.isQuiet();
    await operator.close();
  });
});
