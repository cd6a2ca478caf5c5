// What a person has chosen for every terminal of this browser: colours, the letters' size, help for screen readers, what
// the right button does. localStorage where the browser allows it, else memory: in a sandboxed or cookie-less iframe even
// touching it may throw. It shows nothing.

import type { StorageLike } from './storage';

export type ThemeChoice = 'system' | 'dark' | 'light';
export const THEME_CHOICES: readonly ThemeChoice[] = ['system', 'dark', 'light'];

export interface Chosen {
  theme: ThemeChoice;
  /** In CSS pixels; null is what suits the window. */
  fontPx: number | null;
  screenReader: boolean;
  /** The right button copies what is selected and else pastes; off, it opens the browser's menu. */
  rightClickPastes: boolean;
}

export const MIN_FONT_PX = 8;
export const MAX_FONT_PX = 32;

const KEY = 'cliscale:preferences';

export class Preferences {
  private chosen: Chosen;
  /** What the site around this page asks for, until the person chooses otherwise here. It is not kept. */
  private imposed: Partial<Chosen> = {};
  private readonly listeners: ((chosen: Readonly<Chosen>) => void)[] = [];

  /** `defaults`: what holds until something is chosen. */
  constructor(private readonly defaults: Chosen, private readonly storage: StorageLike | null = browserStorage()) {
    this.chosen = this.read();
  }

  get(): Readonly<Chosen> {
    return { ...this.chosen, ...this.imposed };
  }

  /** Calls back now and on each change. */
  follow(listener: (chosen: Readonly<Chosen>) => void): void {
    this.listeners.push(listener);
    listener(this.get());
  }

  impose(change: Partial<Pick<Chosen, 'theme' | 'fontPx'>>): void {
    const { theme, fontPx } = valid({ ...this.get(), ...change }, this.defaults);
    if ('theme' in change) this.imposed.theme = theme;
    if ('fontPx' in change) this.imposed.fontPx = fontPx;
    this.tell();
  }

  choose(change: Partial<Chosen>): void {
    this.chosen = valid({ ...this.chosen, ...change }, this.defaults);
    for (const name of Object.keys(change)) delete this.imposed[name as keyof Chosen];
    try {
      this.storage?.setItem(KEY, JSON.stringify(this.chosen));
    } catch {
      // Full or forbidden: it holds until this page is closed.
    }
    this.tell();
  }

  /** Something was stored by another tab, under this key. */
  storedElsewhere(key: string | null): void {
    if (key !== KEY && key !== null) return;
    this.chosen = this.read();
    this.tell();
  }

  private tell(): void {
    for (const listener of this.listeners) listener(this.get());
  }

  private read(): Chosen {
    try {
      return valid(JSON.parse(this.storage?.getItem(KEY) ?? '{}'), this.defaults);
    } catch {
      return this.defaults;
    }
  }
}

/** What is stored may be another version's, or anybody's: each field counts only where it makes sense. */
function valid(value: unknown, defaults: Chosen): Chosen {
  const { theme, fontPx, screenReader, rightClickPastes } = (value ?? {}) as Record<string, unknown>;
  const flag = (given: unknown, otherwise: boolean) => (typeof given === 'boolean' ? given : otherwise);
  return {
    theme: THEME_CHOICES.find((choice) => choice === theme) ?? defaults.theme,
    fontPx: typeof fontPx === 'number' && Number.isFinite(fontPx) ? Math.min(MAX_FONT_PX, Math.max(MIN_FONT_PX, Math.round(fontPx))) : null,
    screenReader: flag(screenReader, defaults.screenReader),
    rightClickPastes: flag(rightClickPastes, defaults.rightClickPastes),
  };
}

function browserStorage(): StorageLike | null {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}
