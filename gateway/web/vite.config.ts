// Builds the page into dist/: index.html, which the gateway serves at /ws/{sessionId}, and hashed files below /ws/_/.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  base: '/ws/_/',
  build: {
    target: 'es2022',
    // The content security policy allows scripts, fonts and pictures from 'self' only: nothing may become inline.
    assetsInlineLimit: 0,
    modulePreload: false,
    chunkSizeWarningLimit: 1000,
  },
  test: {
    include: ['test/**/*.test.ts'],
    environment: 'node',
  },
});
