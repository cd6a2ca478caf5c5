// What is asked of the server for a link to watch with, and what its answers become.
import { describe, expect, it, vi } from 'vitest';
import { askForLink } from '../src/share';

const answering = (status: number, body: unknown) => vi.fn(async () => new Response(typeof body === 'string' ? body : JSON.stringify(body), { status }));
const ask = (status: number, body: unknown) => askForLink('http://host/ws/id/share', 'page', answering(status, body));

describe('a link to watch with', () => {
  it('is asked for with the page’s token, and in no address', async () => {
    const fetching = answering(200, { url: 'https://host/ws/id?token=t', expiresAt: '2030-01-01T14:35:00Z' });
    const answer = await askForLink('http://host/ws/id/share', 'page', fetching);
    expect(answer).toEqual({ kind: 'link', url: 'https://host/ws/id?token=t', expiresAt: new Date('2030-01-01T14:35:00Z') });
    expect(fetching).toHaveBeenCalledExactlyOnceWith(
      'http://host/ws/id/share',
      expect.objectContaining({ method: 'POST', headers: { Authorization: 'Bearer page' }, credentials: 'omit' }),
    );
  });

  it('is never given by a session that forbids it', async () => {
    expect(await ask(403, { type: 'https://host/docs/errors/share_forbidden', status: 403 })).toMatchObject({ kind: 'refused', forbidden: true });
    expect(await ask(403, { type: '/docs/errors#share_forbidden' })).toMatchObject({ forbidden: true });
    expect(await ask(403, { type: 'https://host/docs/errors/forbidden' })).toMatchObject({ forbidden: false });
  });

  it.each([401, 403, 404, 410, 429, 500, 503])('is refused with %i in words of the page’s own', async (status) => {
    const answer = await ask(status, '<html>');
    expect(answer).toMatchObject({ kind: 'refused', forbidden: false });
    expect(answer.kind === 'refused' && answer.text).toMatch(/^[A-Z].*\.$/);
  });

  it.each([{}, { url: 'javascript:alert(1)', expiresAt: '2030-01-01T14:35:00Z' }, { url: 'https://host/', expiresAt: 'soon' }, 'text', null])(
    'is not made of an answer that is none: %j',
    async (body) => expect(await ask(200, body)).toMatchObject({ kind: 'refused' }),
  );

  it('is not waited for where the server cannot be reached', async () => {
    const answer = await askForLink('http://host/', 'page', async () => Promise.reject(new TypeError('no network')));
    expect(answer).toMatchObject({ kind: 'refused', text: 'The server did not answer. Try again in a moment.' });
  });
});
