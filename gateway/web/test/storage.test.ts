// What a tab keeps, where storage works, is broken, or throws.
import { describe, expect, it, vi } from 'vitest';
import { TabStore, type StorageLike } from '../src/storage';

function memory(): StorageLike & { map: Map<string, string> } {
  const map = new Map<string, string>();
  return { map, getItem: (key) => map.get(key) ?? null, setItem: (key, value) => void map.set(key, value) };
}

describe('a tab’s store', () => {
  it('gives a reload the ticket and the page token of its own session only', () => {
    const storage = memory();
    new TabStore('a', storage).keepTickets('t', 'p');
    expect(new TabStore('a', storage).get()).toMatchObject({ ticket: 't', pageToken: 'p' });
    expect(new TabStore('b', storage).get().ticket).toBeNull();
  });

  it('keeps its name across a reload', () => {
    const storage = memory();
    const first = new TabStore('a', storage);
    first.keepTickets('t', 'p');
    expect(new TabStore('a', storage).get().client).toBe(first.get().client);
  });

  it('forgets a refused ticket but not the rest', () => {
    const storage = memory();
    const store = new TabStore('a', storage);
    store.keepTickets('t', 'p');
    store.dropTicket();
    expect(new TabStore('a', storage).get()).toMatchObject({ ticket: null, pageToken: 'p' });
  });

  it('falls back to memory where storage throws', () => {
    const refuse = () => {
      throw new DOMException('denied', 'SecurityError');
    };
    const store = new TabStore('a', { getItem: refuse, setItem: refuse });
    store.keepTickets('t', 'p');
    expect(store.get().ticket).toBe('t');
  });

  it('works where there is no storage at all', () => {
    const store = new TabStore('a', null);
    store.keepTickets('t', 'p');
    expect(store.get().ticket).toBe('t');
  });

  it.each(['{', '1', '{"ticket":1}', '{"ticket":"t","pageToken":null}'])('starts anew over damaged content %s', (content) => {
    const storage = memory();
    storage.map.set('cliscale:a', content);
    expect(new TabStore('a', storage).get().ticket).toBeNull();
  });

  it('has the site around keep what the browser does not, and comes back with it', () => {
    const keep = vi.fn();
    const store = new TabStore('a', null);
    store.keepElsewhere(keep);
    store.keepTickets('t', 'p');
    const [[kept]] = keep.mock.calls as [[string]];
    store.dropTicket();
    expect(keep).toHaveBeenLastCalledWith(null);
    const reloaded = new TabStore('a', null);
    reloaded.adopt('nonsense');
    expect(reloaded.get().ticket).toBeNull();
    reloaded.adopt(kept);
    expect(reloaded.get()).toEqual({ ticket: 't', pageToken: 'p', client: store.get().client });
    reloaded.keepTickets('newer', 'p');
    reloaded.adopt(kept);
    expect(reloaded.get().ticket).toBe('newer');
  });

  it('hands nothing to anybody where the browser keeps it', () => {
    const keep = vi.fn();
    const store = new TabStore('a', memory());
    store.keepElsewhere(keep);
    store.keepTickets('t', 'p');
    expect(keep).not.toHaveBeenCalled();
  });
});
