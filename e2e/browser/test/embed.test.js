// Inside another site's page: an allowed site may show the terminal, any other may not.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { launch, noChromium } from '../lib/chromium.js';
import { Cliscale } from '../lib/cliscale.js';
import { until } from '../lib/terminal-page.js';

/** A site that shows whatever its address asks for in a frame. */
function startSite() {
  const site = createServer((request, response) => {
    const shown = new URL(request.url, 'http://site').searchParams.get('show') ?? 'about:blank';
    response.setHeader('Content-Type', 'text/html');
    response.end(`<!doctype html><title>A site</title><link rel="icon" href="data:,"><iframe src="${encodeURI(shown)}" width="1000" height="600"></iframe>`);
  });
  return new Promise((ready) => site.listen(0, '127.0.0.1', () => ready(site)));
}

describe('in another site’s frame', { skip: noChromium }, () => {
  let server;
  let browser;
  const sites = [];

  before(async () => {
    sites.push(await startSite(), await startSite());
    server = await Cliscale.start({ args: ['--public-url', 'http://term.test'], env: { CLISCALE_EMBED_ORIGINS: 'http://allowed.test' } });
    browser = await launch({
      hosts: { 'term.test': server.port, 'allowed.test': sites[0].address().port, 'other.test': sites[1].address().port },
    });
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
    for (const site of sites) site.close();
  });

  async function show(host, terminalUrl) {
    const page = await browser.newPage();
    const complaints = [];
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    await page.goto(`http://${host}/?show=${encodeURIComponent(terminalUrl)}`);
    return { page, complaints, frame: page.frames()[1] };
  }

  test('the terminal works on an allowed site, over a second connection too', async () => {
    const session = await server.create();
    const { page, complaints, frame } = await show('allowed.test', session.terminalUrl);
    const text = () =>
      frame.evaluate(() => {
        const buffer = window.__cliscale?.term.buffer.active;
        return buffer ? Array.from({ length: buffer.length }, (_, row) => buffer.getLine(row).translateToString(true)).join('\n') : '';
      });
    await until(async () => /Shall I go ahead/.test(await text()), text);
    await frame.locator('#terminal').click();
    await page.keyboard.type('framed\n');
    await until(async () => /Considering "framed"/.test(await text()), text);
    // A browser may withhold storage from a framed site: coming back over a new connection does not depend on it.
    const sockets = [];
    page.on('websocket', (socket) => sockets.push(socket.url()));
    await frame.evaluate(() => window.dispatchEvent(new Event('online')));
    await until(async () => sockets.length === 1 && (await frame.evaluate(() => window.__cliscale.state().connection.kind)) === 'open', text);
    await page.keyboard.type('framed again\n');
    await until(async () => /Considering "framed again"/.test(await text()), text);
    assert.deepEqual(complaints, []);
    await page.close();
  });

  test('any other site is refused by the browser, and the link stays unused', async () => {
    const session = await server.create();
    const { page, complaints, frame } = await show('other.test', session.terminalUrl);
    await until(() => complaints.some((text) => /frame-ancestors/.test(text)), () => `no refusal: ${complaints}`);
    assert.equal(await frame.evaluate(() => Boolean(window.__cliscale)).catch(() => false), false);
    const alone = await browser.newPage();
    await alone.goto(session.terminalUrl);
    await alone.locator('#link[data-link=open]').waitFor();
    await Promise.all([page.close(), alone.close()]);
  });
});
