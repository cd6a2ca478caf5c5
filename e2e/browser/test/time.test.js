// The session's time, as the page tells it: a warning before the end, and more of it.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { noChromium } from '../lib/chromium.js';
import { stage } from '../lib/stage.js';
import { TerminalPage, until } from '../lib/terminal-page.js';

const WAITING = 'echo ready; read -r line';

describe('the session’s time', { skip: noChromium }, () => {
  const on = stage();

  test('is warned of, extended by keys alone, and known to everybody who is there', async () => {
    const session = await on.server.create({ install_cmd: '', command: WAITING, ttl_seconds: 200, max_ttl_seconds: 3_600 });
    const terminal = await TerminalPage.open(on.browser, session.terminalUrl);
    await terminal.shows(/ready/);
    assert.match(await terminal.says('#time'), /^This session ends in [1-4] minutes?\. Extend by 5\d minutes/);
    assert.match(await terminal.page.locator('#announce').textContent(), /This session ends in/);
    const viewer = await TerminalPage.open(on.browser, await on.server.link(session.sessionId, 'viewer'));
    await viewer.says('#time');
    assert.equal(await viewer.page.locator('#time-extend').isVisible(), false, 'a viewer can extend');

    const before = Date.parse((await on.server.get(session.sessionId)).expiresAt);
    await terminal.page.keyboard.press('Control+Shift+Period');
    await terminal.page.keyboard.press('Enter');
    await terminal.page.locator('#time').waitFor({ state: 'hidden' });
    await viewer.page.locator('#time').waitFor({ state: 'hidden' });
    const after = Date.parse((await on.server.get(session.sessionId)).expiresAt);
    assert.ok(after - before > 50 * 60_000, `${before} ${after}`);
    // What is typed is typed in the terminal again.
    await terminal.page.keyboard.type('x\n');
    await terminal.says('#end');
    terminal.isQuiet();
    viewer.isQuiet();
    await Promise.all([terminal.close(), viewer.close()]);
  });

  test('that is all there is has no button, and is counted down', async () => {
    const session = await on.server.create({ install_cmd: '', command: WAITING, ttl_seconds: 45, max_ttl_seconds: 45 });
    const terminal = await TerminalPage.open(on.browser, session.terminalUrl);
    await terminal.shows(/ready/);
    const first = await terminal.says('#time-text');
    assert.match(first, /^This session ends in \d+ s\.$/);
    await until(async () => (await terminal.says('#time-text')) !== first, () => 'it stands still');
    assert.equal(await terminal.page.locator('#time-extend').isVisible(), false);
    await terminal.page.locator('#menu').click();
    assert.equal(await terminal.page.locator('#menu-extend').isVisible(), false);
    await terminal.close();
  });
});
