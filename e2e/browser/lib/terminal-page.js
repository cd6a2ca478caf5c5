// The terminal page as a person meets it: its screen's text, its keyboard, what it says around the terminal, and
// everything that it should not have done.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

const WAIT_MS = 30_000;
/**
 * Where pods come and go, so do network devices, and Chromium then gives up what it is just loading. When its page of
 * the error comes first, that is all that is told of the reason.
 */
const NETWORK_CHANGED = /ERR_NETWORK_CHANGED|interrupted by another navigation to "chrome-error:/;
/** What it says to whoever asks while that page of the error is taking the other's place. */
const BETWEEN_PAGES = /Not attached to an active page/;
const LOADS = 5;
const PAUSE_MS = 200;

/** In the page: WebGL is drawn in software, under another name. */
function nameGpu() {
  const { getParameter } = WebGL2RenderingContext.prototype;
  const UNMASKED_RENDERER = 0x9246;
  WebGL2RenderingContext.prototype.getParameter = function (name) {
    return name === UNMASKED_RENDERER ? 'a GPU' : getParameter.call(this, name);
  };
}

export class TerminalPage {
  /** Complaints: console errors, exceptions, violations of the content security policy. */
  complaints = [];
  /** How often something was given up because the machine's network had changed. */
  networkChanges = 0;
  /** Every address that was asked for. */
  requests = [];

  constructor(page) {
    this.page = page;
    page.on('console', (message) => {
      if (message.type() !== 'error') return;
      if (NETWORK_CHANGED.test(message.text())) this.networkChanges++;
      else this.complaints.push(message.text());
    });
    page.on('pageerror', (error) => this.complaints.push(`${error}`));
    page.on('request', (request) => this.requests.push(request.url()));
    page.on('websocket', (socket) => this.requests.push(socket.url()));
  }

  /** In a browser context of its own, as another person's would be. `gpu`: in a browser that says it has one. */
  static async open(browser, url, { gpu = false, ...options } = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    if (gpu) await context.addInitScript(nameGpu);
    const terminal = new TerminalPage(await context.newPage());
    await terminal.load(() => terminal.page.goto(url));
    return terminal;
  }

  reload() {
    return this.load(() => this.page.reload());
  }

  /** Loads the page, again where the machine's network changed meanwhile. */
  async load(attempt) {
    for (let left = LOADS - 1; ; left--) {
      const changes = this.networkChanges;
      try {
        await attempt();
        if (this.networkChanges === changes || left === 0) return;
      } catch (error) {
        const passes = NETWORK_CHANGED.test(error.message) || BETWEEN_PAGES.test(error.message);
        if (left === 0 || !passes) throw error;
      }
      await sleep(PAUSE_MS);
    }
  }

  close() {
    return this.page.context().close();
  }

  /** The whole buffer's text, scrollback included; lines that the width wrapped are one. */
  text() {
    return this.page.evaluate(() => {
      const buffer = window.__cliscale.term.buffer.active;
      let text = '';
      for (let row = 0; row < buffer.length; row++) {
        const line = buffer.getLine(row);
        text += (row > 0 && !line.isWrapped ? '\n' : '') + line.translateToString(true);
      }
      return text.trimEnd();
    });
  }

  state() {
    return this.page.evaluate(() => window.__cliscale.state());
  }

  size() {
    return this.page.evaluate(() => ({ cols: window.__cliscale.term.cols, rows: window.__cliscale.term.rows }));
  }

  /** Waits until the terminal shows it; gives what was matched. */
  async shows(pattern) {
    return until(async () => pattern.exec(await this.text()), async () => `no ${pattern} in the terminal:\n${await this.text()}`);
  }

  async reaches(condition, what) {
    return until(
      async () => condition(await this.state()),
      async () => `never ${what}: ${JSON.stringify(await this.state())}`,
    );
  }

  async type(text) {
    await this.page.locator('#terminal').click();
    await this.page.keyboard.type(text);
  }

  /** Text beside the terminal, once it is shown. */
  async says(selector) {
    await this.page.locator(selector).waitFor({ state: 'visible', timeout: WAIT_MS });
    return (await this.page.locator(selector).innerText()).replace(/\s+/g, ' ').trim();
  }

  /** Nothing but its own server was asked for anything, and nothing went wrong in the page. */
  isQuiet() {
    const own = new URL(this.page.url()).host;
    const foreign = this.requests.filter((url) => !url.startsWith('data:') && new URL(url).host !== own);
    assert.deepEqual(foreign, [], 'requests to other hosts');
    assert.deepEqual(this.complaints, [], 'console errors or policy violations');
  }
}

/** Asks again and again until there is an answer, at most WAIT_MS. */
export async function until(ask, complaint) {
  for (const deadline = Date.now() + WAIT_MS; ; ) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > deadline) assert.fail(await complaint());
    await sleep(50);
  }
}
