// Several people at one terminal: who may type, and that all see the same.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { noChromium } from '../lib/chromium.js';
import { stage } from '../lib/stage.js';
import { TerminalPage, until } from '../lib/terminal-page.js';

const QUESTION = /Shall I go ahead\?/;

async function hasSizeOf(follower, leader) {
  const size = async (terminal) => JSON.stringify(await terminal.size());
  await until(
    async () => (await size(follower)) === (await size(leader)),
    async () => `${await size(follower)} does not become ${await size(leader)}`,
  );
}

describe('a session with several people', { skip: noChromium }, () => {
  const on = stage();

  async function gather(sizes) {
    const session = await on.server.create();
    const operator = await TerminalPage.open(on.browser, session.terminalUrl);
    await operator.shows(QUESTION);
    const viewers = [];
    for (const viewport of sizes) {
      viewers.push(await TerminalPage.open(on.browser, await on.server.link(session.sessionId, 'viewer'), { viewport }));
      await viewers.at(-1).shows(QUESTION);
    }
    return { operator, viewers, all: [operator, ...viewers] };
  }

  test('shows every viewer the same', async () => {
    const { operator, viewers, all } = await gather([{ width: 1280, height: 800 }, { width: 700, height: 500 }]);
    await operator.type('look at this\n');
    for (const terminal of all) await terminal.shows(/Considering "look at this"[^]*Shall I go ahead/);
    const [text, ...others] = await Promise.all(all.map((terminal) => terminal.text()));
    for (const other of others) assert.equal(other, text);
    for (const viewer of viewers) await hasSizeOf(viewer, operator);
    await Promise.all(all.map((terminal) => terminal.close()));
  });

  test('lets no viewer type', async () => {
    const { operator, viewers: [viewer], all } = await gather([{ width: 1280, height: 800 }]);
    assert.equal(await viewer.says('#role'), 'View only');
    await viewer.type('exit 9\n');
    // Typing past the page, as a changed page would, gets no further: the server holds viewers off.
    await viewer.page.evaluate(() => window.__cliscale.term.input('exit 9\r'));
    await operator.type('exit 4\n');
    for (const terminal of all) assert.match(await terminal.says('#end'), /exit code 4/);
    assert.doesNotMatch(await operator.text(), /exit 9/);
    for (const terminal of all) terminal.isQuiet();
    await Promise.all(all.map((terminal) => terminal.close()));
  });

  test('shows a viewer all of a larger terminal, also after it changed', async () => {
    const { operator, viewers: [viewer], all } = await gather([{ width: 500, height: 400 }]);
    const fits = () =>
      viewer.page.evaluate(() => {
        const room = document.getElementById('screen').getBoundingClientRect();
        const screen = document.querySelector('.xterm-screen').getBoundingClientRect();
        return screen.left >= room.left && screen.right <= room.right && screen.top >= room.top && screen.bottom <= room.bottom;
      });
    await until(fits, () => 'the terminal is larger than the page');
    const { cols } = await operator.size();
    await operator.page.setViewportSize({ width: 1500, height: 900 });
    await until(async () => (await operator.size()).cols > cols, () => 'the operator’s terminal kept its size');
    await hasSizeOf(viewer, operator);
    await until(fits, () => 'the terminal is larger than the page after it grew');
    await Promise.all(all.map((terminal) => terminal.close()));
  });
});
