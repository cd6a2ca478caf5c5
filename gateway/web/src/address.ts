// What the page's own address says: the session, the token, and where the terminal's WebSocket is.

export interface Address {
  sessionId: string;
  token: string | null;
  /** Without a query: the token is added by the one connection that uses it. */
  socketUrl: string;
  /** Of the page itself; what it asks for lies below. */
  baseUrl: string;
  /** Where a link to watch with is asked for. */
  shareUrl: string;
  /** The query that a reload needs: nothing that lets anybody in. */
  lasting: string;
  /** To be part of another site's page; `bar`: with this page's own bar. */
  embed: { bar: boolean } | null;
}

export function readAddress(location: Pick<Location, 'protocol' | 'host' | 'pathname' | 'search'>): Address {
  const path = location.pathname.replace(/\/+$/, '');
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  const query = new URLSearchParams(location.search);
  const embed = query.has('embed') ? { bar: query.has('bar') } : null;
  return {
    sessionId: decodeURIComponent(path.slice(path.lastIndexOf('/') + 1)),
    token: query.get('token') || null,
    socketUrl: `${scheme}//${location.host}${path}`,
    baseUrl: `${location.protocol}//${location.host}${path}`,
    shareUrl: `${location.protocol}//${location.host}${path}/share`,
    lasting: embed === null ? '' : embed.bar ? '?embed=1&bar=1' : '?embed=1',
    embed,
  };
}
