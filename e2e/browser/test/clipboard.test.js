// Copying out of the terminal and pasting into it, by keys and by the right button; and what a program puts on the
// clipboard, which a person is asked about.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { noChromium } from '../lib/chromium.js';
import { stage } from '../lib/stage.js';
import { TerminalPage, until } from '../lib/terminal-page.js';

/** Says what it reads; `c` copies, each time another text, `r` asks for the clipboard, `b` asks for bracketed paste, `m` for the mouse. */
const PROGRAM = `
  let copies = 0;
  const say = (text) => process.stdout.write(text);
  const copy = () => say('\\x1b]52;c;' + Buffer.from('copied ' + ++copies + ' \\u{1f600}').toString('base64') + '\\x07');
  const does = { c: copy, r: () => say('\\x1b]52;c;?\\x07'), b: () => say('\\x1b[?2004h'), m: () => say('\\x1b[?1000h\\x1b[?1006h') };
  process.stdin.setRawMode(true);
  process.stdin.on('data', (data) => {
    const text = String(data);
    if (does[text]) does[text]();
    console.log((does[text] ? 'did ' : 'got ') + JSON.stringify(text));
  });
  console.log('ready');`;
const NOTHING = 'something of before';

describe('the clipboard', { skip: noChromium }, () => {
  const on = stage();

  async function open(permissions = ['clipboard-read', 'clipboard-write']) {
    const session = await on.server.create({ install_cmd: '', command: `node -e "${PROGRAM}"` });
    const terminal = await TerminalPage.open(on.browser, session.terminalUrl, { permissions });
    await terminal.shows(/ready/);
    await terminal.reaches(({ presence }) => presence?.holds, 'with the keyboard');
    if (permissions.length > 0) await put(terminal, NOTHING);
    return { terminal, session };
  }
  const put = (terminal, text) => terminal.page.evaluate((wanted) => navigator.clipboard.writeText(wanted), text);
  const taken = (terminal) => terminal.page.evaluate(() => navigator.clipboard.readText());
  const holds = (terminal, text) => until(async () => (await taken(terminal)) === text, async () => `it has ${await taken(terminal)}`);
  /** The program's first word. */
  const select = (terminal) =>
    terminal.page.evaluate(() => {
      const { term } = window.__cliscale;
      let row = 0;
      while (term.buffer.active.getLine(row).translateToString(true) !== 'ready') row++;
      term.select(0, row, 5);
    });
  const rightClick = (terminal, modifiers = []) => terminal.page.locator('#terminal').click({ button: 'right', modifiers, position: { x: 300, y: 300 } });

  test('takes and gives by Ctrl+Shift+C and Ctrl+Shift+V, in brackets where the program asked for them', async () => {
    const { terminal } = await open();
    const { keyboard } = terminal.page;
    await select(terminal);
    await keyboard.press('Control+Shift+C');
    await holds(terminal, 'ready');
    await put(terminal, 'one\ntwo');
    await keyboard.press('Control+Shift+V');
    await terminal.shows(/got "one\\rtwo"/);
    await keyboard.type('b');
    await terminal.shows(/did "b"/);
    await keyboard.press('Control+Shift+V');
    await terminal.shows(/got "\\u001b\[200~one\\rtwo\\u001b\[201~"/);
    terminal.isQuiet();
    await terminal.close();
  });

  test('is copied to and pasted from by the right button', async () => {
    const { terminal } = await open();
    await select(terminal);
    await rightClick(terminal);
    await holds(terminal, 'ready');
    await until(() => terminal.page.evaluate(() => !window.__cliscale.term.hasSelection()), () => 'the selection stays');
    await rightClick(terminal);
    await terminal.shows(/got "ready"/);

    // The browser's menu, where a person asks for it, once or for good.
    const menus = () => terminal.page.evaluate(() => window.menus);
    await terminal.page.evaluate(() => {
      window.menus = 0;
      window.addEventListener('contextmenu', (event) => {
        if (!event.defaultPrevented) window.menus++;
      });
    });
    await rightClick(terminal, ['Shift']);
    assert.equal(await menus(), 1);
    await terminal.page.keyboard.press('Escape');
    await terminal.page.keyboard.press('Control+Shift+Comma');
    await terminal.page.getByLabel(/Right click copies/).uncheck();
    await terminal.page.keyboard.press('Escape');
    await rightClick(terminal);
    assert.equal(await menus(), 2);
    await terminal.page.keyboard.press('Escape');

    await terminal.page.locator('.xterm-helper-textarea').press('m');
    await terminal.shows(/did "m"/);
    await rightClick(terminal);
    await terminal.shows(/got "\\u001b\[<2;/);
    assert.equal(await menus(), 2, 'a program that has the mouse has the right button');
    terminal.isQuiet();
    await terminal.close();
  });

  test('says what to press instead where the browser lets no page read it', async () => {
    const { terminal } = await open([]);
    await terminal.page.evaluate(() => {
      navigator.clipboard.readText = () => Promise.reject(new DOMException('no', 'NotAllowedError'));
    });
    await rightClick(terminal);
    assert.match(await terminal.says('#notice'), /did not allow pasting.*Ctrl\+Shift\+V/);
    await terminal.close();
  });

  test('is written by a program once a person has agreed, and never read', async () => {
    const { terminal } = await open();
    const { page } = terminal;
    await terminal.type('c');
    assert.match(await terminal.says('#program-copy'), /^The program wants to put text on your clipboard.*copied 1 😀/);
    assert.equal(await taken(terminal), NOTHING);
    await page.getByRole('button', { name: 'Not now' }).click();
    await page.keyboard.type('c');
    assert.match(await terminal.says('#program-copy'), /copied 2/);
    await page.getByRole('button', { name: 'Allow' }).click();
    await holds(terminal, 'copied 2 😀');
    // Asked once: from now on it just happens, after a reload too.
    await page.keyboard.type('c');
    await holds(terminal, 'copied 3 😀');
    assert.match(await terminal.says('#notice'), /has copied text/);
    await put(terminal, NOTHING);
    await terminal.reload();
    await terminal.shows(/did "c"[^]*did "c"[^]*did "c"/);
    await terminal.reaches(({ presence, drained }) => presence?.holds && drained, 'with the keyboard');
    assert.equal(await taken(terminal), NOTHING, 'what is replayed copies nothing');
    await terminal.type('c');
    await holds(terminal, 'copied 4 😀');

    await page.keyboard.type('r');
    await terminal.shows(/did "r"/);
    await page.keyboard.type('.');
    await terminal.shows(/got "\."/);
    assert.doesNotMatch(await terminal.text(), /got "\\u001b/, 'it was told what is on the clipboard');
    terminal.isQuiet();
    await terminal.close();
  });

  test('is left alone by a program that was refused, and by one that somebody only watches', async () => {
    const { terminal, session } = await open();
    const viewer = await TerminalPage.open(on.browser, await on.server.link(session.sessionId, 'viewer'));
    await viewer.shows(/ready/);
    await terminal.type('c');
    await terminal.says('#program-copy');
    await viewer.shows(/did "c"/);
    assert.equal(await viewer.page.locator('#program-copy').isVisible(), false);
    await terminal.page.getByRole('button', { name: 'Never' }).click();
    await terminal.page.keyboard.type('c');
    await terminal.shows(/did "c"[^]*did "c"/);
    assert.equal(await terminal.page.locator('#program-copy').isVisible(), false);
    assert.equal(await taken(terminal), NOTHING);
    await Promise.all([terminal.close(), viewer.close()]);
  });

  test('has a button for each copy where the browser asks for one', async () => {
    const { terminal } = await open();
    await terminal.page.evaluate(() => {
      const allowed = navigator.clipboard.writeText.bind(navigator.clipboard);
      navigator.clipboard.writeText = (text) => (navigator.userActivation.isActive && window.pressed ? allowed(text) : Promise.reject(new DOMException('no', 'NotAllowedError')));
      document.execCommand = () => false;
      document.getElementById('program-copy').addEventListener('click', () => (window.pressed = true), { capture: true });
    });
    await terminal.type('c');
    await terminal.says('#program-copy');
    await terminal.page.getByRole('button', { name: 'Allow' }).click();
    await holds(terminal, 'copied 1 😀');
    await terminal.page.evaluate(() => (window.pressed = false));
    await terminal.page.keyboard.type('c');
    assert.match(await terminal.says('#program-copy'), /^The program has copied: copied 2/);
    await terminal.page.locator('#program-copy').getByRole('button', { name: 'Copy' }).click();
    await holds(terminal, 'copied 2 😀');
    await terminal.close();
  });
});
