// @vitest-environment happy-dom
// The search panel, the menu, and the question about the clipboard, in the page's markup.
import { Terminal } from '@xterm/xterm';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import html from '../index.html?raw';
import { Preferences } from '../src/preferences';
import { MAX_COPY_BASE64, ProgramCopy, copiedText, listenForCopies, type CopyConsent } from '../src/program-copy';
import { Search } from '../src/search';
import { Settings } from '../src/settings';

const find = (id: string) => document.getElementById(id)!;
const settled = () => new Promise((next) => setTimeout(next));
const press = (id: string, key: string, more: object = {}) =>
  find(id).dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true, ...more }));

beforeEach(() => {
  document.body.innerHTML = html.slice(html.indexOf('<body>') + 6, html.indexOf('</body>'));
});

describe('the search panel', () => {
  const term = { getSelection: vi.fn(() => ''), clearSelection: vi.fn(), focus: vi.fn() };
  const failed = vi.fn();
  let results: (event: { resultIndex: number; resultCount: number }) => void;
  const finder = {
    findNext: vi.fn(() => true),
    findPrevious: vi.fn(() => true),
    clearDecorations: vi.fn(),
    onDidChangeResults: (listener: typeof results) => ((results = listener), { dispose: () => {} }),
  };
  const field = () => find('search-text') as HTMLInputElement;
  const write = (text: string) => {
    field().value = text;
    field().dispatchEvent(new Event('input'));
  };
  const colours = { matchOverviewRuler: '#000000', activeMatchColorOverviewRuler: '#000000' };
  const make = (load = async () => finder) => new Search({ term, load, colours: () => colours, failed });

  beforeEach(() => {
    vi.clearAllMocks();
    finder.findPrevious.mockReturnValue(true);
    term.getSelection.mockReturnValue('');
  });

  it('looks for a selection of one line, upwards, and goes on in both directions', async () => {
    const search = make();
    term.getSelection.mockReturnValue('needle');
    search.open();
    await settled();
    expect(finder.findPrevious).toHaveBeenLastCalledWith('needle', { caseSensitive: false, incremental: true, decorations: colours });
    press('search-text', 'Enter');
    expect(finder.findPrevious).toHaveBeenLastCalledWith('needle', { caseSensitive: false, incremental: false, decorations: colours });
    press('search-text', 'Enter', { shiftKey: true });
    press('search-case', 'F3');
    expect(finder.findNext).toHaveBeenCalledTimes(2);
    results({ resultIndex: 1, resultCount: 3 });
    expect(find('search-count').textContent).toBe('2 of 3');
    press('search-text', 'Escape');
    expect(search.isOpen).toBe(false);
    expect(term.focus).toHaveBeenCalledOnce();
  });

  it('keeps what was looked for over a selection of lines, and minds case when asked', async () => {
    const search = make();
    search.open();
    await settled();
    write('one');
    search.close();
    term.getSelection.mockReturnValue('two\nlines');
    search.open();
    expect(field().value).toBe('one');
    find('search-case').click();
    expect(finder.findPrevious).toHaveBeenLastCalledWith('one', { caseSensitive: true, incremental: true, decorations: colours });
    expect(find('search-case').getAttribute('aria-pressed')).toBe('true');
  });

  it('says that there is no match, and nothing once there is nothing to look for', async () => {
    make().open();
    await settled();
    finder.findPrevious.mockReturnValue(false);
    write('nowhere');
    expect(find('search-count').textContent).toBe('No match');
    write('');
    expect(find('search-count').textContent).toBe('');
    expect(term.clearSelection).toHaveBeenCalled();
  });

  it('says that it could not be loaded, and tries again with the next opening', async () => {
    const load = vi.fn().mockRejectedValueOnce(new Error('offline')).mockResolvedValue(finder);
    const search = make(load);
    search.open();
    await settled();
    expect(failed).toHaveBeenCalledOnce();
    search.open();
    await settled();
    write('x');
    expect(finder.findPrevious).toHaveBeenCalled();
  });
});

describe('the menu', () => {
  const closed = vi.fn();
  const search = vi.fn();
  let preferences: Preferences;
  beforeEach(() => {
    vi.clearAllMocks();
    preferences = new Preferences({ theme: 'system', fontPx: null, screenReader: false, rightClickPastes: true }, null);
    new Settings({ preferences, usualFontPx: 14, search, closed });
  });

  it('shows what is chosen, and chooses', () => {
    const theme = (value: string) => document.querySelector<HTMLInputElement>(`input[name=theme][value=${value}]`)!;
    expect(theme('system').checked).toBe(true);
    theme('light').click();
    expect(preferences.get().theme).toBe('light');
    expect(find('font-size').textContent).toBe('14 px');
    find('font-larger').click();
    find('font-larger').click();
    find('font-smaller').click();
    expect(preferences.get().fontPx).toBe(15);
    find('font-usual').click();
    expect(preferences.get().fontPx).toBeNull();
    find('screen-reader').click();
    expect(preferences.get().screenReader).toBe(true);
  });

  it('has an end in both directions for the size of letters', () => {
    preferences.choose({ fontPx: 32 });
    expect((find('font-larger') as HTMLButtonElement).disabled).toBe(true);
    preferences.choose({ fontPx: 8 });
    expect((find('font-smaller') as HTMLButtonElement).disabled).toBe(true);
  });

  it('gives the keys back, to the terminal or to the search that was asked for', async () => {
    find('menu').click();
    find('menu-close').click();
    await settled();
    expect(closed).toHaveBeenCalledOnce();
    find('menu').click();
    expect(find('menu').getAttribute('aria-expanded')).toBe('true');
    find('menu-search').click();
    await settled();
    expect(search).toHaveBeenCalledOnce();
    expect(closed).toHaveBeenCalledOnce();
    expect(find('menu').getAttribute('aria-expanded')).toBe('false');
  });
});

describe('what a program copies', () => {
  const base64 = (text: string) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

  it('is text of any clipboard, and neither a question nor anything else', () => {
    expect(copiedText(`c;${base64('héllo 😀')}`)).toBe('héllo 😀');
    expect(copiedText(`;${base64('x')}`)).toBe('x');
    for (const data of ['c;?', 'c;', 'c', 'c;!', 'c;A', `c;${btoa('\xff\xfe')}`, `q;${base64('x')}`, `c;${'A'.repeat(MAX_COPY_BASE64 + 4)}`]) {
      expect(copiedText(data)).toBeNull();
    }
  });

  it('comes out of the stream, and asking for the clipboard is answered by nothing', async () => {
    const term = new Terminal({ allowProposedApi: true });
    const copied: string[] = [];
    const answered = vi.fn();
    term.onData(answered);
    listenForCopies(term, (text) => copied.push(text));
    await new Promise<void>((done) => term.write(`\x1b]52;c;?\x07\x1b]52;c;${base64('a')}\x1b\\`, done));
    expect(copied).toEqual(['a']);
    expect(answered).not.toHaveBeenCalled();
  });
});

describe('the question about the clipboard', () => {
  let consent: CopyConsent | null;
  const copy = vi.fn(async (_text: string) => true);
  const say = vi.fn();
  const done = vi.fn();
  let copies: ProgramCopy;
  beforeEach(() => {
    vi.clearAllMocks();
    copy.mockResolvedValue(true);
    consent = null;
    copies = new ProgramCopy({ consent: () => consent, keep: (given) => void (consent = given), copy, say, done });
  });
  const shown = () => !find('program-copy').hidden;

  it('is asked before anything is copied, shows text as text, and copies the newest', async () => {
    await copies.offer('<b>first</b>\n\x1b');
    expect(find('program-copy-text').textContent).toBe('<b>first</b>·');
    expect(find('program-copy-text').children).toHaveLength(0);
    await copies.offer('second');
    expect(copy).not.toHaveBeenCalled();
    find('program-copy-yes').click();
    await settled();
    expect(copy).toHaveBeenCalledExactlyOnceWith('second');
    expect(consent).toBe('allowed');
    expect(shown()).toBe(false);
    expect(done).toHaveBeenCalledOnce();
  });

  it('is not asked again once it was answered, and comes back after "Not now"', async () => {
    await copies.offer('a');
    find('program-copy-later').click();
    expect(consent).toBeNull();
    await copies.offer('b');
    expect(shown()).toBe(true);
    find('program-copy-never').click();
    await copies.offer('c');
    expect(shown()).toBe(false);
    consent = 'allowed';
    await copies.offer('d');
    expect(copy).toHaveBeenCalledExactlyOnceWith('d');
    expect(shown()).toBe(false);
  });

  it('becomes a button for each text in a browser that copies only when one is pressed', async () => {
    consent = 'allowed';
    copy.mockResolvedValueOnce(false);
    await copies.offer('text');
    expect(find('program-copy-yes').textContent).toBe('Copy');
    expect(find('program-copy-never').hidden).toBe(true);
    find('program-copy-yes').click();
    await settled();
    expect(copy).toHaveBeenLastCalledWith('text');
    expect(say).toHaveBeenLastCalledWith('Copied.');
  });
});
