// <cliscale-terminal> inside another site's page: examples/embed as it is, on an origin of its own, in a browser that
// gives a framed site storage and in one that does not. It is typed in, comes back to the same screen, tells of the end;
// and a site that is not listed is told why.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { launch, noChromium } from '../lib/chromium.js';
import { Cliscale } from '../lib/cliscale.js';
import { ExampleSite } from '../lib/example-site.js';
import { DESK, PHONE, shoot } from '../lib/picture.js';
import { until } from '../lib/terminal-page.js';

const QUESTION = /Shall I go ahead\?/;
/** What is said of a slow machine alone: by a driver where there is no graphics card, by xterm.js where its work took long. */
const SLOW = /GL Driver Message|task queue exceeded allotted deadline/;

describe('the element, on another site', { skip: noChromium }, () => {
  let server;
  let site;
  let browser;

  before(async () => {
    server = await Cliscale.start({ args: ['--public-url', 'http://term.site.test'], env: { CLISCALE_EMBED_ORIGINS: 'http://product.test,http://product.site.test' } });
    site = await ExampleSite.start(server);
    const hosts = ['product.test', 'product.site.test', 'unlisted.test'].map((host) => [host, site.port]);
    browser = await launch({ hosts: { 'term.site.test': server.port, ...Object.fromEntries(hosts) } });
  });
  after(async () => {
    await browser?.close();
    await site?.stop();
    await server?.stop();
  });

  /** The site's page in a browser of its own, and the terminal's in it. */
  async function visit(host, device = DESK) {
    const context = await browser.newContext(device);
    // Most browsers do so by themselves.
    if (!host.endsWith('.site.test')) await context.addInitScript(withhold, 'term.site.test');
    const page = await context.newPage();
    const visit = { page, complaints: [], links: 0 };
    page.on('console', (message) => ['error', 'warning'].includes(message.type()) && !SLOW.test(message.text()) && visit.complaints.push(`${message.text()} ${message.location().url}`));
    page.on('pageerror', (error) => visit.complaints.push(`${error}`));
    page.on('request', (request) => (visit.links += request.url().endsWith('/terminal') ? 1 : 0));
    await page.goto(`http://${host}/`);
    visit.frame = () => page.frames().find((frame) => frame.url().startsWith('http://term.site.test/'));
    visit.text = () => textIn(visit.frame());
    visit.shows = (pattern) => until(async () => pattern.exec(await visit.text()), async () => `no ${pattern} in the terminal:\n${await visit.text()}\n${visit.complaints}`);
    const hasKeys = () => visit.frame().evaluate(() => document.hasFocus() && document.activeElement.tagName === 'TEXTAREA');
    visit.hasKeys = () => until(hasKeys, () => 'the terminal was not given the keys');
    visit.focus = async () => {
      await page.locator('#focus').click();
      await visit.hasKeys();
    };
    visit.says = (pattern) => until(async () => pattern.test(await page.locator('#status').innerText()), async () => `${await page.locator('#status').innerText()}\n${visit.complaints}`);
    return visit;
  }

  /** No storage for a site within another one. */
  function withhold(host) {
    if (window.location.host !== host) return;
    const refuse = () => { throw new DOMException('withheld', 'SecurityError'); };
    for (const name of ['sessionStorage', 'localStorage']) Object.defineProperty(window, name, { get: refuse });
  }

  const textIn = async (frame) =>
    (await frame
      ?.evaluate(() => {
        const buffer = window.__cliscale?.term.buffer.active;
        return buffer ? Array.from({ length: buffer.length }, (_, row) => buffer.getLine(row).translateToString(true)).join('\n').trimEnd() : '';
      })
      .catch(() => '')) ?? '';

  for (const [host, storage] of [['product.site.test', true], ['product.test', false]]) {
    test(`is typed in, comes back to the same screen, and tells of the end, ${storage ? 'with' : 'without'} storage of its own`, async () => {
      const visited = await visit(host);
      const { page, complaints, frame, shows, says, text } = visited;
      await shows(QUESTION);
      await says(/Connected: running/);
      await visited.focus();
      await page.keyboard.type('framed\n');
      await shows(/Considering "framed"[^]*Shall I go ahead/);
      assert.equal(await frame().locator('.bar').isVisible(), false);
      // Neither address has anything that lets somebody in.
      assert.match(frame().url(), /^http:\/\/term\.site\.test\/ws\/[\w-]+\?embed=1$/);
      assert.match(await page.locator('cliscale-terminal').getAttribute('src'), /^http:\/\/term\.site\.test\/ws\/[\w-]+$/);

      const before = await text();
      const comesBack = async (name, again) => {
        await frame().evaluate(() => (window.__earlier = true));
        await again();
        await until(() => frame()?.evaluate(() => window.__earlier !== true).catch(() => false), () => `the ${name} was not loaded again`);
        await until(async () => (await text()) === before, async () => `after loading the ${name} again:\n${await text()}\ninstead of\n${before}\n${complaints}`);
      };
      // What lets it come back is handed to the page around only where the browser keeps it nowhere else.
      assert.equal(await page.evaluate(() => Object.keys(sessionStorage).length), storage ? 0 : 1);
      assert.equal(visited.links, 1);
      await comesBack('frame', () => frame().evaluate(() => window.location.reload()));
      await comesBack('element', () => page.locator('cliscale-terminal').evaluate((terminal) => terminal.reload()));
      assert.equal(visited.links, 1, 'no further link was needed');
      await comesBack('page', () => page.reload());

      await says(/Connected: running/);
      await visited.focus();
      await page.keyboard.type('exit 6\n');
      await says(/Ended: exit code 6/);
      assert.deepEqual(complaints, []);
      await page.context().close();
    });
  }

  test('asks for a link when it cannot come back by itself', async () => {
    const visited = await visit('product.test');
    const { page, complaints, shows } = visited;
    await shows(QUESTION);
    await page.evaluate(() => {
      sessionStorage.clear();
      const terminal = document.querySelector('cliscale-terminal');
      terminal.addEventListener('token-needed', ({ detail }) => (window.__needed = detail.reason));
      terminal.reload();
    });
    await until(() => visited.links === 2, () => `it did not ask: ${complaints}`);
    assert.equal(await page.evaluate(() => window.__needed), 'token_missing');
    await shows(QUESTION);
    assert.deepEqual(complaints, []);
    await page.context().close();
  });

  test('looks as its attributes say, has the keys when it is given them, and hears nobody but its own page', async () => {
    const visited = await visit('product.test');
    const { page, complaints, frame, shows, text } = visited;
    await shows(QUESTION);
    const looks = () => frame().evaluate(() => ({ background: getComputedStyle(document.body).backgroundColor, font: window.__cliscale.term.options.fontSize }));
    const looksLike = (background, font) => until(async () => isDeepStrictEqual(await looks(), { background, font }), async () => JSON.stringify(await looks()));
    await looksLike('rgb(13, 17, 23)', 14);
    assert.equal(await page.evaluate(() => document.activeElement.tagName), 'BODY', 'it takes no focus by itself');
    await shoot(page, 'desk-embedded');

    // A frame beside it, of a site that is listed, is not the page around it.
    await page.evaluate(() => document.body.append(Object.assign(document.createElement('iframe'), { name: 'beside' })));
    const beside = await until(() => page.frame('beside'), () => 'no frame beside it');
    await beside.evaluate(() => {
      const terminal = window.parent.document.querySelector('cliscale-terminal').shadowRoot.querySelector('iframe').contentWindow;
      terminal.postMessage({ source: 'cliscale', version: 1, type: 'theme', theme: 'light' }, '*');
    });
    await page.evaluate(() => {
      const terminal = document.querySelector('cliscale-terminal').shadowRoot.querySelector('iframe').contentWindow;
      for (const nonsense of [null, 'x', { type: 'theme', theme: 'light' }, { source: 'cliscale', version: 9, type: 'theme', theme: 'light' }]) terminal.postMessage(nonsense, '*');
    });
    await page.locator('#size').fill('20');
    await looksLike('rgb(13, 17, 23)', 20);
    await page.locator('#theme').selectOption('light');
    await looksLike('rgb(255, 255, 255)', 20);
    await page.locator('cliscale-terminal').evaluate((terminal) => terminal.removeAttribute('font-size'));
    await looksLike('rgb(255, 255, 255)', 14);

    await visited.focus();
    await page.keyboard.type('keys');
    await until(async () => /keys/.test(await text()), text);
    await page.locator('cliscale-terminal').evaluate((terminal) => (terminal.bar = true));
    await until(() => frame()?.locator('.bar').isVisible().catch(() => false), () => 'no bar');
    await shows(/keys/);
    assert.deepEqual(complaints, []);
    await page.context().close();
  });

  test('fits into a phone, with the keys that its keyboard lacks', async () => {
    const { page, complaints, frame, shows, says, hasKeys } = await visit('product.test', PHONE);
    await shows(QUESTION);
    const { scrollWidth, innerWidth } = await page.evaluate(() => ({ scrollWidth: document.documentElement.scrollWidth, innerWidth: window.innerWidth }));
    assert.ok(scrollWidth <= innerWidth, `${scrollWidth} is wider than ${innerWidth}`);
    await until(() => frame().evaluate(() => window.__cliscale.state().presence?.holds), () => 'it never had the keyboard');
    await frame().locator('#terminal').tap();
    await hasKeys();
    await shoot(page, 'phone-embedded');
    await frame().locator('[data-key=ctrl]').tap();
    await until(() => frame().locator('[data-key=ctrl][aria-pressed=true]').isVisible(), () => 'Ctrl is not pressed');
    await page.keyboard.type('c');
    await says(/Ended: exit code 130/);
    assert.deepEqual(complaints, []);
    await page.context().close();
  });

  test('is refused to a site that is not listed, which is told why', async () => {
    const { page, complaints, says } = await visit('unlisted.test');
    const frame = page.frameLocator('cliscale-terminal iframe');
    await frame.getByRole('heading', { name: 'This site may not show the terminal' }).waitFor();
    assert.match(await frame.locator('body').innerText(), /add http:\/\/unlisted\.test to CLISCALE_EMBED_ORIGINS/);
    await shoot(page, 'desk-embedded-refused');
    await says(/it does not list http:\/\/unlisted\.test in CLISCALE_EMBED_ORIGINS/);
    assert.ok(complaints.some((text) => /<cliscale-terminal>: http:\/\/term\.site\.test does not answer/.test(text)), complaints.join('\n'));
    await page.context().close();
  });

  test('is one module with its types, and nothing else', () => {
    const { files, manifest } = site;
    assert.deepEqual(files.map(({ path }) => path).sort(), ['README.md', 'dist/index.d.ts', 'dist/index.js', 'dist/messages.d.ts', 'package.json']);
    assert.equal(manifest.dependencies, undefined);
    const weight = files.reduce((sum, { size }) => sum + size, 0);
    assert.ok(weight < 30_000, `${weight} bytes`);
  });
});
