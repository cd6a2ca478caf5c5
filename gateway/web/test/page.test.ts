// @vitest-environment happy-dom
// The page's markup with its status, and what is used of xterm.js beyond its public interface.
import { Terminal } from '@xterm/xterm';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import html from '../index.html?raw';
import { TouchKeys } from '../src/keys';
import { People } from '../src/people';
import { Share, type ShareAnswer } from '../src/share';
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
    status.connection({ kind: 'refused', slug: 'sent_away', retry: true });
    expect(find('card-button').textContent).toBe('Come back');
    status.connection({ kind: 'refused', slug: 'taken_over', retry: true });
    expect(find('card-button').textContent).toBe('Connect again');
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

describe('the people', () => {
  const takeOver = vi.fn();
  const say = vi.fn();
  let people: People;
  beforeEach(() => {
    vi.clearAllMocks();
    people = new People(takeOver, say);
  });
  const there = (operators: number, viewers: number, keyboard: object = {}) =>
    people.show({ operators, viewers, holds: true, held: true, ...keyboard }, 'operator');

  it('are counted by what they may do, in an element that is read out, and not while one is alone', () => {
    there(1, 0);
    expect(find('people').textContent).toBe('');
    there(2, 3);
    expect(find('people-text').textContent).toBe('2 operators, 3 viewers');
    expect(find('people').getAttribute('aria-live')).toBe('polite');
    there(1, 1);
    expect(find('people-text').textContent).toBe('1 operator, 1 viewer');
    there(0, 2);
    expect(find('people-text').textContent).toBe('2 viewers');
    people.gone();
    expect(find('people').textContent).toBe('');
  });

  it('have one button for the keyboard, where somebody else has it', () => {
    there(2, 0);
    expect(find('take').hidden).toBe(true);
    there(2, 0, { holds: false });
    expect(find('take').hidden).toBe(false);
    find('take').click();
    expect(takeOver).toHaveBeenCalledExactlyOnceWith(false);
    there(1, 0, { holds: false, held: false });
    expect(find('take').hidden).toBe(true);
    people.show({ operators: 1, viewers: 1, holds: false, held: true }, 'viewer');
    expect(find('take').hidden).toBe(true);
  });

  it('are told who has the keyboard, with both ways to get it, until they have it', () => {
    vi.useFakeTimers();
    there(2, 0, { holds: false });
    people.tell('elsewhere');
    people.tell('elsewhere');
    expect(say).toHaveBeenCalledExactlyOnceWith('Somebody else has the keyboard. You are watching.');
    expect(find('keyboard').hidden).toBe(false);
    find('keyboard-take').click();
    find('keyboard-leave').click();
    expect(takeOver.mock.calls).toEqual([[false], [true]]);
    there(2, 0);
    expect(find('keyboard').hidden).toBe(true);
    people.tell('taken', 'And more.');
    expect(find('keyboard-text').textContent).toBe('Somebody else has taken the keyboard. You are watching. And more.');
    vi.advanceTimersByTime(15_000);
    expect(find('keyboard').hidden).toBe(true);
    vi.useRealTimers();
  });
});

describe('sharing', () => {
  const closed = vi.fn();
  const LINK: ShareAnswer = { kind: 'link', url: 'http://host/ws/id?token=t', expiresAt: new Date(2030, 0, 1, 14, 35) };
  const set = (...answers: ShareAnswer[]) => new Share({ ask: async () => answers.shift()!, closed });
  const opened = async () => {
    find('share').click();
    await new Promise((next) => setTimeout(next));
  };
  const field = () => find('share-url') as HTMLInputElement;

  it('is offered where it is possible', () => {
    const share = set();
    expect(find('share').hidden).toBe(true);
    share.offer(true);
    expect(find('share').hidden).toBe(false);
    share.offer(false);
    expect(find('share').hidden).toBe(true);
  });

  it('shows a link with what it is good for, and forgets it with the dialog', async () => {
    set(LINK);
    await opened();
    expect(field().value).toBe('http://host/ws/id?token=t');
    expect(find('share-text').textContent).toMatch(/watches the terminal, and can neither type.*once, until .*35/);
    find('share-close').click();
    expect(field().value).toBe('');
    expect(closed).toHaveBeenCalledOnce();
  });

  it('says why there is no link, and is offered no more where there will be none', async () => {
    const share = set({ kind: 'refused', text: 'Not now.', forbidden: false }, { kind: 'refused', text: 'Never.', forbidden: true });
    share.offer(true);
    await opened();
    expect(find('share-text').textContent).toBe('Not now.');
    expect(find('share-link').hidden).toBe(true);
    expect(find('share').hidden).toBe(false);
    find('share-close').click();
    await opened();
    expect(find('share-text').textContent).toBe('Never.');
    share.offer(true);
    expect(find('share').hidden).toBe(true);
  });

  it('does not show a link that comes after the dialog was closed', async () => {
    let answer: (given: ShareAnswer) => void = () => {};
    new Share({ ask: () => new Promise((resolve) => (answer = resolve)), closed });
    await opened();
    find('share-close').click();
    answer(LINK);
    await new Promise((next) => setTimeout(next));
    expect(field().value).toBe('');
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
