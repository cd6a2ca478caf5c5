// Whose the keyboard is, and when one that nobody has is asked for.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Keyboard } from '../src/keyboard';
import type { Presence } from '../src/protocol';

const HELD: Presence = { operators: 2, viewers: 0, holds: false, held: true };
const MINE: Presence = { ...HELD, holds: true };
const FREE: Presence = { ...HELD, held: false };

let visible: boolean;
const claim = vi.fn();
let keyboard: Keyboard;

beforeEach(() => {
  vi.useFakeTimers();
  vi.clearAllMocks();
  visible = true;
  keyboard = new Keyboard({ claim, visible: () => visible, random: () => 0.5 });
});
afterEach(() => void vi.useRealTimers());

describe('what the person is told', () => {
  it('is that somebody else has the keyboard, or has taken it', () => {
    expect(keyboard.update(HELD, 'operator')).toBe('elsewhere');
    expect(keyboard.update({ ...HELD, viewers: 1 }, 'operator')).toBeNull();
    expect(keyboard.update(MINE, 'operator')).toBeNull();
    expect(keyboard.update(HELD, 'operator')).toBe('taken');
  });

  it('is that it was taken while this page was away, too', () => {
    keyboard.update(MINE, 'operator');
    keyboard.stop();
    expect(keyboard.update(HELD, 'operator')).toBe('taken');
  });

  it('is nothing for a viewer, and nothing new for whoever was sent away and comes back', () => {
    expect(keyboard.update(HELD, 'viewer')).toBeNull();
    keyboard.update(MINE, 'operator');
    keyboard.lost();
    expect(keyboard.elsewhere).toBe(true);
    expect(keyboard.update(HELD, 'operator')).toBeNull();
  });
});

describe('a keyboard that nobody has', () => {
  it('is asked for after a moment in which its holder may come back', () => {
    keyboard.update(FREE, 'operator');
    expect(keyboard.elsewhere).toBe(false);
    vi.advanceTimersByTime(1_000);
    keyboard.update(HELD, 'operator');
    vi.advanceTimersByTime(60_000);
    expect(claim).not.toHaveBeenCalled();
    keyboard.update(FREE, 'operator');
    keyboard.update({ ...FREE, viewers: 1 }, 'operator');
    vi.advanceTimersByTime(2_249);
    expect(claim).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(claim).toHaveBeenCalledOnce();
  });

  it('is not asked for by a viewer, nor without a connection', () => {
    keyboard.update(FREE, 'viewer');
    vi.advanceTimersByTime(60_000);
    keyboard.update(FREE, 'operator');
    keyboard.stop();
    vi.advanceTimersByTime(60_000);
    expect(claim).not.toHaveBeenCalled();
  });

  it('is asked for by a tab in the background once it is seen', () => {
    visible = false;
    keyboard.update(FREE, 'operator');
    vi.advanceTimersByTime(60_000);
    expect(claim).not.toHaveBeenCalled();
    visible = true;
    keyboard.seen();
    vi.advanceTimersByTime(3_000);
    expect(claim).toHaveBeenCalledOnce();
  });
});
