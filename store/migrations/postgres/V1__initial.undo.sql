-- Everything goes. Tables go before those that they refer to; a table takes its indexes with it.

DROP TABLE audit;
DROP TABLE api_keys;
DROP TABLE creations;
DROP TABLE idempotency;
DROP TABLE page_tokens;
DROP TABLE tickets;
DROP TABLE tokens;
DROP TABLE runners;
DROP TABLE session_labels;
DROP TABLE sessions;
