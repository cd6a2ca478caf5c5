// @vitest-environment happy-dom
// The session's time, in the page's markup: when it is told, what there is to press, and what becomes of it.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import html from '../index.html?raw';
import { TimeLeft, askForTime, durationText } from '../src/deadline';
import type { Role } from '../src/protocol';

const find = (id: string) => document.getElementById(id)!;
const MINUTE = 60_000;
let role: Role;
let extend: ReturnType<typeof vi.fn<(seconds: number) => Promise<string | null>>>;
const say = vi.fn();
const alert = vi.fn();
const done = vi.fn();
let time: TimeLeft;

beforeEach(() => {
  vi.useFakeTimers();
  vi.clearAllMocks();
  document.body.innerHTML = html.slice(html.indexOf('<body>') + 6, html.indexOf('</body>'));
  role = 'operator';
  extend = vi.fn(async () => null);
  time = new TimeLeft({ extend, role: () => role, say, alert, done });
});
afterEach(() => void vi.useRealTimers());

const set = (left: number, max: number) => time.set({ left_ms: left * MINUTE, max_left_ms: max * MINUTE });
const settle = () => vi.advanceTimersByTimeAsync(0);

describe('the session’s time', () => {
  it('is told five minutes before its end, once, and counted down in the last minute', () => {
    set(10, 10);
    expect(find('time').hidden).toBe(true);
    vi.advanceTimersByTime(5 * MINUTE);
    expect(find('time').hidden).toBe(false);
    expect(find('time-text').textContent).toBe('This session ends in 5 minutes.');
    expect(say).toHaveBeenCalledExactlyOnceWith('This session ends in 5 minutes.');
    vi.advanceTimersByTime(4 * MINUTE + 18_000);
    expect(find('time-text').textContent).toBe('This session ends in 42 s.');
    expect(alert).toHaveBeenCalledExactlyOnceWith('This session ends in less than a minute.');
    vi.advanceTimersByTime(42_000);
    expect(find('time').hidden).toBe(true);
    expect(say).toHaveBeenCalledOnce();
  });

  it('is extended by as much as there is, which is said before', async () => {
    set(4, 64);
    expect(find('time-extend').textContent).toBe('Extend by 1 h');
    expect(say).toHaveBeenCalledWith('This session ends in 4 minutes. Press Ctrl+Shift+period for the buttons.');
    find('time-extend').click();
    find('time-extend').click();
    await settle();
    // A little less than the maximum: what is above it is refused.
    expect(extend).toHaveBeenCalledExactlyOnceWith(64 * 60 - 3);
    expect(find('time').hidden).toBe(true);
    expect(done).toHaveBeenCalledOnce();
    expect(find('menu-extend').hidden).toBe(true);
  });

  it('may be extended from the menu long before its end', async () => {
    set(30, 90);
    expect(find('time').hidden).toBe(true);
    expect(find('menu-extend').hidden).toBe(false);
    await time.extend();
    expect(extend).toHaveBeenCalledOnce();
  });

  it('says why it was not extended, and may be asked again', async () => {
    extend.mockResolvedValueOnce('Not now.');
    set(4, 64);
    find('time-extend').click();
    await settle();
    expect(find('time-text').textContent).toBe('This session ends in 4 minutes. Not now.');
    expect(alert).toHaveBeenCalledWith('The time was not extended. Not now.');
    find('time-extend').click();
    await settle();
    expect(find('time').hidden).toBe(true);
  });

  it.each([['viewers', 'viewer', 64], ['whoever has it all already', 'operator', 4]] as const)('is no button’s for %s', (_, who, max) => {
    role = who;
    set(4, max);
    expect(find('time').hidden).toBe(false);
    expect(find('time-extend').hidden).toBe(true);
    expect(find('menu-extend').hidden).toBe(true);
  });

  it('is out of the way when hidden, until the last minute; and moved by the server', () => {
    set(4, 64);
    find('time-hide').click();
    expect(find('time').hidden).toBe(true);
    vi.advanceTimersByTime(3 * MINUTE + 1_000);
    expect(find('time').hidden).toBe(false);
    set(60, 60);
    expect(find('time').hidden).toBe(true);
    vi.advanceTimersByTime(55 * MINUTE);
    expect(find('time').hidden).toBe(false);
    time.stop();
    expect(find('time').hidden).toBe(true);
  });

  it('is not looked at without end when it is far away', () => {
    set(60 * 24 * 40, 60 * 24 * 40);
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(60 * 24 * 30 * MINUTE);
    expect(find('time').hidden).toBe(true);
  });

  it('is asked for with the page’s token', async () => {
    const asking = vi.fn(async () => new Response('{}', { status: 200 }));
    expect(await askForTime('http://host/ws/id/extend', 'page', 60, asking)).toBeNull();
    expect(asking).toHaveBeenCalledWith('http://host/ws/id/extend', expect.objectContaining({ method: 'POST', body: '{"seconds":60}', headers: { Authorization: 'Bearer page', 'Content-Type': 'application/json' } }));
    const refusing = async () => new Response('{"type":"/docs/errors/conflict","detail":"it is over"}', { status: 409 });
    expect(await askForTime('http://host/', 'page', 60, refusing)).toBe('It is over.');
    expect(await askForTime('http://host/', 'page', 60, async () => Promise.reject(new TypeError()))).toMatch(/did not answer/);
  });

  it('is a text for people', () => {
    expect([30_000, 60_000, 61_000, 5 * MINUTE, 90 * MINUTE, 120 * MINUTE].map(durationText)).toEqual(['30 s', '60 s', '1 minute', '5 minutes', '1 h 30 min', '2 h']);
  });
});
