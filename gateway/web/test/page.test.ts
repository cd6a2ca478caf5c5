// @vitest-environment happy-dom
// The page's markup with its status, and what is used of xterm.js beyond its public interface.
import { Terminal } from '@xterm/xterm';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import html from '../index.html?raw';
import { TouchKeys } from '../src/keys';
import { Status } from '../src/status';
import { userInputOf } from '../src/user-input';

const find = (id: string) => document.getElementById(id)!;

beforeEach(() => {
  document.body.innerHTML = html.slice(html.indexOf('<body>') + 6, html.indexOf('</body>'));
});

describe('the status', () => {
  it('shows the stage as a word and says it once', () => {
    const status = new Status(() => {});
    status.stage('fetching');
    expect(find('stage').textContent).toBe('Fetching');
    expect(find('announce').textContent).toBe('Fetching');
  });

  it('explains a refusal, with a button only where trying again can help', () => {
    const retry = vi.fn();
    const status = new Status(retry);
    status.connection({ kind: 'refused', slug: 'token_used', retry: false });
    expect(find('card').hidden).toBe(false);
    expect(find('card-title').textContent).toContain('already been used');
    expect(find('card-button').hidden).toBe(true);
    status.connection({ kind: 'refused', slug: 'taken_over', retry: true });
    find('card-button').click();
    expect(retry).toHaveBeenCalledOnce();
    status.connection({ kind: 'open', wire: 'tty.r1' });
    expect(find('card').hidden).toBe(true);
  });

  it('tells what is waited for until there is output', () => {
    const status = new Status(() => {});
    status.waiting('Waiting for a runner');
    expect(find('waiting').hidden).toBe(false);
    status.hasOutput();
    status.waiting('Fetching');
    expect(find('waiting').hidden).toBe(true);
  });

  it('shows the end with its code, and keeps the first that it was told', () => {
    const status = new Status(() => {});
    status.ended({ code: 7, signal: null, reason: 'exited', end: 0, message: null });
    status.ended(null);
    expect(find('end').hidden).toBe(false);
    expect(find('end-detail').textContent).toBe('exit code 7');
    expect(find('end').classList.contains('failed')).toBe(true);
  });

  it('says which attempt comes when, and what it is doing meanwhile', () => {
    vi.useFakeTimers();
    const retry = vi.fn();
    const status = new Status(retry);
    status.hasOutput();
    const text = () => find('notice-text').textContent;
    status.connection({ kind: 'waiting', attempt: 3, delayMs: 4000, why: 'lost' });
    expect(text()).toBe('The connection was lost. Attempt 3 in 4 s.');
    vi.advanceTimersByTime(2100);
    expect(text()).toBe('The connection was lost. Attempt 3 in 2 s.');
    find('notice-button').click();
    expect(retry).toHaveBeenCalledOnce();
    status.connection({ kind: 'connecting', attempt: 3 });
    expect(text()).toBe('Connecting again, attempt 3.');
    expect(find('notice-button').hidden).toBe(true);
    status.connection({ kind: 'open', wire: 'tty.r1' });
    expect(find('notice').hidden).toBe(true);
    vi.useRealTimers();
  });

  it('comes back to the connection after another notice', () => {
    vi.useFakeTimers();
    const status = new Status(() => {});
    status.connection({ kind: 'waiting', attempt: 2, delayMs: 60_000, why: 'unavailable' });
    status.notice('Copied.');
    expect(find('notice-text').textContent).toBe('Copied.');
    vi.advanceTimersByTime(8_000);
    expect(find('notice-text').textContent).toContain('Attempt 2 in 52 s.');
    vi.useRealTimers();
  });

  it('says that the browser has no network, whatever the connection believes', () => {
    const status = new Status(() => {});
    status.connection({ kind: 'open', wire: 'tty.r1' });
    status.offline(true);
    expect(find('notice-text').textContent).toContain('no network');
    status.connection({ kind: 'waiting', attempt: 1, delayMs: 900, why: 'lost' });
    expect(find('notice-text').textContent).toBe('This browser has no network. Attempt 1 in 1 s.');
    status.offline(false);
    expect(find('notice-text').textContent).toContain('The connection was lost.');
    status.connection({ kind: 'open', wire: 'tty.r1' });
    expect(find('notice').hidden).toBe(true);
  });

  it('shows a hostile title, link or message as text', () => {
    const status = new Status(() => {});
    status.linkHint('<img src=x>');
    status.ended({ code: null, signal: null, reason: 'fetch_failed', end: 0, message: '<b>x</b>' });
    expect(find('link-hint').children).toHaveLength(0);
    expect(find('end-detail').children).toHaveLength(0);
  });
});

describe('xterm.js', () => {
  it('tells typed text before it hands it on, and answers to queries never', () => {
    const term = new Terminal();
    const seen: string[] = [];
    userInputOf(term)(() => seen.push('typed'));
    term.onData((text) => seen.push(text));
    term.input('a', true);
    term.input('\x1b[0n', false);
    expect(seen).toEqual(['typed', 'a', '\x1b[0n']);
  });

  it('does things in the order of its writes, resets and resizes included', async () => {
    const term = new Terminal({ cols: 10, rows: 2 });
    const line = () => term.buffer.active.getLine(0)!.translateToString(true);
    const seen: string[] = [];
    await new Promise<void>((done) => {
      term.write('old', () => seen.push(line()));
      term.write('\x1b[3\x18', () => {
        term.reset();
        term.resize(20, 4);
      });
      term.write('new', () => (seen.push(`${line()} ${term.cols}`), done()));
    });
    expect(seen).toEqual(['old', 'new 20']);
  });
});

describe('the touch keys', () => {
  it('make the next letter a control character, once', () => {
    const keys = new TouchKeys(find('keys'), new Terminal());
    find('keys').querySelector<HTMLElement>('[data-key=ctrl]')!.click();
    expect(keys.filter('c')).toBe('\x03');
    expect(keys.filter('c')).toBe('c');
  });

  it('send arrows in the form that the program asked for', async () => {
    const term = new Terminal();
    const sent: string[] = [];
    term.onData((text) => sent.push(text));
    new TouchKeys(find('keys'), term);
    const up = find('keys').querySelector<HTMLElement>('[data-key=up]')!;
    up.click();
    await new Promise<void>((done) => term.write('\x1b[?1h', done));
    up.click();
    expect(sent).toEqual(['\x1b[A', '\x1bOA']);
  });
});
