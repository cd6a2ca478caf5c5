// What a person has chosen, and where it is kept.
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { Preferences, type Chosen } from '../src/preferences';

const DEFAULTS: Chosen = { theme: 'system', fontPx: null, screenReader: false, rightClickPastes: true };
let stored: Map<string, string>;
const storage = { getItem: (key: string) => stored.get(key) ?? null, setItem: (key: string, value: string) => void stored.set(key, value) };

beforeEach(() => {
  stored = new Map();
});

describe('preferences', () => {
  it('are kept for the next page of this browser', () => {
    new Preferences(DEFAULTS, storage).choose({ theme: 'light', fontPx: 18 });
    expect(new Preferences(DEFAULTS, storage).get()).toEqual({ ...DEFAULTS, theme: 'light', fontPx: 18 });
  });

  it('hold without a storage, and with one that refuses', () => {
    const refusing = { getItem: () => { throw new Error('no'); }, setItem: () => { throw new Error('no'); } };
    for (const none of [null, refusing]) {
      const preferences = new Preferences(DEFAULTS, none);
      preferences.choose({ screenReader: true });
      expect(preferences.get().screenReader).toBe(true);
    }
  });

  it('pass over what makes no sense, field by field', () => {
    for (const text of ['nonsense', 'null', '[]', '{"theme":"pink","fontPx":"9","screenReader":"yes"}']) {
      stored.set('cliscale:preferences', text);
      expect(new Preferences(DEFAULTS, storage).get()).toEqual(DEFAULTS);
    }
    stored.set('cliscale:preferences', '{"theme":"dark","fontPx":900,"later":1}');
    expect(new Preferences(DEFAULTS, storage).get()).toEqual({ ...DEFAULTS, theme: 'dark', fontPx: 32 });
  });

  it('are told now, at each change, and when another tab has changed them', () => {
    const preferences = new Preferences(DEFAULTS, storage);
    const told = vi.fn();
    preferences.follow(told);
    preferences.choose({ theme: 'dark' });
    stored.set('cliscale:preferences', '{"theme":"light"}');
    preferences.storedElsewhere('another:key');
    preferences.storedElsewhere('cliscale:preferences');
    expect(told.mock.calls.map(([{ theme }]) => theme)).toEqual(['system', 'dark', 'light']);
  });

  it('give way to what the site around asks for, which is not kept, until the person chooses again', () => {
    const preferences = new Preferences(DEFAULTS, storage);
    preferences.choose({ theme: 'dark', fontPx: 18 });
    preferences.impose({ theme: 'light' });
    preferences.impose({ fontPx: 900 });
    expect(preferences.get()).toMatchObject({ theme: 'light', fontPx: 32 });
    expect(new Preferences(DEFAULTS, storage).get()).toMatchObject({ theme: 'dark', fontPx: 18 });
    preferences.impose({ fontPx: null });
    preferences.choose({ theme: 'system' });
    expect(preferences.get()).toMatchObject({ theme: 'system', fontPx: null });
  });
});
